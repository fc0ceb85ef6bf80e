"""The rules of selection, on made-up acquisitions: what is chosen, what is refused, and that order does not matter."""

import datetime as dt
import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from s1s2pairs.acquisitions import (
    Incidence,
    IncidenceSource,
    OpticalAcquisition,
    OpticalScene,
    SarAcquisition,
    SarScene,
)
from s1s2pairs.errors import NoAcquisitions
from s1s2pairs.plan.optical import choose_optical, is_clear, is_locked, mean_time, moved, search_spans, shifts
from s1s2pairs.plan.radar import choose_dates, choose_orbit, half_widths
from s1s2pairs.recipe.settings import Period, Settings
from s1s2pairs.sources.grouping import SarPass, group_optical, sar_acquisitions, sar_passes
from tests.refusals import refuses

UTC = dt.UTC
P19 = Period(label="2019", start=dt.date(2019, 6, 1), end=dt.date(2019, 7, 1))
P21 = Period(label="2021", start=dt.date(2021, 6, 1), end=dt.date(2021, 7, 1))
TWO_YEARS = Settings(periods=(P19, P21))
ROI = shapely.box(3.0, 50.8, 3.02, 50.82)


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=UTC)


def optical(time: str, cloud: float = 0.0, *, snow: float = 0.0, coverage: float = 1.0) -> OpticalAcquisition:
    return OpticalAcquisition(
        scene_ids=(f"S2_{time}",),
        acquired_at=at(time),
        platform="sentinel-2a",
        coverage_fraction=coverage,
        cloud_fraction=cloud,
        snow_fraction=snow,
        footprint_wkt="",
    )


def sar(
    time: dt.datetime, orbit: int = 59, angle: float = 40.0, *, coverage: float = 1.0, orbit_pass: Any = "ascending"
) -> SarAcquisition:
    return SarAcquisition(
        scene_ids=(f"S1_{orbit}_{time:%Y%m%dT%H%M%S}",),
        acquired_at=time,
        platform="sentinel-1a",
        relative_orbit=orbit,
        orbit_pass=orbit_pass,
        coverage_fraction=coverage,
        incidence_deg=angle,
        incidence_source="raster",
        footprint_wkt="",
    )


def repeat(
    orbit: int, angle: float, *, every: int = 6, first: str = "2019-04-01T17:40:00", days: int = 120, **rest: Any
) -> list[SarAcquisition]:
    return [sar(at(first) + dt.timedelta(days=d), orbit, angle, **rest) for d in range(0, days, every)]


# Optical


def test_thresholds_are_kept_by_a_value_equal_to_them() -> None:
    assert is_clear(optical("2019-06-10", 0.01, snow=0.05, coverage=0.99), TWO_YEARS)
    assert not is_clear(optical("2019-06-10", 0.0101), TWO_YEARS)
    assert not is_clear(optical("2019-06-10", snow=0.0501), TWO_YEARS)
    assert not is_clear(optical("2019-06-10", coverage=0.9899), TWO_YEARS)


def test_shifts_come_nearest_first_later_before_earlier() -> None:
    assert list(shifts(3)) == [0, 1, -1, 2, -2, 3, -3]


def test_months_keep_their_ends() -> None:
    period = Period(label="x", start=dt.date(2020, 1, 31), end=dt.date(2020, 3, 31))
    assert moved(period, 1) == (dt.date(2020, 2, 29), dt.date(2020, 4, 30))
    assert moved(period, -11) == (dt.date(2019, 2, 28), dt.date(2019, 4, 30))


def test_search_spans_join() -> None:
    assert len(search_spans((P19, P21), reach=0)) == 2
    (span,) = search_spans((P19, P21), reach=12)
    assert (span.start, span.end) == (at("2018-06-01"), at("2022-07-01"))


def test_the_window_excludes_its_end() -> None:
    found = [optical("2019-07-01T00:00:00"), optical("2021-06-30T23:59:59")]
    with refuses(NoAcquisitions, 2019, 0, "max_shift_months"):
        choose_optical(found, settings=replace(TWO_YEARS, max_shift_months=0), reach=0)


