"""Every command of the tutorial runs, on tiny places and with little training; so do the pages' examples in Python."""

import shutil
from pathlib import Path

import pytest

from tests.test_readme import ROOT, blocks, commands, run, simulate_few

TUTORIAL = ROOT / "docs/tutorial.md"
WITH_PYTHON = [
    TUTORIAL,
    *(ROOT / "docs" / name for name in ("dataset.md", "evaluation.md", "commands/translate.md", "python.md")),
]
"""Pages whose examples in Python use the tutorial's dataset and run."""
LESS = {"epochs=30": "epochs=1", "decay_epochs=15": "decay_epochs=1", "width=16": "width=2"}
"""What is trained here in place of what the tutorial trains."""


def test_the_tutorial_runs(
    tiny_recipe: Path, tiny_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rois").mkdir()
    shutil.copy(tiny_recipe, tmp_path / "rois" / "small.geojson")
    shutil.copytree(tiny_world, tmp_path / "data" / "world")  # `simulate` leaves a finished archive as it is
    monkeypatch.chdir(tmp_path)
    simulate_few(monkeypatch)
    quoted = commands(TUTORIAL)
    assert len(quoted) == 12
    for command in quoted:
        run(" ".join(LESS.get(word, word) for word in command.split()))
    monkeypatch.setenv("MPLBACKEND", "agg")
    for page in WITH_PYTHON:
        examples = [block for kind, block in blocks(page) if kind == "python"]
        assert examples, page
        for example in examples:
            exec(compile(example, page.name, "exec"), {})
    made = (
        "data/small/report.html",
        "map.html",
        "runs/first/evaluation.html",
        "valencia_2021.tif",
        "translated.png",
        "tsgan.onnx",
    )
    assert [name for name in made if not (tmp_path / name).is_file()] == []
    assert list((tmp_path / "runs/first/samples").glob("epoch*.png"))
