"""A plan survives being written to a lock file and read back; planning asks the source as little as it can."""

import datetime as dt
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
from odc.geo.geobox import GeoBox

from s1s2pairs.acquisitions import CompositeMethod, Needed, OpticalAcquisition, RoiGrids, SarAcquisition, SceneIds, Span
from s1s2pairs.errors import RecipeError
from s1s2pairs.plan.choices import Plan, RoiPlan, shared_ground
from s1s2pairs.plan.lock import dump_lock, is_lock, parse_lock
from s1s2pairs.plan.search import plan_roi
from s1s2pairs.recipe.settings import Period, Roi, Settings
from s1s2pairs.sources import OpticalComposite, SarMean
from tests.refusals import assert_names, refuses

UTC = dt.UTC
PERIODS = (
    Period(label="2019", start=dt.date(2019, 6, 1), end=dt.date(2019, 7, 1)),
    Period(label="2021", start=dt.date(2021, 6, 1), end=dt.date(2021, 7, 1)),
)


def roi(name: str = "here", *, lon: float = 3.0, split: str = "train", periods: tuple[Period, ...] = PERIODS) -> Roi:
    return Roi(
        name=name,
        split=split,  # type: ignore[arg-type]
        polygon=shapely.box(lon, 50.8, lon + 0.02, 50.82),
        settings=Settings(periods=periods),
    )


class Listed:
    """A source with the acquisitions given, that remembers what it was asked."""

    name = "catalogue:listed"

    def __init__(
        self, optical: Sequence[OpticalAcquisition], sar: Sequence[SarAcquisition], *, lost: Sequence[str] = ()
    ) -> None:
        self.optical, self.sar, self.lost = optical, sar, set(lost)
        self.asked: list[tuple[str, tuple[Span, ...]]] = []

    def backscatter(self) -> str:
        return "sigma0"

    def find_sar(
        self, place: RoiGrids, spans: Sequence[Span], *, polarisations: tuple[str, ...]
    ) -> tuple[SarAcquisition, ...]:
        self.asked.append(("sar", tuple(spans)))
        return tuple(a for a in self.sar if any(s.start <= a.acquired_at < s.end for s in spans))

    def find_optical(self, place: RoiGrids, spans: Sequence[Span]) -> tuple[OpticalAcquisition, ...]:
        self.asked.append(("optical", tuple(spans)))
        return tuple(a for a in self.optical if any(s.start <= a.acquired_at < s.end for s in spans))

    def unreadable(self, needed: Needed) -> frozenset[str]:
        assert needed.polarisations == ("VV", "VH")
        assert needed.bands[0] == "B2"
        return frozenset(self.lost.intersection(id_ for ids in (*needed.sar, *needed.optical) for id_ in ids))

    def versions(self, needed: Needed) -> dict[str, str]:
        return {}

    def mean_sar(self, acquisitions: Sequence[SceneIds], *, polarisations: tuple[str, ...], grid: GeoBox) -> SarMean:
        raise AssertionError("planning fetches no pixels")

    def composite_optical(
        self, acquisitions: Sequence[SceneIds], *, bands: tuple[str, ...], method: CompositeMethod, grid: GeoBox
    ) -> OpticalComposite:
        raise AssertionError("planning fetches no pixels")


def optical(day: str, cloud: float) -> OpticalAcquisition:
    return OpticalAcquisition(
        scene_ids=(f"S2_{day}",),
        acquired_at=dt.datetime.fromisoformat(day).replace(hour=10, tzinfo=UTC),
        platform="sentinel-2a",
        coverage_fraction=1.0,
        cloud_fraction=cloud,
        snow_fraction=0.0,
        footprint_wkt="POLYGON ((2 50, 4 50, 4 52, 2 52, 2 50))",
    )


def passes(year: int) -> list[SarAcquisition]:
    return [
        SarAcquisition(
            scene_ids=(f"S1_{year}_{day}",),
            acquired_at=dt.datetime(year, 4, 1, 17, 40, tzinfo=UTC) + dt.timedelta(days=day),
            platform="sentinel-1a",
            relative_orbit=59,
            orbit_pass="ascending",
            coverage_fraction=1.0,
            incidence_deg=44.3,
            incidence_source="raster",
            footprint_wkt="",
        )
        for day in range(0, 150, 6)
    ]


CLEAR = [optical("2019-06-10", 0.0), optical("2021-06-12", 0.0)]
PASSES = passes(2019) + passes(2021)


