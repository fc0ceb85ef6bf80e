"""The commands that are killed, stopped, or run out of space."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models import networks
from tests.crash import commands
from tests.crash.harness import ROOT, Crash


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Crash]:
    """Return a command by its name."""
    monkeypatch.setattr(networks, "__path__", [*networks.__path__, str(ROOT / "tests/models/toy")])
    made = {
        "build": commands.build,
        "simulate": commands.simulate,
        "train": lambda: commands.train(tmp_path / "parts"),
        "evaluate": lambda: commands.evaluate(tmp_path / "parts"),
        "translate": lambda: commands.translate(tmp_path / "parts"),
    }
    return lambda name: made[name]()
