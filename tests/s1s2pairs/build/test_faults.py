"""Builds that are disturbed: killed, refused, out of space. They end as an undisturbed one, or say why not."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s1s2pairs.acquisitions import RoiGrids
from s1s2pairs.build.build import BuildReport, build
from s1s2pairs.build.request import BuildRequest
from s1s2pairs.dataset.dataset import open_dataset
from s1s2pairs.dataset.layout import PARTIAL
from s1s2pairs.dataset.storage import Storage
from s1s2pairs.dataset.verify import verify
from s1s2pairs.errors import DatasetError, NotAuthenticated, RecipeError, SourceError, SourceUnreachable
from s1s2pairs.progress import Silence
from tests.refusals import assert_names, refuses
from tests.s1s2pairs.conftest import Built, tiny_recipe, tree
from tests.s1s2pairs.fake_source import FakeOpener, FakeSource, calls, inject

Run = Callable[..., BuildReport]
ROOT = Path(__file__).parents[3]


class Killed(BaseException):
    """Stands for SIGKILL where the exact moment matters: nothing in the code catches it."""


def test_killed_before_and_after_every_write(
    run: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Die a few writes after each start, before or after the file gets its name; the next start goes on from there."""
    recipe = tiny_recipe({"north": {}})
    run(recipe, out="undisturbed")
    undisturbed = calls(source)
    replace, state = Path.replace, {"left": 0, "after": False, "lost": 0}

    def fragile(self: Path, target: Path) -> Path:
        if state["left"] == 0 and not state["after"]:
            state["lost"] += "/rasters/" in str(target)
            raise Killed
        result = replace(self, target)
        if state["left"] == 0:
            raise Killed
        state["left"] -= 1
        return result

    deaths = 0
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fragile)
        while True:
            # The first write of a start shows that the folder can be written to.
            state["left"], state["after"] = 1 + deaths % 9, deaths % 2 == 0
            try:
                run(recipe, workers=1)
            except Killed:
                deaths += 1
                assert deaths < 300
                continue
            break
    assert deaths > 10
    assert tree(tmp_path / "out") == tree(tmp_path / "undisturbed")
    made = calls(source) - undisturbed
    fetched = made["mean_sar north"] + made["composite_optical north"]
    assert fetched == 4 + state["lost"], "only a raster that died unwritten is fetched again"


@pytest.mark.parametrize(
    ("call", "roi"), [("find_sar", "south"), ("mean_sar", "north"), ("composite_optical", "south")]
)
def test_kill_9_and_start_again(built: Built, source: Path, tmp_path: Path, call: str, roi: str) -> None:
    """A process killed while the source works; the second start fetches only what was not finished."""
    inject(source, (call, roi, "wait"))
    script = (
        "import sys\nfrom s1s2pairs.build.build import build\nfrom tests.s1s2pairs.conftest import TWO, tiny_recipe\n"
        "from tests.s1s2pairs.fake_source import FakeOpener\n"
        "build(tiny_recipe(TWO), opener=FakeOpener(folder=sys.argv[1]), out=sys.argv[2], workers=1)\n"
    )
    victim = subprocess.Popen([sys.executable, "-c", script, str(source), str(tmp_path / "out")], cwd=ROOT)
    try:
        deadline = time.monotonic() + 60
        while not ((source / "calls.log").exists() and f"{call} {roi}" in calls(source)):
            assert time.monotonic() < deadline
            assert victim.poll() is None
            time.sleep(0.02)
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    assert not (tmp_path / "out/index.parquet").exists()
    before = calls(source)
    inject(source)
    build(built.recipe, opener=FakeOpener(folder=str(source)), out=str(tmp_path / "out"))
    assert tree(tmp_path / "out") == tree(built.root)
    whole = calls(built.source)
    again = {made: count - whole[made] for made, count in calls(source).items() if count > whole[made]}
    assert f"{call} {roi}" in again
    # Only calls of the interrupted unit of work are made twice.
    assert all(made.endswith(roi) and count == 1 for made, count in again.items())
    assert sum(before.values()) > 0