def test_a_clear_season_takes_two_questions() -> None:
    source = Listed(CLEAR, PASSES)
    plan = plan_roi(source, roi())
    assert [kind for kind, _ in source.asked] == ["optical", "sar"]
    assert plan.choices is not None
    assert [p.month_shift for p in plan.choices.periods] == [0, 0]
    assert [len(p.sar) for p in plan.choices.periods] == [10, 10]
    assert plan.choices.periods[0].lag_days == pytest.approx(0, abs=6)


def test_a_moved_season_takes_one_more() -> None:
    source = Listed([optical("2019-06-10", 0.5), optical("2019-07-10", 0), optical("2021-07-12", 0)], PASSES)
    plan = plan_roi(source, roi())
    assert [kind for kind, _ in source.asked] == ["optical", "optical", "sar"]
    assert plan.choices is not None
    assert [p.month_shift for p in plan.choices.periods] == [1, 1]


def test_a_roi_with_nothing_to_choose_is_a_plan_with_a_reason() -> None:
    plan = plan_roi(Listed([], PASSES), roi())
    assert plan.choices is None
    assert plan.failure is not None
    assert_names(plan.failure, "2018-12-01", "lon 3.010 lat 50.810", "sea", "exchanged", but_not=("max_shift_months",))
    assert_names(plan_roi(Listed(CLEAR, []), roi()).failure or "", "VV VH", "s1_acquisitions", but_not=("2019",))


def test_orbits_out_of_reach_of_a_lag_are_counted() -> None:
    single = replace(roi().settings, s1_acquisitions=(1, 1), s1_max_lag_days=0.001)
    failure = plan_roi(Listed(CLEAR, PASSES), replace(roi(), settings=single)).failure or ""
    for word in ("orbit", "0 in 2019", "0 in 2021", "0.001 days", "raise s1_max_lag_days"):
        assert word in failure


def test_a_missing_file_costs_an_acquisition_and_not_the_roi(caplog: pytest.LogCaptureFixture) -> None:
    """The chosen date, the next best one and a radar image lack a file; what stands in for a lost one may be lost as well."""
    whole = plan_roi(Listed(CLEAR, PASSES), roi())
    assert whole.choices is not None
    lost = [whole.choices.periods[0].sar[3].scene_ids[0], "S2_2019-06-10", "S2_2019-06-11"]
    spare = [optical(f"2019-06-{day}", 0.0005 * day) for day in (11, 14)]
    least_cloudy = replace(roi(), settings=replace(roi().settings, s2_composite="least_cloudy"))
    plan = plan_roi(Listed([*CLEAR, *spare], PASSES, lost=lost), least_cloudy)
    assert plan.choices is not None
    chosen = {id_ for p in plan.choices.periods for a in (*p.sar, *p.optical) for id_ in a.scene_ids}
    assert chosen.isdisjoint(lost)
    assert "S2_2019-06-14" in chosen
    assert all(8 <= len(p.sar) <= 10 for p in plan.choices.periods)
    assert_names(caplog.text, *lost)


def test_a_roi_with_too_few_files_says_so() -> None:
    plan = plan_roi(Listed(CLEAR, PASSES, lost=["S2_2021-06-12"]), roi())
    assert plan.failure is not None
    assert_names(plan.failure, "max_shift_months", 2021, "S2_2021-06-12")


def lock(*plans: RoiPlan) -> str:
    return dump_lock(Plan(name="mine", source="catalogue:listed", rois=plans)).decode()


def test_a_lock_is_read_back_as_it_was() -> None:
    plan = plan_roi(Listed(CLEAR, PASSES), roi())
    failed = plan_roi(Listed([], []), roi("there", lon=4.0))
    text = lock(plan, failed)
    assert is_lock(text)
    assert parse_lock(text, file="x") == Plan(name="mine", source="catalogue:listed", rois=(plan, failed))
    assert lock(*parse_lock(text, file="x").rois) == text


def test_the_same_answers_give_the_same_lock_in_any_order() -> None:
    shuffled = Listed(CLEAR[::-1], list(np.random.default_rng(0).permutation(np.array(PASSES, dtype=object))))
    assert lock(plan_roi(shuffled, roi())) == lock(plan_roi(Listed(CLEAR, PASSES), roi()))


def test_a_recipe_is_no_lock() -> None:
    assert not is_lock('{"type": "FeatureCollection", "features": []}')
    assert not is_lock("[]")
    assert not is_lock("{")
    assert not is_lock("[" * 100_000)


def _plan(value: dict[str, Any]) -> dict[str, Any]:
    plan: dict[str, Any] = value["features"][0]["properties"]["plan"]
    return plan


