"""Commands killed at moments spread over their whole life and started again, compared with undisturbed ones.

Every process runs in the same folder, filled anew each time, so that paths that are written down are equal too.
"""

import csv
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMAND = Path(__file__).parent / "command.py"
BEFORE_LIFE = 0.1
"""Part of the kills that come before the first file is written; the others spread evenly over the work."""
POLL_S = 0.002
DEADLINE_S = 120.0
TIMED_FOLDERS = ("tensorboard",)
"""Event files hold times, and have them in their names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Crash:
    """A command to be killed."""

    name: str
    words: Sequence[str]
    """Of the command, in a folder that `prepare` has filled."""
    prepare: Callable[[Path], None]
    """Fills the folder with the inputs."""
    again: Callable[[Path], Sequence[str]] | None = None
    """What is typed after a kill, in the folder as it was left, nothing if all is done; the same words if None."""
    made: Callable[[Path], frozenset[str]] = lambda _: frozenset()
    """What need not be fetched again after a kill."""
    fetched: Callable[[Path], list[str]] = lambda _: []
    """What has been fetched so far, in order."""


@dataclass(slots=True)
class Figures:
    """What became of the kills of one command."""

    name: str
    killed: int = 0
    equal: int = 0
    fetched_twice: int = 0
    temporaries: int = 0
    faults: list[str] = field(default_factory=list)
    """A line for each thing that is not as it should be."""

    def __str__(self) -> str:
        return (
            f"{self.name}: killed {self.killed}, restarted to equal bytes {self.equal}, "
            f"fetched twice {self.fetched_twice}, temporaries {self.temporaries}"
        )


def start(
    words: Sequence[str], folder: Path, *, most_bytes: int | None = None, stalls_at: int | None = None
) -> subprocess.Popen[str]:
    """Start a command as a process of its own, and the leader of its own group.

    Args:
        words: The command.
        folder: Where it runs.
        most_bytes: The size from which on it cannot write to a file, as if the disk were full.
        stalls_at: The step at which the toy network waits for its end.
    """

    def limit() -> None:
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    if stalls_at is not None:
        environment["TOY_STALLS_AT"] = str(stalls_at)
    return subprocess.Popen(
        [sys.executable, str(COMMAND), *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=limit,  # noqa: PLW1509 - there are no other threads here
    )


def content(folder: Path) -> dict[str, str]:
    """Return every path below a folder, folders included, with what must be equal of it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not set(TIMED_FOLDERS) & set(path.relative_to(folder).parts):
            found[name] = "a folder" if path.is_dir() else hashlib.sha256(_timeless(path)).hexdigest()
    return found


def _timeless(path: Path) -> bytes:
    """Return a file's bytes without those that say when, or how fast, something was done."""
    if path.name == "run.json":
        record = json.loads(path.read_bytes())
        for key in ("started_at", "resumed"):
            record.pop(key)
        record["result"].pop("at", None)
        return json.dumps(record).encode()
    if path.name == "metrics.csv":
        with path.open(newline="") as file:
            return repr([row for row in csv.reader(file) if row[3] != "samples_per_s"]).encode()
    return b"" if path.name == "calls.log" else path.read_bytes()


def crash(command: Crash, folder: Path, *, times: int, seed: int = 0) -> Figures:
    """Kill a command so many times, each in a folder of its own, and go on with it."""
    draw, figures = random.Random(seed), Figures(command.name)
    _fill(command, folder)
    before_life, alive = _undisturbed(command, folder)
    whole = content(folder)
    for number in range(times):
        moment = (number + draw.random()) / times
        while not _killed(command, folder, moment, before_life, alive):
            moment *= 0.8  # this time it was faster
        figures.killed += 1
        _go_on(command, folder, whole, figures, f"kill {number} at {moment:.3f} of its life")
    return figures


def _fill(command: Crash, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command.prepare(folder)


def _undisturbed(command: Crash, folder: Path) -> tuple[float, float]:
    """Run to the end; return the seconds until the first file is written, and from then on."""
    inputs, begun = _names(folder), time.monotonic()
    process = start(command.words, folder)
    first = _first_sign(process, folder, inputs)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, f"{command.name}: exit code {process.returncode}\n{out}\n{err}"
    return first - begun, time.monotonic() - first


def _killed(command: Crash, folder: Path, moment: float, before_life: float, alive: float) -> bool:
    """Start in a fresh folder and kill at a moment of the life, from 0 to 1; false if it ended before."""
    _fill(command, folder)
    inputs = _names(folder)
    process = start(command.words, folder)
    if moment < BEFORE_LIFE:
        time.sleep(before_life * moment / BEFORE_LIFE)
    else:
        _first_sign(process, folder, inputs)
        time.sleep(alive * (moment - BEFORE_LIFE) / (1 - BEFORE_LIFE))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=DEADLINE_S)
    return process.returncode == -signal.SIGKILL


def _go_on(command: Crash, folder: Path, whole: dict[str, str], figures: Figures, what: str) -> None:
    made, asked = command.made(folder), len(command.fetched(folder))
    words = command.words if command.again is None else command.again(folder)
    if words:
        process = start(words, folder)
        out, err = process.communicate(timeout=DEADLINE_S)
        if process.returncode != 0:
            figures.faults.append(f"{what}: {' '.join(words)}: exit code {process.returncode}\n{out}\n{err}")
            return
    found = content(folder)
    twice = made.intersection(command.fetched(folder)[asked:])
    left = found.keys() - whole.keys()
    different = [name for name in whole if found.get(name) != whole[name]]
    figures.equal += not different
    figures.fetched_twice += len(twice)
    figures.temporaries += len(left)
    for kind, names in (("not equal", different), ("fetched twice", sorted(twice)), ("left over", sorted(left))):
        if names:
            figures.faults.append(f"{what}: {kind}: {', '.join(names)}")


def _names(folder: Path) -> set[str]:
    while True:
        try:
            return {path.as_posix() for path in folder.rglob("*")}
        except FileNotFoundError:  # a folder went while it was listed
            continue


def _first_sign(process: subprocess.Popen[str], folder: Path, inputs: set[str]) -> float:
    """Wait for the first file that a process writes, or for its end, and return when it was."""
    deadline = time.monotonic() + DEADLINE_S
    while process.poll() is None and _names(folder) <= inputs:
        assert time.monotonic() < deadline
        time.sleep(POLL_S)
    return time.monotonic()
