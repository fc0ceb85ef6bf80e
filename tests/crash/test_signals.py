"""Ctrl-C and SIGTERM end every long command: one message, the exit code shells expect, no process left."""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from models.runs.checkpoint import JSON_NAME
from models.runs.record import read_record
from s1s2pairs import stopping
from tests.crash.harness import DEADLINE_S, Crash, start
from tests.s1s2pairs.fake_source import inject

SOON_S = 60.0
MANY_STEPS = ("epochs=5", "checkpoint_every_steps=1", "workers=2", "pictures=0")


def stopped(
    words: Sequence[str],
    folder: Path,
    number: signal.Signals,
    *,
    when: Callable[[], bool],
    to_all: bool = False,
    stalls_at: int | None = None,
) -> str:
    """Start a command, send a signal once it is at work, and return what it says on the way out."""
    process = start(words, folder, stalls_at=stalls_at)
    wait_for(lambda: when() or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    (os.killpg if to_all else os.kill)(process.pid, number)
    out, err = process.communicate(timeout=SOON_S)
    assert process.returncode == 128 + number, err
    assert out == ""
    assert err.startswith("s1s2: stopped; ")
    assert err.count("\n") == 1, err
    wait_for(lambda: not alive(process.pid))
    return err


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(group: int) -> list[str]:
    """Return the processes of a group that are not zombies."""
    listed = subprocess.run(["ps", "-e", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()]
    return [" ".join(row) for row in rows if row[0] == str(group) and not row[1].startswith("Z")]


def filled(command: Crash, folder: Path) -> Crash:
    folder.mkdir()
    command.prepare(folder)
    return command


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_build_ends_although_its_source_does_not_answer(
    make: Callable[[str], Crash], tmp_path: Path, number: signal.Signals
) -> None:
    here, notes = tmp_path / "here", tmp_path / "here/notes"
    build = filled(make("build"), here)
    inject(notes, ("mean_sar", "south", "wait"))
    log = notes / "calls.log"
    said = stopped(build.words, here, number, when=lambda: log.exists() and "mean_sar south" in log.read_text())
    assert stopping.GO_ON["build"] in said
    inject(notes)
    again = start(build.words, here)
    assert again.communicate()[1] == ""
    assert again.returncode == 0
    assert not [path for path in here.rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize(("number", "to_all"), [(signal.SIGTERM, False), (signal.SIGINT, True)])
def test_a_simulation_takes_its_processes_with_it(
    make: Callable[[str], Crash], tmp_path: Path, number: signal.Signals, to_all: bool
) -> None:
    here = tmp_path / "here"
    words = filled(make("simulate"), here).words
    at_work = lambda: any(here.glob("world/*/*/*.tif"))  # noqa: E731
    assert stopping.GO_ON["simulate"] in stopped(words, here, number, when=at_work, to_all=to_all)
    assert not (here / "world/catalog.json").exists()


def test_training_says_the_very_command_that_goes_on(make: Callable[[str], Crash], tmp_path: Path) -> None:
    here = tmp_path / "here"
    train = filled(make("train"), here)
    words = [*train.words[: train.words.index("--set")], "--set", *MANY_STEPS]
    checkpoint = here / "run/checkpoints/last" / JSON_NAME
    said = stopped(words, here, signal.SIGINT, when=checkpoint.exists, to_all=True, stalls_at=3)
    program, *command = shlex.split(said.partition("go on with: ")[2])
    assert [program, *command] == ["s1s2", "train", "toy", "--resume", "run", "--device", "cpu"]
    more = start([*command, "--quiet"], here)
    assert more.communicate(timeout=DEADLINE_S)[1] == ""
    assert more.returncode == 0
    assert read_record(here / "run").status == "finished"


def test_training_without_a_checkpoint_says_so(make: Callable[[str], Crash], tmp_path: Path) -> None:
    here = tmp_path / "here"
    train = filled(make("train"), here)
    words = [*train.words[: train.words.index("--set")], "--set", "workers=0"]
    said = stopped(words, here, signal.SIGTERM, when=(here / "run/metrics.csv").exists, stalls_at=1)
    assert "no checkpoint yet" in said
    assert "s1s2 train toy --resume run" in said


@pytest.mark.parametrize(
    ("name", "made", "number"),
    [("evaluate", "data/.cache/*", signal.SIGTERM), ("translate", "out/.*/rows.tif", signal.SIGINT)],
)
def test_what_is_not_finished_is_not_there(
    make: Callable[[str], Crash], tmp_path: Path, name: str, made: str, number: signal.Signals
) -> None:
    here = tmp_path / "here"
    words = filled(make(name), here).words
    assert stopping.GO_ON[name] in stopped(words, here, number, when=lambda: any(here.glob(made)))
    assert not list(here.glob("out/*")) + list(here.glob("out/.*"))
    assert not list(here.rglob("evaluation*"))
