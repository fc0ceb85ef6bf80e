"""A network that trains unpaired, and whose loss depends on the step before, on the progress and on the incidence angle."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.runs.tensors import file_sha256
from models.train.loop import train
from s1s2pairs.errors import RunError
from tests.models.train.test_resume import on_two_processes
from tests.refusals import refuses

pytestmark = pytest.mark.usefixtures("toy_networks")
Runner = Callable[..., Path]


@pytest.fixture
def toy(tiny_dataset: Path, tmp_path: Path) -> Runner:
    """Train `toy_unpaired` (8 samples, 2 epochs) into `tmp_path/<name>`, or go on with it."""

    def run(name: str, *, resume: bool = False, **settings: object) -> Path:
        folder = tmp_path / name
        given = {"workers": "0", "pictures": "0"} | {key: str(value) for key, value in settings.items()}
        out, again = (None, folder) if resume else (folder, None)
        train("toy_unpaired", tiny_dataset, out=out, resume=again, settings=given, device="cpu", quiet=True)
        return folder

    return run


def tensors(run: Path, kind: str = "weights") -> dict[str, Tensor]:
    return load_file(next((run / "checkpoints/last").glob(f"{kind}-*.safetensors")))


def equal(one: Path, other: Path) -> dict[str, bool]:
    """Return whether each weight of two runs is the same."""
    second = tensors(other)
    return {key: torch.equal(value, second[key]) for key, value in tensors(one).items()}


def test_resumed_equals_undisturbed(toy: Runner) -> None:
    whole = toy("whole", batch_size=1)
    parts = toy("parts", batch_size=1, max_steps=3)
    toy("parts", resume=True, max_steps="none")
    assert all(equal(whole, parts).values())


def test_what_it_remembers_matters_and_is_guarded(toy: Runner) -> None:
    whole = toy("whole", batch_size=1)
    parts = toy("parts", batch_size=1, max_steps=3)
    file = next(parts.glob("checkpoints/last/state-*"))
    save_file({key: value + 1 for key, value in load_file(file).items()}, file)
    with refuses(RunError, file, "SHA-256"):
        toy("parts", resume=True, max_steps="none")
    said = parts / "checkpoints/last/checkpoint.json"
    saved = json.loads(said.read_text())
    saved["sha256"]["state"] = file_sha256(file)
    said.write_text(json.dumps(saved))
    toy("parts", resume=True, max_steps="none")
    assert not all(equal(whole, parts).values())


def test_two_processes_keep_two_memories(tiny_dataset: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    on_two_processes(tiny_dataset, whole, "batch_size=1", "max_steps=4", network="toy_unpaired")
    on_two_processes(tiny_dataset, parts, "batch_size=1", "max_steps=2", network="toy_unpaired")
    memory = tensors(parts, "state")["before"]
    assert len(memory) == 2
    assert not torch.equal(memory[0], memory[1])
    on_two_processes(tiny_dataset, f"--resume={parts}", "max_steps=4", network="toy_unpaired")
    assert all(equal(whole, parts).values())


def test_a_part_may_stop_learning(toy: Runner) -> None:
    half, whole = toy("half", max_steps=4), toy("whole")
    same = equal(half, whole)
    assert same == {key: key.startswith("back.") for key in same}
