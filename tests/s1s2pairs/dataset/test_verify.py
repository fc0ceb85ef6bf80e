"""Everything that can go wrong with a dataset on disk is found and named."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio

from s1s2pairs.acquisitions import RoiGrids, SarAcquisition
from s1s2pairs.build.build import BuildReport
from s1s2pairs.dataset.index import dump_index, read_rows
from s1s2pairs.dataset.storage import Storage
from s1s2pairs.dataset.verify import verify
from s1s2pairs.errors import DatasetError
from s1s2pairs.report.text import verify_lines
from s1s2pairs.s1_orbits import incidence_deg
from tests.command import s1s2
from tests.refusals import assert_names, refuses
from tests.s1s2pairs.conftest import Built, edit_card, tiny_recipe
from tests.s1s2pairs.fake_source import FakeSource

RASTER = "rasters/north/2019/s1.tif"


@pytest.fixture
def copy(built: Built, tmp_path: Path) -> Path:
    """A dataset to damage."""
    return Path(shutil.copytree(built.root, tmp_path / "copy"))


@pytest.fixture
def patch(built: Built) -> str:
    """One patch file, relative to the dataset."""
    return min(path.relative_to(built.root).as_posix() for path in (built.root / "patches/train").rglob("2019_s2.tif"))


def found(root: Path) -> list[tuple[str, str]]:
    """Each problem's file and kind."""
    return [(problem.path, problem.kind) for problem in verify(str(root)).problems]


def details(root: Path) -> list[str]:
    return [problem.detail for problem in verify(str(root)).problems]


def edit_index(root: Path, change: Callable[[list[dict[str, object]]], object]) -> None:
    """Change rows of the index, and the card's hash with it: as somebody would who edits a dataset."""
    rows = read_rows((root / "index.parquet").read_bytes(), file="index")
    change(rows)
    (root / "index.parquet").write_bytes(dump_index(rows))
    sha256 = hashlib.sha256((root / "index.parquet").read_bytes()).hexdigest()
    edit_card(root, lambda card: card["distribution"][0].update(sha256=sha256))


def test_a_whole_dataset_is_found_whole(built: Built) -> None:
    report = verify(str(built.root))
    assert verify(built.root) == report
    assert report.ok
    assert report.problems == ()
    assert (report.rasters, report.patches, report.rows) == (8, 48, 24)
    assert dict(report.failed_rois) == {}


@pytest.mark.parametrize(("older_by", "noted"), [(0.0, False), (1.4, True)])
def test_an_angle_that_an_older_model_gave_is_noted_and_no_fault(
    run: Callable[..., BuildReport],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    older_by: float,
    noted: bool,
) -> None:
    find = FakeSource.find_sar

    def modelled(self: FakeSource, place: RoiGrids, *args: Any, **keywords: Any) -> tuple[SarAcquisition, ...]:
        middle = place.polygon.centroid
        angle = float(incidence_deg(59, "ascending", middle.x, middle.y)) + older_by
        changes = {"relative_orbit": 59, "incidence_deg": angle, "incidence_source": "model"}
        return tuple(replace(a, **changes) for a in find(self, place, *args, **keywords) if a.relative_orbit == 37)

    monkeypatch.setattr(FakeSource, "find_sar", modelled)
    recipe = tiny_recipe({"north": {}})
    run(recipe)
    report = verify(str(tmp_path / "out"))
    assert report.ok
    assert len(report.notes) == noted
    if noted:
        middle = recipe.rois[0].polygon.centroid
        today = float(incidence_deg(59, "ascending", middle.x, middle.y))
        assert_names(report.notes[0], "north", f"{today:.1f}", f"{today + older_by:.1f}")
        assert report.notes[0] in list(verify_lines(report))


def test_an_index_read_back_is_written_the_same(built: Built) -> None:
    content = (built.root / "index.parquet").read_bytes()
    assert dump_index(read_rows(content, file="index")) == content


