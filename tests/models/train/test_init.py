"""A new run from another run's weights."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch

from models.runs.tensors import file_sha256
from s1s2pairs.errors import RunError
from tests.models.conftest import write_dataset
from tests.refusals import assert_names, refuses

from .helpers import Toy, assert_close, assert_same, figures, record, tensors


def in_one_step(toys: Toy, name: str, init: Path, **settings: object) -> Path:
    """Take one step that changes nothing, so that what a run started from can be seen."""
    return toys(name, init=init, learning_rate=1e-30, max_steps=1, **settings).run


@pytest.mark.parametrize("which", ["best", "last"])
def test_it_starts_from_the_weights_of_a_checkpoint(toys: Toy, which: str) -> None:
    """Of a run, from the best."""
    first = toys("first", epochs=4, learning_rate=1).run
    steps = {one: int(json.loads((first / "checkpoints" / one / "checkpoint.json").read_text())["position"]["step"])
             for one in ("best", "last")}  # fmt: skip
    assert steps["best"] < steps["last"]
    init = first if which == "best" else first / "checkpoints/last"
    run = in_one_step(toys, "run", init, seed=7)
    assert_same(tensors(run), tensors(first, which=which))
    file = next((first / "checkpoints" / which).glob("weights-*"))
    assert record(run)["init"] == {
        "checkpoint": str(first / "checkpoints" / which),
        "network": "toy",
        "step": steps[which],
        "file": "weights",
        "sha256": file_sha256(file),
    }
    assert record(first)["init"] is None


def test_it_trains_on_other_data_with_other_settings(toys: Toy, tmp_path: Path) -> None:
    first = toys("first", epochs=1).run
    other = write_dataset(tmp_path / "other", size=32, seed=5)
    run = toys("run", init=first, data=other, batch_size=1, optimizer="adamw", seed=3, crop=16).run
    assert record(run)["dataset"] == str(other)
    assert record(run)["result"]["steps"] == 16
    optimizer = json.loads((run / "checkpoints/last/checkpoint.json").read_text())["optimizers"]["generator"]
    assert optimizer["param_groups"][0]["weight_decay"] == 0
    assert not torch.equal(tensors(run)["generator.0.weight"], tensors(first)["generator.0.weight"])


def test_it_takes_the_average_of_a_run_that_keeps_one(toys: Toy) -> None:
    first = toys("first", ema=0.9, learning_rate=0.05).run
    run = in_one_step(toys, "run", first / "checkpoints/last", ema=0.5)
    assert_same(tensors(run), tensors(first, "average"))
    assert_close(tensors(run, "average"), tensors(first, "average"), atol=1e-7)
    assert record(run)["init"]["file"] == "average"
    assert record(run)["init"]["sha256"] == file_sha256(next((first / "checkpoints/last").glob("average-*")))


def test_resumed_equals_undisturbed_without_the_first_run(toys: Toy) -> None:
    first = toys("first", epochs=1).run
    whole = toys("whole", init=first).run
    part = toys("part", init=first, max_steps=3).run
    shutil.rmtree(first)
    toys("part", resume=part, max_steps="none")
    assert_same(tensors(part), tensors(whole))
    assert figures(part, "l1")[8] == figures(whole, "l1")[8]
    assert record(part)["init"] == record(whole)["init"]


class TestStoppedBeforeTheFirstCheckpoint:
    @pytest.fixture
    def killed(self, toys: Toy, monkeypatch: pytest.MonkeyPatch) -> Path:
        first = toys("first", epochs=1).run

        def die(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("models.runs.checkpoint._commit", die)
            with pytest.raises(KeyboardInterrupt):
                toys("killed", init=first)
        return toys.folder / "killed"

    @pytest.mark.parametrize("again", ["the same command", "--resume"])
    def test_it_starts_from_those_weights_again(self, toys: Toy, killed: Path, again: str) -> None:
        first = toys.folder / "first"
        whole = toys("whole", init=first).run
        if again == "--resume":
            toys("killed", resume=killed)
        else:
            toys("killed", init=first)
        assert_same(tensors(killed), tensors(whole))
        assert record(killed)["init"] == record(whole)["init"]

    def test_weights_that_have_changed_are_refused(self, toys: Toy, killed: Path) -> None:
        first = toys.folder / "first"
        toys("first", resume=first, epochs=2)
        with refuses(RunError, first / "checkpoints/best", 4, 8, "SHA-256"):
            toys("killed", resume=killed)
        with refuses(RunError, killed, "init", "--out"):
            toys("killed", init=first)


def test_another_scaling_or_task_is_said(toys: Toy, caplog: pytest.LogCaptureFixture) -> None:
    first = toys("first", epochs=1).run
    with caplog.at_level(logging.WARNING):
        toys("same", init=first, max_steps=1)
        assert caplog.text == ""
        toys("other", init=first, max_steps=1, s2_range="0,0.3", s2_bands="B2,B3")
    assert_names(
        caplog.text, first / "checkpoints/best", "sources", "s2_range", but_not=("references", "target", "s1_range")
    )


class TestRefusals:
    def test_weights_that_do_not_fit(self, toys: Toy, tmp_path: Path) -> None:
        first = toys("first", max_steps=1).run
        with refuses(RunError, first / "checkpoints/best", "discriminator.0.weight", "(5, 4, 4, 4)", "(4, 4, 4, 4)"):
            toys("run", init=first, width=5)
        with refuses(RunError, first / "checkpoints/best", "toy", "back.0.bias", "none of this name"):
            toys("run", network="toy_unpaired", init=first)
        assert not (tmp_path / "run").exists()

    def test_a_resumed_run(self, toys: Toy) -> None:
        first = toys("first", max_steps=1).run
        with refuses(RunError, "--init", "--resume"):
            toys("first", resume=first, init=first)

    def test_no_run(self, toys: Toy, tmp_path: Path) -> None:
        with refuses(RunError, tmp_path / "nothing", "s1s2 train"):
            toys("run", init=tmp_path / "nothing")
        (tmp_path / "weights.pt").touch()
        with refuses(RunError, tmp_path / "weights.pt", "safetensors"):
            toys("run", init=tmp_path / "weights.pt")
