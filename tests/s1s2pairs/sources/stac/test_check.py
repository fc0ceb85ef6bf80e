"""The check of STAC catalogues: whole, and with each thing that a build relies on broken in turn."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from s1s2pairs.check import check as checking
from s1s2pairs.errors import RecipeError, SourceError, SourceUnreachable
from s1s2pairs.s1_orbits import incidence_deg
from s1s2pairs.sources.findings import CheckReport
from tests.refusals import refuses

if TYPE_CHECKING:
    from tests.s1s2pairs.sources.stac.conftest import TinyArchive

Change = Callable[[dict[str, Any]], object]
BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")


@pytest.fixture
def whole(archive: "TinyArchive") -> "TinyArchive":
    random = np.random.default_rng(3)
    image = random.gamma(4.4, 0.02, (64, 64)).astype(np.float32)
    angle = float(incidence_deg(59, "ascending", 3.0, 50.5))
    archive.sar("S", "2019-06-01T17:00:00Z", image, angle=np.full((32, 32), angle))
    light = {band: random.integers(300, 3000, (64, 64), dtype=np.uint16) for band in BANDS}
    archive.optical("O", "2019-06-01T10:00:00Z", np.full((32, 32), 4, np.uint8), light)
    return archive


def checked(archive: "TinyArchive") -> CheckReport:
    return checking.check(str(archive.write()))


def test_everything_holds_in_a_whole_catalogue(whole: "TinyArchive") -> None:
    report = checked(whole)
    assert {one.name: one.detail for one in report.findings if one.state != "holds"} == {}
    assert report.ok


def _rewrite(value: float | int) -> Callable[["TinyArchive", str], None]:
    def rewrite(archive: "TinyArchive", asset: str) -> None:
        collection, id_, key = asset.split("/")
        old = archive.items[id_]["assets"][key]
        kind = np.uint8 if key == "scl" else np.uint16 if collection.startswith("sentinel-2") else np.float32
        side = 32 if key in ("scl", "angle") else 64
        path = archive.root / collection / id_ / f"{key}.tif"
        archive.raster(path, np.full((side, side), value, kind), 640 / side)
        assert old

    return rewrite


BROKEN: dict[str, Callable[["TinyArchive"], object]] = {
    "optical-collection": lambda a: a.items.pop("O"),
    "optical-item": lambda a: a.items["O"]["properties"].update(platform="landsat-8"),
    "optical-assets": lambda a: a.items["O"]["assets"].pop("swir22"),
    "optical-pixels": lambda a: _rewrite(60_000)(a, "sentinel-2-l2a/O/red"),
    "radar-collection": lambda a: a.items.pop("S"),
    "radar-item": lambda a: a.items["S"]["properties"].pop("sat:relative_orbit"),
    "radar-assets": lambda a: a.items["S"]["assets"]["vv"].update({"raster:bands": [{"data_type": "uint16"}]}),
    "radar-pixels": lambda a: _rewrite(-12.0)(a, "sentinel-1-grd/S/vv"),
    "incidence": lambda a: _rewrite(60.0)(a, "sentinel-1-grd/S/angle"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_does_not_hold_is_named(name: str, whole: "TinyArchive") -> None:
    BROKEN[name](whole)
    report = checked(whole)
    states = {one.name: one.state for one in report.findings}
    assert states[name] == "does not hold", states
    assert not report.ok


@pytest.mark.parametrize("sensor", ["optical", "radar"])
def test_a_search_that_does_not_find_is_named(
    sensor: str, whole: "TinyArchive", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s1s2pairs.sources.stac.static.StaticCatalogue.search", lambda *_: [])
    states = {one.name: one.state for one in checked(whole).findings}
    assert states[f"{sensor}-search"] == "does not hold"


def test_each_look_is_broken_by_a_test(whole: "TinyArchive") -> None:
    assert {one.name for one in checked(whole).findings} == {*BROKEN, "optical-search", "radar-search"}


def test_real_archives(real_data: Path) -> None:
    for name in ("worldcereal-9b424a", "oscd"):
        report = checking.check(str(real_data / name))
        assert {one.name: one.detail for one in report.findings if one.state != "holds"} == {}


def test_a_catalogue_that_is_not_there_and_a_recording_of_it(tmp_path: Path) -> None:
    with refuses(SourceError, tmp_path, "catalog.json", "stac:URL", "earthengine"):
        checking.check(str(tmp_path))
    with refuses(SourceUnreachable, "http://127.0.0.1:9/x"):
        checking.check("stac:http://127.0.0.1:9/x")
    with refuses(RecipeError, "--save", "--source earthengine"):
        checking.check(str(tmp_path), save=tmp_path / "x.json")


def test_the_report_as_json(whole: "TinyArchive") -> None:
    from s1s2pairs.check.text import check_json

    told = json.loads(json.dumps(check_json(checked(whole))))
    assert told["ok"] is True
    assert told["requests"] is None