@pytest.mark.parametrize("path", [RASTER, "patch", "dataset.json"])
def test_a_missing_file_is_named(copy: Path, patch: str, path: str) -> None:
    path = patch if path == "patch" else path
    (copy / path).unlink()
    assert found(copy) == [(path, "missing")]


def test_a_flipped_pixel_in_a_patch_is_named(copy: Path, patch: str) -> None:
    with rasterio.open(copy / patch, "r+") as file:
        pixels = file.read(1)
        pixels[7, 7] += 1
        file.write(pixels, 1)
    assert found(copy) == [(patch, "hash"), (patch, "pixels")]
    for detail, named in zip(details(copy), ("SHA-256", RASTER.replace("s1", "s2")), strict=True):
        assert_names(detail, named)


def test_a_changed_raster_is_named(copy: Path) -> None:
    content = (copy / RASTER).read_bytes()
    for changed in (content + b"x", content[:-1] + bytes([content[-1] ^ 1])):
        (copy / RASTER).write_bytes(changed)
        assert [path for path, _ in found(copy)] == [RASTER]


def test_a_flipped_pixel_in_a_raster_is_named_where_patches_disagree(copy: Path) -> None:
    with rasterio.open(copy / RASTER, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        pixels = file.read(1)
        pixels[10, 10] = np.nan
        file.write(pixels, 1)
    assert found(copy) == [(RASTER, "hash")]
    sha256 = hashlib.sha256((copy / RASTER).read_bytes()).hexdigest()
    edit_card(copy, lambda card: card["s1s2:rasters"].update({RASTER: sha256}))
    problems = found(copy)
    assert problems
    assert all(path.endswith("2019_s1.tif") and kind == "pixels" for path, kind in problems)
    for detail in details(copy):
        assert_names(detail, RASTER)


@pytest.mark.parametrize("path", [RASTER, "patch"])
def test_a_truncated_file_is_named(copy: Path, patch: str, path: str) -> None:
    path = patch if path == "patch" else path
    content = (copy / path).read_bytes()
    for part in (0.0, 0.3, 0.6, 0.9):
        (copy / path).write_bytes(content[: int(len(content) * part)])
        assert [file for file, _ in found(copy)] == [path]


def test_a_patch_moved_by_half_a_pixel_is_named(copy: Path, patch: str) -> None:
    with rasterio.open(copy / patch, "r+") as file:
        file.transform = file.transform @ rasterio.Affine.translation(0.5, 0.5)
    assert found(copy) == [(patch, "damaged")]
    assert_names(*details(copy), "transform")


def test_two_patches_exchanged_are_named(copy: Path, patch: str) -> None:
    other = patch.replace("2019", "2020")
    (copy / patch).rename(copy / "swap")
    (copy / other).rename(copy / patch)
    (copy / "swap").rename(copy / other)
    assert {path for path, _ in found(copy)} == {patch, other}


@pytest.mark.parametrize(
    "path", ["patches/train/north/north_0_0/2018_s1.tif", "rasters/north/2019/s3.tif", "patches/x.txt"]
)
def test_a_surplus_file_is_named(copy: Path, path: str) -> None:
    (copy / path).write_bytes(b"")
    assert found(copy) == [(path, "surplus")]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("split", "test"),
        ("row_off", 1),
        ("crs", "EPSG:32632"),
        ("transform", [10.0, 0.0, 0.0, 0.0, -10.0, 0.0]),
        ("s1_path", "patches/elsewhere.tif"),
        ("s2_valid_fraction", 0.5),
        ("cloud_fraction", 0.25),
        ("s1_scene_ids", ["other"]),
        ("lag_days", 0.0),
        ("relative_orbit", 110),
        ("s1_mean_time", pd.Timestamp("2020-01-01", tz="UTC")),
    ],
)
def test_a_wrong_value_in_a_row_is_named(copy: Path, column: str, value: object) -> None:
    edit_index(copy, lambda rows: rows[3].update({column: value}))
    assert found(copy) == [("index.parquet", "row")]
    assert_names(*details(copy), column)