def test_what_lies_between_the_windows_is_not_told_as_seen() -> None:
    """Short windows moved by months leave days between them; a clear image of such a day is no reason for anything."""
    week = replace(TWO_YEARS, periods=(Period(label="x", start=dt.date(2019, 6, 1), end=dt.date(2019, 6, 6)),))
    found = [optical("2019-06-03", 0.7), optical("2019-06-20"), optical("2019-07-20")]
    with refuses(NoAcquisitions, "1 acquisitions within 6 months", "0.700", "raise max_cloud_fraction"):
        choose_optical(found, settings=week, reach=6)
    with refuses(NoAcquisitions, "no acquisition within 6 months"):
        choose_optical(found[1:], settings=week, reach=6)


def test_auto_composite_is_the_median_of_three() -> None:
    june = [optical(f"2019-06-{d:02}", 0.0005 * d) for d in (3, 8, 13)]
    chosen = choose_optical(
        [*june, optical("2021-06-10"), optical("2021-06-20", 0.005), optical("2021-06-25", 0.5)],
        settings=TWO_YEARS,
        reach=0,
    )
    assert chosen is not None
    assert (chosen["2019"].method, len(chosen["2019"].used)) == ("median", 3)
    assert (chosen["2021"].method, chosen["2021"].used) == ("least_cloudy", (optical("2021-06-10"),))
    assert len(chosen["2021"].considered) == 3
    assert chosen["2019"].mean_time == at("2019-06-08")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([optical("2019-06-05", 0.004), optical("2019-06-29", 0.002)], "2019-06-29"),
        ([optical("2019-06-05"), optical("2019-06-20")], "2019-06-20"),  # nearer to the centre, June 16th
        (
            [optical("2019-06-14T12:00:00"), optical("2019-06-17T12:00:00")],
            "2019-06-14T12:00:00",
        ),  # equally near: earlier
    ],
)
def test_least_cloudy_and_its_ties(found: list[OpticalAcquisition], expected: str) -> None:
    one = Settings(periods=(P19,), s2_composite="least_cloudy")
    for order in itertools.permutations(found):
        chosen = choose_optical(order, settings=one, reach=0)
        assert chosen is not None
        assert chosen["2019"].used == tuple(a for a in found if a.acquired_at == at(expected))


def test_season_lock_moves_all_periods_by_the_smallest_common_shift() -> None:
    # 2019 is clear unmoved and a month later; 2021 only a month later or earlier.
    found = [optical("2019-06-10"), optical("2019-07-10"), optical("2021-07-10"), optical("2021-05-10")]
    assert choose_optical(found, settings=TWO_YEARS, reach=0) is None
    chosen = choose_optical(found, settings=TWO_YEARS, reach=6)
    assert chosen is not None
    assert [c.month_shift for c in chosen.values()] == [1, 1]
    assert is_locked(chosen)


def test_without_lock_each_period_moves_alone() -> None:
    found = [optical("2019-06-10"), optical("2019-07-10"), optical("2021-07-10")]
    chosen = choose_optical(found, settings=replace(TWO_YEARS, season_lock=False), reach=6)
    assert chosen is not None
    assert [c.month_shift for c in chosen.values()] == [0, 1]


def test_when_no_common_shift_serves_the_lock_gives_way() -> None:
    found = [optical("2019-06-10"), optical("2021-07-10")]
    chosen = choose_optical(found, settings=TWO_YEARS, reach=6)
    assert chosen is not None
    assert [c.month_shift for c in chosen.values()] == [0, 1]
    assert not is_locked(chosen)


def test_no_clear_scene_within_the_shift() -> None:
    found = [
        optical("2019-06-10"),
        optical("2021-06-10", 0.3),
        optical("2021-07-10", 0.2),
        optical("2021-08-10", coverage=0.5),
    ]
    with refuses(NoAcquisitions, 2021, 3, 6, 2, "0.200", "max_cloud_fraction", "max_shift_months"):
        choose_optical(found, settings=TWO_YEARS, reach=6)


