"""What `s1s2 train`, `evaluate` and `translate` make of options about checkpoints and datasets."""

import json
from pathlib import Path
from typing import Any

import pytest

from models.runs.loading import load_translator
from tests.command import s1s2
from tests.models.conftest import write_dataset

from .helpers import Toy, assert_same, figures, record, tensors

QUICK = ("--device", "cpu", "--quiet", "--set", "workers=0", "pictures=0", "max_steps=1")


def test_train_takes_several_datasets_and_weights_to_start_from(toys: Toy, tmp_path: Path) -> None:
    other = write_dataset(tmp_path / "other", seed=4, rois=1)
    first = toys("first", epochs=1).run
    data = ("--data", str(toys.dataset), "--data", str(other))
    code, _, err = s1s2(
        "train", "toy", *data, "--out", "run", "--init", str(first), *QUICK, "learning_rate=1e-30", cwd=tmp_path
    )
    assert (code, err) == (0, "")
    assert record(tmp_path / "run")["dataset"] == [str(toys.dataset), str(other)]
    assert_same(tensors(tmp_path / "run"), tensors(first))
    code, _, err = s1s2("train", "toy", "--resume", "run", "--init", str(first), *QUICK, cwd=tmp_path)
    assert code == 2
    assert "--init" in err


def test_evaluate_measures_the_checkpoint_asked_for(toys: Toy, tmp_path: Path) -> None:
    """A run that gets worse: its first epoch is the best."""
    run = toys("run", select="psnr", epochs=3, learning_rate=1).run
    values = figures(run, "psnr")
    assert values[4] > values[12]
    for which, step in (("best", 4), ("last", 12)):
        words = ("evaluate", str(run), "--data", str(toys.dataset), "--split", "val", "--which", which, "--json")
        code, out, _ = s1s2(*words, "--device", "cpu", cwd=tmp_path)
        assert code == 0
        rows = [
            row
            for row in json.loads(out)["rows"]
            if (row["run"], row["metric"], row["ground"], row["direction"]) == ("run", "psnr", "all", "both")
            and row["roi"] is row["band"] is None
        ]
        assert [row["value"] for row in rows] == pytest.approx([values[step]], rel=1e-6)


def test_translate_predicts_with_the_checkpoint_asked_for(
    toys: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, loaded = toys("run", max_steps=1).run, []

    def load(run: Path, which: Any = "best", device: str = "auto") -> object:
        loaded.append(which)
        return load_translator(run, which, device)

    monkeypatch.setattr("models.translate.translate.load_translator", load)
    for which in ("best", "last"):
        s1s2("translate", str(run), "missing.tif", "missing.tif", "--out", "out.tif", "--which", which, cwd=tmp_path)
    assert loaded == ["best", "last"]
