"""A build that takes optical images from one catalogue and radar images from another."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from s1s2pairs.acquisitions import Needed
from s1s2pairs.sources.paired import PairedSource
from tests.command import Done, s1s2
from tests.refusals import assert_names
from tests.s1s2pairs.fake_source import FakeSource


@pytest.fixture(scope="module")
def halves(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The tiny world parted in two catalogues, each with one sensor; the other collection is gone."""
    folder = tmp_path_factory.mktemp("halves")
    return tuple(
        _only(tiny_world, folder / name, gone=gone)
        for name, gone in (("optical", "sentinel-1-grd"), ("radar", "sentinel-2-l2a"))
    )  # type: ignore[return-value]


def _only(world: Path, copy: Path, *, gone: str) -> Path:
    shutil.copytree(world, copy, ignore=shutil.ignore_patterns(gone))
    catalog = json.loads((copy / "catalog.json").read_text(encoding="utf-8"))
    links = [link for link in catalog["links"] if gone not in link["href"]]
    text = json.dumps({**catalog, "id": f"without-{gone}", "links": links})
    (copy / "catalog.json").write_text(text, encoding="utf-8")
    return copy


@pytest.fixture(scope="module")
def built(tiny_recipe: Path, halves: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    done = _build(tiny_recipe, *halves, folder, "--years", 2019, 2021)
    assert done.returncode == 0, done.stderr
    return folder / "data"


def _build(recipe: Path, optical: Path, radar: Path, folder: Path, *more: object) -> Done:
    words = ("build", recipe, "--source", optical, "--radar-source", radar, "--out", folder / "data", *more)
    return s1s2(*words, cwd=folder)


def test_the_same_choices_and_pixels_as_from_one_catalogue(built: Path, tiny_built: Path) -> None:
    locks = [json.loads((d / "recipe.lock.geojson").read_text()) for d in (built, tiny_built)]
    assert locks[0].pop("s1s2") == {
        "lock": 1,
        "source": "catalogue:without-sentinel-1-grd",
        "radar_source": "catalogue:without-sentinel-2-l2a",
    }
    assert locks[1].pop("s1s2") == {"lock": 1, "source": "catalogue:s1s2-simulated"}
    assert locks[0] == locks[1]
    rasters = sorted(tiny_built.glob("rasters/*/*/*.tif"))
    assert len(rasters) == 12
    for path in rasters:
        with rasterio.open(path) as a, rasterio.open(built / path.relative_to(tiny_built)) as b:
            np.testing.assert_array_equal(a.read(), b.read())


def test_the_card_and_the_report_name_both(built: Path) -> None:
    card = json.loads((built / "dataset.json").read_text(encoding="utf-8"))
    assert card["s1s2:source"] == "catalogue:without-sentinel-1-grd"
    assert card["s1s2:radar_source"] == "catalogue:without-sentinel-2-l2a"
    assert s1s2("verify", built, cwd=built).returncode == 0
    assert s1s2("report", built, cwd=built).returncode == 0
    page = (built / "report.html").read_text(encoding="utf-8")
    assert "<code>catalogue:without-sentinel-2-l2a</code>" in page


def test_a_lock_wants_both_and_gives_the_same_bytes(built: Path, halves: tuple[Path, Path], tmp_path: Path) -> None:
    lock = built / "recipe.lock.geojson"
    neither = s1s2("build", lock, cwd=tmp_path)
    assert neither.returncode == 2
    assert_names(neither.stderr, "without-sentinel-1-grd", "--source", but_not=("--radar-source",))
    half = s1s2("build", lock, "--source", halves[0], cwd=tmp_path)
    assert half.returncode == 2
    assert_names(half.stderr, "without-sentinel-2-l2a", "--radar-source")
    assert _build(lock, *halves, tmp_path).returncode == 0
    for path in (path for path in built.rglob("*.tif") if path.is_file()):
        assert (tmp_path / "data" / path.relative_to(built)).read_bytes() == path.read_bytes()


def test_the_same_folder_takes_no_other_pair(built: Path, tiny_recipe: Path, tiny_world: Path) -> None:
    words = ("build", tiny_recipe, "--years", 2019, 2021, "--source", tiny_world, "--out", built)
    done = s1s2(*words, cwd=built)
    assert done.returncode == 2
    assert_names(done.stderr, "catalogue:without-sentinel-2-l2a", "catalogue:s1s2-simulated")


def test_without_radar_the_build_says_so_before_it_looks_at_optical_scenes(
    tiny_recipe: Path, halves: tuple[Path, Path], tmp_path: Path
) -> None:
    optical = Path(shutil.copytree(halves[0], tmp_path / "optical"))
    for file in optical.rglob("scl.tif"):
        file.write_bytes(b"")
    done = s1s2("build", tiny_recipe, "--years", 2019, 2021, "--source", optical, "--out", "x", cwd=tmp_path)
    assert done.returncode == 3
    assert_names(done.stderr, "sentinel-1-grd", "sentinel-1-rtc", "--radar-source")


def test_each_source_is_asked_about_its_own_files(tmp_path: Path) -> None:
    optical, radar = FakeSource(tmp_path / "optical"), FakeSource(tmp_path / "radar")
    for source in (optical, radar):
        (source.folder / "missing.json").write_text(json.dumps(["S1/a", "S2/a"]))
    needed = Needed(sar=(("S1/a",), ("S1/b",)), optical=(("S2/a",),), polarisations=("VV",), bands=("B2",))
    assert PairedSource(optical, radar).unreadable(needed) == {"S1/a", "S2/a"}
    (optical.folder / "missing.json").unlink()
    assert PairedSource(optical, radar).unreadable(needed) == {"S1/a"}