@pytest.mark.parametrize(
    ("found", "value", "setting"),
    [
        ([], "6", None),
        ([optical("2019-06-10", coverage=0.5)], "0.500", "min_coverage_fraction"),
        ([optical("2019-06-10", snow=0.4)], "0.400", "max_snow_fraction"),
        ([optical("2019-06-10", 0.3)], "0.300", "max_cloud_fraction"),
    ],
)
def test_the_threshold_in_the_way_is_named(found: list[OpticalAcquisition], value: str, setting: str | None) -> None:
    thresholds = {"min_coverage_fraction", "max_snow_fraction", "max_cloud_fraction"}
    wanted = {"max_shift_months", setting or "source"}
    with refuses(NoAcquisitions, 2019, value, *wanted, but_not=tuple(thresholds - wanted)):
        choose_optical(found, settings=Settings(periods=(P19,)), reach=6)


DAYS = st.integers(0, 500).map(lambda d: (at("2019-01-01") + dt.timedelta(days=2 * d)).isoformat()[:19])
OPTICALS = st.lists(
    st.builds(optical, DAYS, st.sampled_from([0.0, 0.005, 0.01, 0.02, 0.9])),
    max_size=40,
    unique_by=lambda a: a.acquired_at,
)


@given(found=OPTICALS, seed=st.integers(), lock=st.booleans())
@settings(max_examples=200)
def test_the_optical_choice_does_not_depend_on_the_order(
    found: list[OpticalAcquisition], seed: int, lock: bool
) -> None:
    rules = replace(TWO_YEARS, season_lock=lock)

    def choose(acquisitions: list[OpticalAcquisition]) -> object:
        try:
            return choose_optical(acquisitions, settings=rules, reach=6)
        except NoAcquisitions as error:
            return str(error)

    shuffled = random.Random(seed).sample(found, len(found))
    chosen = choose(found)
    assert choose(shuffled) == chosen
    if isinstance(chosen, dict):
        for choice in chosen.values():
            assert all(is_clear(a, rules) for a in choice.used)
            assert choice.start <= choice.used[0].acquired_at.date() < choice.end
            nearer = list(shifts(6))[: list(shifts(6)).index(choice.month_shift)]
            for shift in nearer:
                served = [
                    any(
                        is_clear(a, rules) and moved(p, shift)[0] <= a.acquired_at.date() < moved(p, shift)[1]
                        for a in found
                    )
                    for p in rules.periods
                ]
                assert not all(served), "a smaller shift would have served every period"


def test_mean_time_is_exact_over_a_day() -> None:
    assert mean_time([at("2019-06-01T00:00:00"), at("2019-06-04T00:00:01")]) == at("2019-06-02T12:00:01")


# Windows and orbits


def test_half_widths_grow_by_eight_days_and_end_at_the_reach() -> None:
    assert list(half_widths(60)) == [30, 38, 46, 54, 60]
    assert list(half_widths(20)) == [20]
    assert list(half_widths(38)) == [30, 38]


def test_the_window_stops_growing_when_it_holds_enough() -> None:
    centre = at("2019-06-01T00:00:00")
    dates = [sar(centre + dt.timedelta(days=d)) for d in (-50, -37, -29, -20, -10, 0, 10, 20, 29, 37, 50)]
    chosen = choose_dates(dates, centre=centre, settings=TWO_YEARS)
    assert chosen is not None
    assert [(a.acquired_at - centre).days for a in chosen] == [-37, -29, -20, -10, 0, 10, 20, 29, 37]


def test_the_nearest_stay_and_of_equals_the_earlier() -> None:
    centre = at("2019-06-01T12:00:00")
    dates = [sar(centre + dt.timedelta(hours=h)) for h in (-30, -20, -10, 10, 20, 30)]
    chosen = choose_dates(dates, centre=centre, settings=Settings(s1_acquisitions=(1, 3)))
    assert chosen is not None
    assert [(a.acquired_at - centre) / dt.timedelta(hours=1) for a in chosen] == [-20, -10, 10]


