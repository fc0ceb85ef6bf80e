"""Several processes say a failure once: what all share comes out of the first, what one has alone comes out of it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from models import processes

ROOT = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def complaints(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith("s1s2: ")]


def test_what_all_processes_of_torchrun_find_wrong_is_said_once(tmp_path: Path) -> None:
    script = tmp_path / "s1s2.py"
    script.write_text("import cli\ncli.main()\n")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(
        [*command, "train", "tsgam"], check=False, capture_output=True, text=True, timeout=240, env=environment(), cwd=tmp_path
    )  # fmt: skip
    assert done.returncode != 0
    assert len(complaints(done.stderr)) == 1
    assert "Did you mean tsgan" in complaints(done.stderr)[0]


def test_what_all_processes_of_a_run_meet_is_said_once(tmp_path: Path, make_dataset: Callable[..., Path]) -> None:
    root = make_dataset(tmp_path / "data", size=128, splits=("train",), rois=1)
    script = tmp_path / "s1s2.py"
    script.write_text("import cli\ncli.main()\n")
    settings = ("width=2", "batch_size=1", "workers=0", "pictures=0", "learning_rate=1e30", "log_every_steps=1")
    words = ("train", "tsgan", "--data", root, "--out", tmp_path / "run", "--device", "cpu", "--devices", "2")
    done = subprocess.run(
        [sys.executable, script, *words, "--set", *settings],
        check=False, capture_output=True, text=True, timeout=240, env=environment(), cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert len(complaints(done.stderr)) == 1, done.stderr
    assert "loss is not a finite number" in complaints(done.stderr)[0]
    assert done.stderr.count("has no val split: checkpoints") == 1, "warnings are said once too"


def test_a_failure_of_one_process_alone_comes_out_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(processes.time, "sleep", waited.append)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(processes.logging, "disable", lambda level: None)
    with pytest.raises(ValueError, match="mine"), processes.one_voice():
        raise ValueError("mine")
    assert waited == [processes.WAIT_S]


def test_the_first_process_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes.time, "sleep", pytest.fail)
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(ValueError, match="at once"), processes.one_voice():
        raise ValueError("at once")
