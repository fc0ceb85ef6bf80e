"""A repaired dataset has the very bytes it had, and only what was broken has been made again."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import s1s2pairs
from s1s2pairs.build.build import BuildReport
from s1s2pairs.build.repair import RepairReport, mend
from s1s2pairs.dataset.layout import PARTIAL
from s1s2pairs.dataset.storage import Storage
from s1s2pairs.errors import DatasetError, RecipeError, SourceError
from tests.refusals import assert_names, refuses
from tests.s1s2pairs.conftest import TWO, Built, edit_card, tiny_recipe, tree
from tests.s1s2pairs.fake_source import FakeOpener, FakeSource, calls, inject

# rasterio cannot log what GDAL says of a text that is no UTF-8, and tells Python so.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
CARD, INDEX, LOCK = "dataset.json", "index.parquet", "recipe.lock.geojson"
RASTER = "rasters/north/2019/s1.tif"
CALL = {"s1": "mean_sar", "s2": "composite_optical"}
Run = Callable[..., BuildReport]


@pytest.fixture
def copy(built: Built, tmp_path: Path) -> Path:
    """A dataset to damage."""
    return Path(shutil.copytree(built.root, tmp_path / "copy"))


@pytest.fixture
def repair(copy: Path, source: Path) -> Callable[[], RepairReport]:
    """Repair the copy from the fake source."""
    FakeSource(source)  # makes its folder and its empty list of calls
    return lambda: mend(copy, opener=lambda plan: FakeOpener(folder=str(source)))


def damage(path: Path, random: np.random.Generator) -> None:
    """Delete a file, cut it off, empty it, overwrite a part of it, or change one byte."""
    content = path.read_bytes()
    start = int(random.integers(len(content)))
    length = int(random.integers(1, 200))
    other = bytes([content[start] ^ int(random.integers(1, 256))])
    whatever = [content[:start], b"", content[:start] + random.bytes(length) + content[start + length :]]
    changed = [*whatever, content[:start] + other + content[start + 1 :], None][int(random.integers(5))]
    if changed is None:
        path.unlink()
    else:
        path.write_bytes(changed)


@pytest.mark.parametrize("seed", range(8))
def test_a_repair_gives_back_the_very_bytes_and_fetches_only_damaged_rasters(
    built: Built, copy: Path, source: Path, repair: Callable[[], RepairReport], seed: int
) -> None:
    random = np.random.default_rng(seed)
    before = tree(copy)
    images = [path for path in before if path.endswith(".tif")]
    rasters = [path for path in images if path.startswith("rasters/")]
    tables = [[], [CARD], [INDEX], [INDEX]][seed % 4]
    hurt = {*random.choice(images, 5, replace=False), *random.choice(rasters, seed % 3, replace=False), *tables}
    for path in sorted(hurt):
        damage(copy / path, random)
    (copy / "patches/train/north/north_0_0/2031_s1.tif").write_bytes(b"surplus")
    report = repair()
    assert report.ok, (report.after.problems, report.given_up)
    assert report.given_up == {}
    assert tree(copy) == before
    due = Counter(f"{CALL[Path(path).stem]} {path.split('/')[1]}" for path in hurt if path in rasters)
    assert calls(source) == due
    assert {path for path, how in report.repaired.items() if how == "fetched"} == hurt.intersection(rasters)
    assert {path for path, how in report.repaired.items() if how != "removed"} == hurt
    assert {path for path, how in report.repaired.items() if how == "removed"} == before.keys() ^ {
        *before,
        "patches/train/north/north_0_0/2031_s1.tif",
    }


@pytest.mark.parametrize("raster", [False, True])
@pytest.mark.parametrize(
    "how", [lambda text: None, lambda text: b"{", lambda text: text.replace(b'"sha256": "', b'"sha256": "0')]
)
def test_card_and_index_are_written_again_when_both_are_lost(
    copy: Path, source: Path, repair: Callable[[], RepairReport], how: Callable[[bytes], bytes | None], raster: bool
) -> None:
    before = tree(copy)
    changed = how((copy / CARD).read_bytes())
    (copy / CARD).unlink()
    if changed is not None:
        (copy / CARD).write_bytes(changed)
    (copy / INDEX).write_bytes((copy / INDEX).read_bytes()[:-1])
    shutil.rmtree(copy / "patches/train/north/north_0_0")
    if raster:
        content = bytearray((copy / RASTER).read_bytes())
        content[150] ^= 4
        (copy / RASTER).write_bytes(content)
    report = repair()
    assert report.ok, (report.after.problems, report.given_up)
    assert tree(copy) == before
    assert calls(source) == ({"mean_sar north": 1} if raster else {})


def test_a_whole_dataset_is_left_as_it_is(copy: Path, source: Path, repair: Callable[[], RepairReport]) -> None:
    changed = {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()}
    report = repair()
    assert (report.ok, dict(report.repaired), dict(report.given_up)) == (True, {}, {})
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()} == changed
    assert not (source / "calls.log").read_text().replace("open\n", "")


def test_no_source_is_opened_for_patches_alone(copy: Path) -> None:
    before = tree(copy)
    shutil.rmtree(copy / "patches")
    assert s1s2pairs.repair_dataset(copy).ok  # the fake source's place is not even known
    assert tree(copy) == before
    (copy / RASTER).unlink()
    with refuses(RecipeError, "fake", "--source"):
        s1s2pairs.repair_dataset(copy)


def test_a_source_that_gives_other_pixels_changes_nothing(
    copy: Path, repair: Callable[[], RepairReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy / RASTER).unlink()
    before = tree(copy)
    monkeypatch.setattr("tests.s1s2pairs.fake_source._noise", lambda scenes: np.random.default_rng(77))
    report = repair()
    assert not report.ok
    assert_names(report.given_up[RASTER], "catalogue:fake", RASTER, LOCK)
    assert [problem.path for problem in report.after.problems] == [RASTER]
    assert tree(copy) == before


def test_a_source_that_fails_leaves_the_other_files_repaired(
    copy: Path, source: Path, repair: Callable[[], RepairReport]
) -> None:
    (copy / RASTER).unlink()
    other = "rasters/south/2020/s2.tif"
    (copy / other).write_bytes(b"")
    patch = min(path for path in tree(copy) if path.startswith("patches/test"))
    (copy / patch).unlink()
    inject(source, ("mean_sar", "north", "source"))
    report = repair()
    assert report.repaired == {other: "fetched", patch: "cut"}
    assert list(report.given_up) == [RASTER]
    assert_names(report.given_up[RASTER], "injected")
    (copy / other).unlink()
    inject(source, ("any", "any", "unreachable"))
    with pytest.raises(SourceError):
        repair()


def test_a_damaged_lock_must_be_put_back(
    built: Built, copy: Path, source: Path, repair: Callable[[], RepairReport]
) -> None:
    before = tree(copy)
    (copy / RASTER).unlink()
    for text in (b"{", (copy / LOCK).read_bytes().replace(b"S1/north", b"S1/nortt"), b"\xff"):
        (copy / LOCK).write_bytes(text)
        report = repair()
        assert [problem.path for problem in report.after.problems] == [LOCK]
        assert before[LOCK] in report.after.notes[0]
        assert calls(source) == {}
    (copy / CARD).unlink()
    (copy / LOCK).write_bytes((built.root / LOCK).read_bytes().replace(b"S1/north", b"S1/nortt"))
    report = repair()
    assert not report.ok
    for why in report.given_up.values():
        assert_names(why, LOCK, CARD)
    assert report.given_up
    assert calls(source) == {}
    shutil.copy(built.root / LOCK, copy / LOCK)
    assert repair().ok
    assert tree(copy) == before


def test_an_index_that_is_gone_is_written_again_but_an_unfinished_build_is_not_finished(
    copy: Path, repair: Callable[[], RepairReport]
) -> None:
    before = tree(copy)
    (copy / INDEX).unlink()
    assert repair().repaired == {INDEX: "written"}
    assert tree(copy) == before
    (copy / INDEX).unlink()
    (copy / PARTIAL).mkdir()
    (copy / PARTIAL / "left").write_bytes(b"")
    with refuses(DatasetError, copy, INDEX):
        repair()
    shutil.copy(copy / CARD, copy / INDEX)  # no index, but not missing either
    assert repair().repaired == {INDEX: "written", PARTIAL: "removed"}
    assert tree(copy) == before


def test_what_was_forged_together_with_its_hash_is_left_to_a_build(
    copy: Path, repair: Callable[[], RepairReport], run: Run, built: Built
) -> None:
    edit_card(copy, lambda card: card.update({"s1s2:left_out": {"north_0_0": {RASTER: 0.1}}}))
    report = repair()
    assert not report.ok
    assert {CARD, INDEX} & set(report.given_up)


def test_the_card_of_a_dataset_with_a_failed_roi(run: Run, source: Path, tmp_path: Path) -> None:
    inject(source, ("mean_sar", "south", "source"))
    run(tiny_recipe(TWO))
    inject(source)
    out = tmp_path / "out"
    before = tree(out)
    content = (out / CARD).read_bytes()

    def again() -> RepairReport:
        return mend(out, opener=lambda plan: FakeOpener(folder=str(source)))

    # What is left of the card shows that its reason is the right one.
    (out / CARD).write_bytes(content.replace(b"Sentinel-1", b"Sentinel-7", 1))
    assert again().repaired == {CARD: "written"}
    assert tree(out) == before
    kept = next(path for path in before if path.startswith("rasters/south"))
    assert json.loads(content)["s1s2:rasters"][kept] == before[kept]
    (out / kept).write_bytes(b"")
    assert again().repaired == {kept: "fetched"}
    assert tree(out) == before
    (out / CARD).write_bytes(content.replace(b"injected", b"inserted", 1))
    report = again()
    assert not report.ok
    assert_names(report.given_up[CARD], LOCK)


def test_a_build_does_not_take_over_what_a_damaged_card_notes(run: Run, built: Built, tmp_path: Path) -> None:
    run(built.recipe)
    out = tmp_path / "out"
    raster = json.loads((out / CARD).read_text())["s1s2:rasters"][RASTER]
    (out / CARD).write_text((out / CARD).read_text().replace(raster, raster[::-1]))
    run(built.recipe)
    assert tree(out) == tree(built.root)
    (out / INDEX).write_bytes((out / INDEX).read_bytes().replace(b"north_0_0", b"north_0_1"))
    run(built.recipe)
    assert tree(out) == tree(built.root)


def test_a_dataset_behind_a_url_is_repaired(built: Built, source: Path) -> None:
    storage = Storage("memory://repaired/tiny")
    storage.prepare()
    for path in tree(built.root):
        storage.write(path, (built.root / path).read_bytes())
    for path in (RASTER, INDEX):
        storage.write(path, b"")
    report = mend(storage.url, opener=lambda plan: FakeOpener(folder=str(source)))
    assert report.repaired == {RASTER: "fetched", INDEX: "written"}
    assert storage.read(RASTER) == (built.root / RASTER).read_bytes()