def test_times_are_compared_to_the_second() -> None:
    # Noon to noon is 30 days; one second more is beyond, although the calendar says 30 days for both.
    centre = at("2019-06-01T12:00:00")
    rules = Settings(s1_acquisitions=(1, 1), s1_max_span_days=60)
    assert choose_dates([sar(centre + dt.timedelta(days=30))], centre=centre, settings=rules)
    assert choose_dates([sar(centre + dt.timedelta(days=30, seconds=1))], centre=centre, settings=rules) is None


def test_a_single_acquisition_within_its_lag() -> None:
    rules = Settings(s1_acquisitions=(1, 1), s1_max_lag_days=5)
    centre = at("2019-06-01T12:00:00")
    late, near = sar(centre + dt.timedelta(days=6)), sar(centre - dt.timedelta(days=4))
    assert choose_dates([late, near], centre=centre, settings=rules) == (near,)
    assert choose_dates([late], centre=centre, settings=rules) is None


CENTRES = {"2019": at("2019-06-15"), "2021": at("2021-06-15")}


def both_years(orbit: int, angle: float, **rest: Any) -> list[SarAcquisition]:
    return repeat(orbit, angle, **rest) + repeat(orbit, angle, first="2021-04-01T17:40:00", **rest)


def test_the_highest_mean_angle_wins() -> None:
    choice = choose_orbit(both_years(161, 36.0) + both_years(59, 44.3), centres=CENTRES, settings=TWO_YEARS)
    assert (choice.relative_orbit, choice.incidence_deg) == (59, 44.3)
    assert [len(dates) for dates in choice.dates.values()] == [10, 10]
    assert [c.relative_orbit for c in choice.candidates] == [59, 161]


def test_an_orbit_must_serve_every_period() -> None:
    found = both_years(161, 36.0) + repeat(59, 44.3)  # 59 only in 2019
    choice = choose_orbit(found, centres=CENTRES, settings=TWO_YEARS)
    assert choice.relative_orbit == 161
    best = choice.candidates[0]
    assert (best.relative_orbit, best.eligible, best.counts["2021"]) == (59, False, 0)


def test_an_orbit_must_cover_the_roi() -> None:
    found = both_years(161, 36.0) + both_years(59, 44.3, coverage=0.6)
    assert choose_orbit(found, centres=CENTRES, settings=TWO_YEARS).relative_orbit == 161


def test_pass_and_orbit_can_be_fixed() -> None:
    found = both_years(161, 36.0) + both_years(59, 44.3) + both_years(8, 30.0, orbit_pass="descending")
    assert choose_orbit(found, centres=CENTRES, settings=replace(TWO_YEARS, s1_pass="descending")).relative_orbit == 8
    assert choose_orbit(found, centres=CENTRES, settings=replace(TWO_YEARS, s1_orbit=161)).relative_orbit == 161


def test_no_orbit_serves_all_periods() -> None:
    found = repeat(59, 44.3) + both_years(161, 36.0, every=24) + both_years(8, 30, coverage=0.5)
    counts = ("59 ascending: 17 in 2019, 0 in 2021", "161 ascending: 4 in 2019, 4 in 2021", "orbit 8", "0.50")
    with refuses(NoAcquisitions, *counts, "s1_acquisitions", "s1_max_span_days"):
        choose_orbit(found, centres=CENTRES, settings=TWO_YEARS)
    with refuses(
        NoAcquisitions, "any", "max_incidence", "VV VH", "s1_acquisitions", "s1_max_span_days", but_not=("2019",)
    ):
        choose_orbit([], centres=CENTRES, settings=TWO_YEARS)
    with refuses(NoAcquisitions, "orbit 1", "8 ascending", "59 ascending", "161 ascending", "s1_orbit", "s1_pass"):
        choose_orbit(found, centres=CENTRES, settings=replace(TWO_YEARS, s1_orbit=1))
    with refuses(NoAcquisitions, "orbit 8", "0.50", "min_coverage_fraction", but_not=("s1_acquisitions",)):
        choose_orbit(both_years(8, 30, coverage=0.5), centres=CENTRES, settings=TWO_YEARS)
    with refuses(NoAcquisitions, "0.01", "s1_max_lag_days", but_not=("s1_acquisitions", "min_coverage_fraction")):
        choose_orbit(found, centres=CENTRES, settings=replace(TWO_YEARS, s1_acquisitions=(1, 1), s1_max_lag_days=0.01))


