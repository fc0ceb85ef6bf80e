"""Every long command, killed at any moment and started again, ends as if nothing had happened.

The full counts take about an hour on two cores: `make torture`.
"""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.harness import DEADLINE_S, Crash, crash, start

FEW = {"build": 2, "train": 1, "simulate": 1, "evaluate": 1, "translate": 1}
MANY = {"build": 100, "train": 40, "simulate": 20, "evaluate": 20, "translate": 20}


def check(command: Crash, folder: Path, times: int) -> None:
    figures = crash(command, folder, times=times)
    print(figures)  # noqa: T201 - what `make torture` is for
    assert not figures.faults, "\n".join([str(figures), *figures.faults])


@pytest.mark.parametrize("name", FEW)
def test_killed_now_and_then(make: Callable[[str], Crash], tmp_path: Path, name: str) -> None:
    check(make(name), tmp_path / "here", FEW[name])


def test_a_run_killed_before_its_first_checkpoint_starts_again(make: Callable[[str], Crash], tmp_path: Path) -> None:
    train, here = make("train"), tmp_path / "here"
    here.mkdir()
    train.prepare(here)
    process = start(train.words, here, stalls_at=1)
    deadline = time.monotonic() + DEADLINE_S
    while not (here / "run/metrics.csv").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the run did not begin")
        time.sleep(0.02)
    process.kill()
    process.communicate()
    again = start(train.words, here)
    said = again.communicate(timeout=DEADLINE_S)[1]
    assert again.returncode == 0, said


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", MANY)
def test_killed_over_and_over(make: Callable[[str], Crash], tmp_path: Path, name: str) -> None:
    check(make(name), tmp_path / "here", MANY[name])