def test_rows_that_are_missing_or_surplus_or_double_are_named(copy: Path) -> None:
    def shuffle(rows: list[dict[str, object]]) -> None:
        patch = rows.pop(0)["patch_id"]
        assert patch == "north_0_0"
        rows.append({**rows[0], "period": "2031"})
        rows.append(rows[5])

    edit_index(copy, shuffle)
    assert {*found(copy)} == {("index.parquet", "row")}
    surplus, double, missing = sorted(details(copy), key=lambda detail: ("2031" not in detail, "2019" in detail))
    assert_names(surplus, "north_0_16", 2031)
    assert_names(double, 1, "twice")
    assert_names(missing, "north_0_0", 2019)


def test_an_index_or_lock_changed_behind_the_cards_back_is_named(copy: Path) -> None:
    lock = copy / "recipe.lock.geojson"
    lock.write_text(lock.read_text() + "\n")
    assert found(copy) == [("recipe.lock.geojson", "hash")]


def test_a_raster_of_another_plan_is_named(copy: Path) -> None:
    with rasterio.open(copy / RASTER, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        file.update_tags(S1S2_PLAN_DIGEST="0" * 64)
    assert found(copy) == [(RASTER, "plan")]


def test_a_damaged_card_is_named(copy: Path) -> None:
    (copy / "dataset.json").write_text("{")
    assert found(copy) == [("dataset.json", "damaged")]


def test_a_damaged_index_is_named_beside_what_else_is_wrong(copy: Path, patch: str) -> None:
    (copy / patch).unlink()
    index = copy / "index.parquet"
    content = index.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(40):  # Parquet, GeoParquet's JSON, WKB and Zstandard each fail in their own way
        changed = bytearray(content)
        start = int(random.integers(len(content)))
        changed[start : start + 32] = random.bytes(min(32, len(content) - start))
        index.write_bytes(changed)
        named = {path for path, _ in found(copy)}
        assert {"index.parquet", patch} <= named
    index.write_bytes(b"no parquet")
    assert ("index.parquet", "damaged") in found(copy)
    assert any("GeoParquet" in detail for detail in details(copy))


def test_no_dataset_is_an_explained_error(copy: Path, tmp_path: Path) -> None:
    with refuses(DatasetError, tmp_path / "nowhere", "recipe.lock.geojson", "s1s2 build"):
        verify(str(tmp_path / "nowhere"))
    (copy / "index.parquet").unlink()
    with refuses(DatasetError, copy, "index.parquet", but_not=("recipe.lock.geojson",)):
        verify(str(copy))


def test_each_kind_of_problem_has_its_word(copy: Path, patch: str) -> None:
    def kinds() -> dict[str, set[str]]:
        told: dict[str, set[str]] = {}
        for problem in verify(str(copy)).problems:
            told.setdefault(problem.path, set()).add(problem.kind)
        return told

    whole = (copy / patch).read_bytes()
    (copy / patch).unlink()
    assert kinds()[patch] == {"missing"}
    (copy / patch).write_bytes(whole[: len(whole) // 2])
    assert kinds()[patch] == {"damaged"}
    (copy / patch).write_bytes(whole)
    (copy / "patches/more.tif").write_bytes(whole)
    assert kinds()["patches/more.tif"] == {"surplus"}
    (copy / "patches/more.tif").unlink()
    (copy / ".partial").mkdir(exist_ok=True)
    (copy / ".partial/left").write_bytes(b"x")
    assert kinds()[".partial"] == {"unfinished"}
    (copy / "dataset.json").write_text("{")
    assert kinds()["dataset.json"] == {"damaged"}


def test_a_url_is_verified_by_the_command(built: Built) -> None:
    """The slashes of a URL must reach fsspec: a path would eat one."""
    storage = Storage("memory://verified/tiny")
    storage.prepare()
    for file in (path for path in built.root.rglob("*") if path.is_file()):
        storage.write(file.relative_to(built.root).as_posix(), file.read_bytes())
    done = s1s2("verify", "memory://verified/tiny", cwd=built.root)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0)
    assert "24 rows checked, 0 problems" in done.stdout