ORBITS = st.lists(
    st.tuples(st.integers(1, 175), st.floats(29, 46), st.sampled_from([3, 6, 12, 24]), st.sampled_from([0.4, 1.0])),
    min_size=1,
    max_size=5,
    unique_by=lambda orbit: orbit[0],
)


@given(orbits=ORBITS, seed=st.integers())
def test_no_eligible_rival_has_a_higher_angle_and_order_does_not_matter(
    orbits: list[tuple[int, float, int, float]], seed: int
) -> None:
    found = [a for n, angle, every, cover in orbits for a in both_years(n, angle, every=every, coverage=cover)]
    serving = {n: angle for n, angle, every, cover in orbits if every <= 12 and cover == 1.0}
    shuffled = random.Random(seed).sample(found, len(found))
    if not serving:
        with pytest.raises(NoAcquisitions):
            choose_orbit(shuffled, centres=CENTRES, settings=TWO_YEARS)
        return
    choice = choose_orbit(found, centres=CENTRES, settings=TWO_YEARS)
    assert choice == choose_orbit(shuffled, centres=CENTRES, settings=TWO_YEARS)
    assert choice.relative_orbit in serving
    assert choice.incidence_deg >= max(round(angle, 4) for angle in serving.values()) - 1e-9
    for dates in choice.dates.values():
        assert 8 <= len(dates) <= 10
        assert {a.relative_orbit for a in dates} == {choice.relative_orbit}


# Scenes into acquisitions


def sar_scene(
    name: str, time: str, *, absolute: int | None = None, west: float = 2.9, east: float = 3.1, **rest: Any
) -> SarScene:
    values: dict[str, Any] = {
        "platform": "sentinel-1a",
        "relative_orbit": 59,
        "orbit_pass": "ascending",
        **rest,
    }
    return SarScene(
        id=name,
        acquired_at=at(time),
        absolute_orbit=absolute,
        polarisations=("VV", "VH"),
        footprint=shapely.box(west, 50, east, 51),
        **values,
    )


def angle(mean_deg: float, points: int = 100, source: IncidenceSource = "raster") -> Incidence:
    return Incidence(mean_deg=mean_deg, points=points, source=source)


def acquisitions_of(*spans: Sequence[SarScene], angles: Mapping[str, Incidence] | None = None) -> list[SarAcquisition]:
    told = angles or {scene.id: angle(40.0) for scenes in spans for scene in scenes}
    return list(sar_acquisitions([sar_passes(scenes) for scenes in spans], lambda _: told, roi=ROI))


def test_slices_of_one_pass_are_one_acquisition_across_midnight() -> None:
    slices = [sar_scene("b", "2019-06-01T00:00:10", west=3.01), sar_scene("a", "2019-05-31T23:59:45", east=3.01)]
    (acquisition,) = acquisitions_of(slices, angles={"a": angle(40.0), "b": angle(41.0, 300)})
    assert acquisition.scene_ids == ("a", "b")
    assert acquisition.acquired_at == at("2019-05-31T23:59:45")
    assert acquisition.coverage_fraction == 1
    assert (acquisition.incidence_deg, acquisition.incidence_source) == (40.75, "raster")


def test_a_slice_without_a_point_of_the_roi_has_no_say_in_the_angle() -> None:
    slices = [sar_scene("a", "2019-06-01T17:40:00"), sar_scene("b", "2019-06-01T17:40:25")]
    (one,) = acquisitions_of(slices, angles={"a": angle(99.0, 0, "model"), "b": angle(41.0, 7)})
    assert (one.incidence_deg, one.incidence_source) == (41.0, "raster")
    (none,) = acquisitions_of(slices, angles={"a": angle(39.0, 0, "model"), "b": angle(39.0, 0, "model")})
    assert (none.incidence_deg, none.incidence_source) == (39.0, "model")


