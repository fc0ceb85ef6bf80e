"""A source that changes between the choice of scenes and their pixels: refused, never mixed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s1s2pairs.acquisitions import Needed
from s1s2pairs.build.build import BuildReport, plan_only
from s1s2pairs.dataset.layout import LOCK_FILE
from s1s2pairs.plan import lock
from s1s2pairs.sources.registry import open_source
from tests.refusals import assert_names
from tests.s1s2pairs.conftest import TWO, tiny_recipe, tree
from tests.s1s2pairs.fake_source import FakeOpener, calls
from tests.s1s2pairs.sources.stac.conftest import TinyArchive

Run = Callable[..., BuildReport]


def test_what_changed_since_the_plan_is_not_fetched(run: Run, source: Path, tmp_path: Path) -> None:
    source.mkdir()
    (source / "version.txt").write_text("1")
    plan_only(tiny_recipe(TWO), opener=FakeOpener(folder=str(source)), out=str(tmp_path / "out"))
    (source / "version.txt").write_text("2")
    report = run(tiny_recipe(TWO))
    assert [roi.roi for roi in report.failed] == ["north", "south"]
    assert_names(str(report.failed[0].failure), "north", LOCK_FILE, "--out")
    assert not any(call.startswith(("mean_sar", "composite")) for call in calls(source))
    (tmp_path / "out" / LOCK_FILE).unlink()
    assert not run(tiny_recipe(TWO)).failed, "as the message says"


def test_what_has_been_fetched_stays(run: Run, source: Path, tmp_path: Path) -> None:
    source.mkdir()
    (source / "version.txt").write_text("1")
    run(tiny_recipe(TWO))
    before, made = tree(tmp_path / "out"), calls(source)
    (source / "version.txt").write_text("2")
    assert not run(tiny_recipe(TWO)).failed
    assert tree(tmp_path / "out") == before
    assert calls(source) == made


def test_a_lock_without_versions_is_carried_out(run: Run, source: Path, tmp_path: Path) -> None:
    source.mkdir()
    run(tiny_recipe(TWO), out="first")
    old = json.loads((tmp_path / "first" / LOCK_FILE).read_text())
    for feature in old["features"]:
        assert feature["properties"]["plan"].pop("scene_versions") == {}
    (tmp_path / "old.geojson").write_text(json.dumps(old))
    (source / "version.txt").write_text("2")
    assert not run(lock.load(tmp_path / "old.geojson")).failed


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (lambda item: item["properties"].update(updated="2024-01-01T00:00:00Z"), True),
        (lambda item: item["assets"]["vv"].update({"file:checksum": "1220ab"}), True),
        (lambda item: item["assets"]["vv"].update({"raster:bands": [{"scale": 2}]}), True),
        (lambda item: item["properties"].update(title="a better name"), False),
        (lambda item: item["assets"]["vv"].update(href="../S/vv.tif"), False),
    ],
    ids=["updated", "checksum", "scale", "title", "moved"],
)
def test_what_makes_another_version(change: Callable[[dict[str, Any]], object], differs: bool, tmp_path: Path) -> None:
    archive = TinyArchive(tmp_path)
    archive.sar("S", "2019-06-07T17:00:00Z", np.full((64, 64), 0.1, np.float32))
    needed = Needed(sar=(("S",),), optical=(), polarisations=("VV",), bands=())
    before = open_source(str(archive.write())).versions(needed)
    change(archive.items["S"])
    assert (open_source(str(archive.write())).versions(needed) != before) is differs
