"""Every command of the tutorial runs, top to bottom, on tiny places and with little training."""

import shutil
from pathlib import Path

import pytest

from tests.test_readme import ROOT, blocks, commands, run, simulate_few

TUTORIAL = ROOT / "docs/tutorial.md"
LESS = {"epochs=30": "epochs=1", "decay_epochs=15": "decay_epochs=1", "width=16": "width=2"}
"""What is trained here in place of what the tutorial trains."""


def test_the_tutorial_runs(tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rois").mkdir()
    shutil.copy(tiny_recipe, tmp_path / "rois" / "small.geojson")
    monkeypatch.chdir(tmp_path)
    simulate_few(monkeypatch)
    quoted = commands(TUTORIAL)
    assert len(quoted) == 11
    for command in quoted:
        run(" ".join(LESS.get(word, word) for word in command.split()))
    (drawing,) = [block for kind, block in blocks(TUTORIAL) if kind == "python"]
    monkeypatch.setenv("MPLBACKEND", "agg")
    exec(compile(drawing, "tutorial.md", "exec"), {})
    made = ("data/small/report.html", "map.html", "runs/first/evaluation.html", "valencia_2021.tif", "translated.png")
    assert [name for name in made if not (tmp_path / name).is_file()] == []
    assert list((tmp_path / "runs/first/samples").glob("epoch*.png"))