def test_the_angle_is_measured_once_per_span_and_orbit_on_the_pass_that_covers_most() -> None:
    scenes = [
        sar_scene("part", "2019-06-01T17:40:00", east=3.0),
        sar_scene("whole", "2019-06-13T17:40:00"),
        sar_scene("later", "2019-06-25T17:40:00"),
        sar_scene("other", "2019-06-26T17:40:00", relative_orbit=161),
        sar_scene("back", "2019-06-27T05:40:00", orbit_pass="descending"),
    ]
    asked: list[str] = []

    def measure(passes: Sequence[SarPass]) -> dict[str, Incidence]:
        asked.extend(scene.id for group in passes for scene in group)
        return {id_: angle(30.0 + number) for number, id_ in enumerate(asked)}

    spans = [sar_passes(scenes), sar_passes([replace(scenes[2], id="next", acquired_at=at("2021-06-25T17:40:00"))])]
    found = {a.scene_ids[0]: a for a in sar_acquisitions(spans, measure, roi=ROI)}
    assert asked == ["whole", "other", "back", "next"]
    assert {id_: a.incidence_deg for id_, a in found.items()} == {
        "part": 30.0,
        "whole": 30.0,
        "later": 30.0,
        "other": 31.0,
        "back": 32.0,
        "next": 33.0,
    }


def test_absolute_orbit_decides_where_known() -> None:
    scenes = [sar_scene("a", "2019-06-01T17:40:00", absolute=1), sar_scene("b", "2019-06-01T17:40:30", absolute=2)]
    assert len(sar_passes(scenes)) == 2
    assert len(sar_passes([replace(s, absolute_orbit=None) for s in scenes])) == 1


def test_platforms_and_far_times_stay_apart() -> None:
    scenes = [
        sar_scene("a", "2019-06-01T17:40:00"),
        sar_scene("b", "2019-06-01T17:41:00", platform="sentinel-1b"),
        sar_scene("c", "2019-06-01T17:51:00"),
    ]
    assert len(sar_passes(scenes)) == 3


def test_a_scene_listed_twice_counts_once() -> None:
    scene = sar_scene("a", "2019-06-01T17:40:00")
    assert sar_passes([scene, scene]) == sar_passes([scene])
    assert acquisitions_of([scene], [scene]) == acquisitions_of([scene])


def optical_scene(
    name: str, time: str, datatake: str | None = "D1", tile: str = "31UDS", strip: str = "", processed: str = "02.12"
) -> OpticalScene:
    return OpticalScene(
        id=name,
        acquired_at=at(time),
        platform="sentinel-2a",
        relative_orbit=51,
        datatake_id=datatake,
        tile=tile,
        strip=strip,
        processed=processed,
        footprint=shapely.box(2, 50, 4, 51),
    )


def test_granules_of_a_datatake_are_one_acquisition_and_duplicates_go() -> None:
    scenes = [
        optical_scene("west", "2019-06-01T10:50:31", tile="31UDS"),
        optical_scene("east", "2019-06-01T10:50:33", tile="31UES"),
        optical_scene("west_again", "2019-06-01T10:50:31", tile="31UDS", processed="05.00"),
        optical_scene("next", "2019-06-04T10:50:31", datatake="D2"),
    ]
    for order in itertools.permutations(scenes):
        assert [[s.id for s in group] for group in group_optical(order)] == [["east", "west_again"], ["next"]]


def test_two_strips_of_one_tile_are_no_duplicates() -> None:
    scenes = [
        optical_scene("first", "2019-06-01T10:50:31", strip="20190601T105031"),
        optical_scene("second", "2019-06-01T10:50:40", strip="20190601T105040"),
    ]
    assert [len(group) for group in group_optical(scenes)] == [2]


def test_without_a_datatake_id_time_tells_acquisitions_apart() -> None:
    scenes = [
        optical_scene("a", "2019-06-01T10:50:31", None),
        optical_scene("b", "2019-06-01T10:51:00", None, tile="31UES"),
        optical_scene("c", "2019-06-11T10:50:31", None),
    ]
    assert [[s.id for s in group] for group in group_optical(scenes)] == [["a", "b"], ["c"]]
