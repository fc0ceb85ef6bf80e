"""Every long command, killed at any moment and started again, ends as if nothing had happened.

The full counts take about half an hour on two cores: `make torture`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models import networks
from tests.crash import commands
from tests.crash.harness import ROOT, Crash, crash

FEW = {"build": 2, "train": 1, "simulate": 1, "evaluate": 1, "translate": 1}
MANY = {"build": 100, "train": 40, "simulate": 20, "evaluate": 20, "translate": 20}


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], Crash]]:
    """Return a command by its name."""
    monkeypatch.setattr(networks, "__path__", [*networks.__path__, str(ROOT / "tests/models/toy")])
    made = {
        "build": commands.build,
        "simulate": commands.simulate,
        "train": lambda: commands.train(tmp_path / "parts"),
        "evaluate": lambda: commands.evaluate(tmp_path / "parts"),
        "translate": lambda: commands.translate(tmp_path / "parts"),
    }
    yield lambda name: made[name]()


def check(command: Crash, folder: Path, times: int) -> None:
    figures = crash(command, folder, times=times)
    print(figures)
    assert not figures.faults, "\n".join([str(figures), *figures.faults])


@pytest.mark.parametrize("name", FEW)
def test_killed_now_and_then(make: Callable[[str], Crash], tmp_path: Path, name: str) -> None:
    check(make(name), tmp_path / "here", FEW[name])


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", MANY)
def test_killed_over_and_over(make: Callable[[str], Crash], tmp_path: Path, name: str) -> None:
    check(make(name), tmp_path / "here", MANY[name])
