"""Commands that cannot write: one message, nothing half-written under a final name, and afterwards they go on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.harness import DEADLINE_S, Crash, content, start

LIMITS = [
    pytest.param("build", 2500, id="build"),
    pytest.param("translate", 20_000, id="translate"),
    pytest.param("simulate", 3_000, id="simulate", marks=pytest.mark.torture),
    pytest.param("evaluate", 20_000, id="evaluate", marks=pytest.mark.torture),
    pytest.param("train", 3_000, id="train", marks=pytest.mark.torture),
]
"""Bytes that some files of the command stay below, and others do not."""


@pytest.mark.parametrize(("name", "most_bytes"), LIMITS)
def test_a_full_disk_is_one_message(make: Callable[[str], Crash], tmp_path: Path, name: str, most_bytes: int) -> None:
    command, here = make(name), tmp_path / "here"
    here.mkdir()
    command.prepare(here)
    inputs = content(here)
    full = start(command.words, here, most_bytes=most_bytes)
    _, err = full.communicate(timeout=DEADLINE_S)
    assert full.returncode == 2, err
    messages = [line for line in err.splitlines() if line.startswith("s1s2: ")]
    assert len(messages) == 1, err
    assert "Traceback" not in err
    assert "cannot be written" in err
    left = content(here)
    again = start(command.words if command.again is None else command.again(here), here)
    assert again.communicate(timeout=DEADLINE_S)[1] == ""
    assert again.returncode == 0
    whole = content(here)
    early = {file: sha for file, sha in left.items() if file not in inputs and not file.startswith(("notes", "out/."))}
    assert early.items() <= whole.items(), "what was there had its final bytes"
    assert not [file for file in whole if file.endswith(".part")]