@pytest.mark.parametrize("fault", ["source", "quota"])
@pytest.mark.parametrize("call", ["find_optical", "find_sar", "mean_sar", "composite_optical"])
def test_a_failing_roi_is_reported_and_later_made_up_for(
    run: Run, built: Built, source: Path, tmp_path: Path, call: str, fault: str
) -> None:
    inject(source, (call, "north", fault))
    report = run(built.recipe)
    assert [outcome.roi for outcome in report.failed] == ["north"]
    assert f"injected: {fault} in {call} of north" in str(report.failed[0].failure)
    assert set(open_dataset(tmp_path / "out").index["roi"]) == {"south"}
    found = verify(str(tmp_path / "out"))
    assert found.ok, found.problems
    assert list(found.failed_rois) == ["north"]
    south = {made: n for made, n in calls(source).items() if made.endswith("south")}

    inject(source)
    assert run(built.recipe).failed == ()
    assert tree(tmp_path / "out") == tree(built.root)
    assert {made: n for made, n in calls(source).items() if made.endswith("south")} == south


def test_a_roi_without_clear_scenes_fails_alone_and_for_good(run: Run, source: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe({"north": {}, "cloudy": {}})
    report = run(recipe)
    assert_names(str(report.failed[0].failure), 2019, "max_cloud_fraction", "max_shift_months")
    assert not (tmp_path / "out" / PARTIAL).exists()
    before, made = tree(tmp_path / "out"), calls(source)
    run(recipe)
    assert tree(tmp_path / "out") == before
    assert not [call for call in calls(source) - made if call.endswith("north")]
    # Its thresholds may be changed in place: there is nothing of it on disk.
    eased = tiny_recipe({"north": {}, "cloudy": {"max_cloud_fraction": 1.0}})
    assert run(eased).failed == ()
    assert verify(str(tmp_path / "out")).ok


def test_when_every_roi_fails_there_is_no_index(run: Run, built: Built, source: Path, tmp_path: Path) -> None:
    inject(source, ("composite_optical", "any", "source"))
    assert len(run(built.recipe).failed) == 2
    assert not (tmp_path / "out/index.parquet").exists()
    assert not (tmp_path / "out/dataset.json").exists()
    inject(source)
    run(built.recipe)
    assert tree(tmp_path / "out") == tree(built.root)


def test_a_source_that_answers_nothing_stops_the_build(run: Run, built: Built, source: Path) -> None:
    inject(source, ("find_optical", "any", "source"))
    with refuses(SourceError, "injected: source in find_optical"):
        run(built.recipe)


@pytest.mark.parametrize("call", ["find_sar", "mean_sar"])
@pytest.mark.parametrize(("fault", "error"), [("credentials", NotAuthenticated), ("unreachable", SourceUnreachable)])
def test_what_every_roi_would_meet_stops_the_build(
    run: Run, built: Built, source: Path, call: str, fault: str, error: type[SourceError]
) -> None:
    inject(source, (call, "south", fault))
    with pytest.raises(error):
        run(built.recipe)


def test_a_bug_is_not_swallowed(run: Run, built: Built, source: Path, tmp_path: Path) -> None:
    inject(source, ("mean_sar", "south", "bug"))
    with pytest.raises(ZeroDivisionError):
        run(built.recipe)
    inject(source)
    run(built.recipe)
    assert tree(tmp_path / "out") == tree(built.root)


@pytest.mark.parametrize("writes", [0, 1, 4, 9, 20, 45])
def test_a_full_disk_is_one_message_and_nothing_half_written(
    run: Run, built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    write, left = Path.write_bytes, [writes]

    def full(self: Path, content: Any) -> int:
        left[0] -= 1
        if left[0] < 0:
            write(self, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with refuses(DatasetError, tmp_path / "out", os.strerror(errno.ENOSPC)):
            run(built.recipe)
    whole = tree(built.root)
    left_behind = {path: sha for path, sha in tree(tmp_path / "out").items() if not path.startswith(PARTIAL)}
    assert left_behind.items() <= whole.items()
    assert not list((tmp_path / "out" / PARTIAL / "writing").glob("*"))
    run(built.recipe)
    assert tree(tmp_path / "out") == whole


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_a_damaged_raster_of_an_unfinished_build_is_fetched_again(
    run: Run, built: Built, source: Path, tmp_path: Path, damage: str
) -> None:
    inject(source, ("mean_sar", "south", "bug"))
    with pytest.raises(ZeroDivisionError):
        run(built.recipe, workers=1)
    raster = tmp_path / "out/rasters/north/2019/s1.tif"
    content = raster.read_bytes()
    raster.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "other": b"II*\0"}[damage])
    for record in (tmp_path / "out" / PARTIAL / "done").rglob("*.json"):
        record.unlink()
    inject(source)
    run(built.recipe)
    assert tree(tmp_path / "out") == tree(built.root)
    assert calls(source)["mean_sar north"] == 3


def test_an_unwritable_folder_is_one_message(built: Built, source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with refuses(DatasetError, tmp_path / "file/out", os.strerror(errno.ENOTDIR), "--out"):
        build(built.recipe, opener=FakeOpener(folder=str(source)), out=str(tmp_path / "file" / "out"))


def test_a_damaged_lock_is_named(run: Run, built: Built, tmp_path: Path) -> None:
    run(built.recipe)
    lock = tmp_path / "out/recipe.lock.geojson"
    for text in (
        lock.read_text()[:-200],
        "{}",
        lock.read_text().replace('"relative_orbit": 37', '"relative_orbit": "x"'),
    ):
        lock.write_text(text)
        with refuses(DatasetError, lock):
            run(built.recipe)


def test_litter_of_a_killed_build_is_swept(run: Run, built: Built, tmp_path: Path) -> None:
    litter = tmp_path / "out" / PARTIAL / "writing" / "half"
    litter.parent.mkdir(parents=True)
    litter.write_bytes(b"half a raster")
    run(built.recipe)
    assert tree(tmp_path / "out") == tree(built.root)
    assert Storage(str(tmp_path / "out")).files(PARTIAL) == frozenset()


class TellsOf(Silence):
    """Tells when a step is done."""

    def __init__(self, what: str) -> None:
        self.what, self.done = what, threading.Event()

    def step(self, what: str = "", *, steps: int = 1) -> None:
        if what == self.what:
            self.done.set()


@pytest.mark.parametrize("late", ["s1", "s2"])
def test_the_reason_of_a_failed_roi_is_that_of_the_first_raster_whichever_fails_first(
    run: Run, built: Built, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    inject(source, ("mean_sar", "north", "source"), ("composite_optical", "north", "source"))
    call, other = {"s1": ("mean_sar", "s2"), "s2": ("composite_optical", "s1")}[late]
    early = TellsOf(f"rasters/north/2019/{other}.tif")
    method = getattr(FakeSource, call)

    def waits(self: FakeSource, *args: Any, **keywords: Any) -> Any:
        assert early.done.wait(60)
        return method(self, *args, **keywords)

    monkeypatch.setattr(FakeSource, call, waits)
    report = run(built.recipe, workers=4, progress=early)
    assert [outcome.failure for outcome in report.failed] == ["2019 s1: injected: source in mean_sar of north"]
    card = json.loads((tmp_path / "out/dataset.json").read_text())
    assert card["s1s2:failures"] == [{"roi": "north", "reason": report.failed[0].failure}]


def test_where_no_roi_can_be_searched_the_first_one_says_why(
    run: Run, built: Built, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inject(source, ("find_sar", "any", "source"))
    south = TellsOf("south")
    find = FakeSource.find_sar

    def waits(self: FakeSource, place: RoiGrids, *args: Any, **keywords: Any) -> Any:
        assert place.name == "south" or south.done.wait(60)
        return find(self, place, *args, **keywords)

    monkeypatch.setattr(FakeSource, "find_sar", waits)
    with refuses(SourceError, "find_sar of north"):
        run(built.recipe, progress=south)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"patches": [[1]]}', b'{"properties": {}}', b"\xff"])
def test_damaged_notes_of_an_unfinished_build_are_made_again(
    run: Run, built: Built, source: Path, tmp_path: Path, content: bytes
) -> None:
    inject(source, ("composite_optical", "south", "source"))
    run(built.recipe)
    inject(source)
    notes = [*(tmp_path / "out" / PARTIAL).rglob("*.json")]
    assert {note.parent.name for note in notes} >= {"plans", "north"}
    for note in notes:
        note.write_bytes(content)
    (tmp_path / "out/recipe.lock.geojson").unlink()  # else the plans would not be read
    (tmp_path / "out/index.parquet").unlink()
    run(built.recipe)
    assert tree(tmp_path / "out") == tree(built.root)


def test_a_build_needs_a_worker(built: Built) -> None:
    with refuses(RecipeError, "workers", 0):
        BuildRequest.of(built.recipe, workers=0)