ALTERED: dict[str, tuple[Callable[[dict[str, Any]], object], tuple[object, ...]]] = {
    "orbit": (
        lambda v: _plan(v).update(relative_orbit="north"),
        ("here", "relative_orbit", "integer"),
    ),
    "grid without CRS": (lambda v: _plan(v)["grid"].pop("crs"), ("here", "grid", "crs")),
    "unknown CRS": (lambda v: _plan(v)["grid"].update(crs="here"), ("here", "grid", "CRSError")),
    "no CRS": (lambda v: _plan(v)["grid"].update(crs=None), ("here", "grid", "CRS")),
    "degrees": (lambda v: _plan(v)["grid"].update(crs="EPSG:4326"), ("here", "grid", "CRS")),
    "pixels without size": (lambda v: _plan(v)["grid"].update(transform=[0, 0, 5e5, 0, 0, 5e6]), ("here", "grid")),
    "far away": (lambda v: _plan(v)["grid"].update(transform=[10, 0, 1e300, 0, -10, 5e6]), ("here", "grid")),
    "skewed pixels": (lambda v: _plan(v)["grid"].update(transform=[10, 1, 5e5, 1, -10, 5e6]), ("here", "grid")),
    "half a transform": (lambda v: _plan(v)["grid"].update(transform=[1, 2]), ("here", "grid", "Affine")),
    "no radar": (lambda v: _plan(v)["periods"][0].update(sar=[]), ("here", "periods.0.sar")),
    "no optical": (lambda v: _plan(v)["periods"][0].update(optical=[]), ("here", "periods.0.optical")),
    "other periods": (
        lambda v: _plan(v)["periods"].pop(),
        ("here", "['2019']", "['2019', '2021']"),
    ),
    "unsafe period": (
        lambda v: _plan(v)["periods"][0].update(label="../../x"),
        ("here", "['../../x', '2021']", "['2019', '2021']"),
    ),
    "nothing decided": (lambda v: v["features"][0]["properties"].pop("plan"), ("here", "plan", "failed")),
    "unsafe name": (
        lambda v: v["features"][0]["properties"].update(name="../../x"),
        ("features[0].properties.name", "../../x", 100),
    ),
    "one name twice": (
        lambda v: v["features"].append(v["features"][0]),
        ("features[1].properties.name", "here", "features[0]"),
    ),
    "split": (
        lambda v: v["features"][0]["properties"].update(split="dev"),
        ("features[0].properties.split", "dev", "train", "val", "test"),
    ),
    "setting": (
        lambda v: v["features"][0]["properties"].update(s2_bands=["B99"]),
        ("features[0].properties", "s2_bands", "['B99']", "B1", "B12"),
    ),
    "no ground": (lambda v: v["features"][0].update(geometry=None), ("features[0].geometry", "None")),
    "no properties": (lambda v: v["features"][0].update(properties=None), ("features[0].properties.name", "None")),
    "no features": (lambda v: v.update(features="x"), ("features", "list", "one")),
    "later version": (lambda v: v["s1s2"].update(lock=99), ("lock", 99, 1)),
    "no source": (lambda v: v["s1s2"].pop("source"), ("s1s2.source", "None")),
    "unsafe recipe name": (lambda v: v.update(name="../x"), ("name", "../x", 100)),
    "no recipe name": (lambda v: v.pop("name"), ("name", "''", 100)),
}


@pytest.mark.parametrize("case", ALTERED)
def test_an_altered_lock_is_refused(case: str) -> None:
    change, named = ALTERED[case]
    value = json.loads(lock(plan_roi(Listed(CLEAR, PASSES), roi())))
    change(value)
    with refuses(RecipeError, *named) as caught:
        parse_lock(json.dumps(value), file="x.geojson")
    assert str(caught.value).startswith("x.geojson")


@pytest.mark.parametrize("text", ["[]", "3", "null", "{}", '{"s1s2": []}', '{"s1s2": 3}', '{"s1s2": {}}', "[[]]"])
def test_what_is_no_lock_at_all_is_refused(text: str) -> None:
    with refuses(RecipeError, "x.geojson", "s1s2.lock"):
        parse_lock(text, file="x.geojson")


def test_grids_of_neighbours_that_reach_across_are_named() -> None:
    near = roi("near", lon=3.0201, split="test")
    assert shared_ground([roi(), near, roi("far", lon=5.0, split="test")]) == (("here", "near"),)
    assert shared_ground([roi(), replace(near, split="train")]) == ()
