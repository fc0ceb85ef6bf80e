"""Gives spoilt inputs to a reader, one by one, and keeps what it did wrong: tracebacks, hangs, memory."""

import contextlib
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from s1s2pairs.errors import S1S2Error
from s1s2pairs.untrusted import printable
from tests.fuzz.mutate import Mutator

MOST_S: Final = 5.0
"""Of computing, for one input: time on the clock says more about who else uses the machine."""
MOST_WAITING_S: Final = 120.0
"""On the clock, for one input: long, as a busy machine lets others go first."""
MOST_BYTES: Final = 512 << 20
"""By which the memory of the process may grow for one input."""
ADDRESS_SPACE: Final = 8 << 30
"""Beyond what is in use: more than that is an error of memory, not the end of the machine."""

Reader = Callable[[str, bytes], object]
"""Reads one part (a file) with a content, all others being sound."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One file that is spoilt."""

    sound: bytes
    mutator: Mutator
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Something that reads what others have written."""

    name: str
    parts: Mapping[str, Part]
    read: Reader


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """An input that was neither accepted nor refused with an error of ours."""

    part: str
    content: bytes
    problem: str
    """What happened; alike for inputs of one fault."""
    detail: str = ""


@dataclass(kw_only=True)
class Tally:
    """What came of many inputs."""

    target: str
    inputs: int = 0
    accepted: int = 0
    worst_s: float = 0.0
    worst_bytes: int = 0
    findings: dict[str, Finding] = field(default_factory=dict)
    """By problem: the shortest input."""

    def add(self, outcome: "Outcome", part: str, content: bytes) -> None:
        """Count one input."""
        self.inputs += 1
        self.accepted += outcome.accepted
        self.worst_s = max(self.worst_s, outcome.seconds)
        self.worst_bytes = max(self.worst_bytes, outcome.grown_bytes)
        known = self.findings.get(outcome.problem)
        if outcome.problem and (known is None or len(content) < len(known.content)):
            self.findings[outcome.problem] = Finding(
                part=part, content=content, problem=outcome.problem, detail=outcome.detail
            )

    def __str__(self) -> str:
        """Return a line for people."""
        return (
            f"{self.target}: {self.inputs:,} inputs, {len(self.findings)} tracebacks, {self.accepted:,} accepted, "
            f"worst {self.worst_s:.1f} s, worst memory +{self.worst_bytes / 2**20:.0f} MiB"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of one input."""

    accepted: bool
    seconds: float
    grown_bytes: int
    problem: str = ""
    detail: str = ""


class TooSlow(BaseException):
    """Time is up; no `except Exception` takes it."""


def attempt(read: Reader, part: str, content: bytes) -> Outcome:
    """Read one input under a watch; returns when C code does, so a process outside must watch for hangs too."""
    start, before = time.process_time(), _reset_peak()
    accepted, problem, detail = False, "", ""
    try:
        with _alarm(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(part, content)
        accepted = True
    except S1S2Error as error:
        detail = printable(str(error))
    except TooSlow:
        problem, detail = f"hang in {_where(sys.exc_info()[2])}", traceback.format_exc()
    except Exception as error:
        problem = f"{type(error).__name__} in {_where(error.__traceback__)}"
        detail = traceback.format_exc()[-4000:]
    seconds, grown = time.process_time() - start, max(0, _peak() - before)
    if not problem and seconds > MOST_S:
        problem = f"hang of {part}"
    if not problem and grown > MOST_BYTES:
        problem = f"memory grows for {part}"
    return Outcome(accepted=accepted, seconds=seconds, grown_bytes=grown, problem=problem, detail=detail)


def run(
    target: Target, inputs: int, *, seed: int, note: Path | None = None, done: int = 0, tally: Tally | None = None
) -> Tally:
    """Give a target spoilt inputs.

    Args:
        target: Who reads.
        inputs: How many in all.
        seed: Of the inputs; input n of a seed is always the same.
        note: File that holds, while an input is read, its number, part and content, for a process that watches.
        done: Number of the first.
        tally: What came of those before.
    """
    tally = tally or Tally(target=target.name)
    names, weights = list(target.parts), [part.weight for part in target.parts.values()]
    for number in range(done, inputs):
        rng = random.Random(f"{target.name} {seed} {number}")
        part = rng.choices(names, weights)[0]
        content = target.parts[part].mutator(rng, target.parts[part].sound)
        if note is not None:
            note.write_bytes(f"{number} {part}\n".encode() + content)
        tally.add(attempt(target.read, part, content), part, content)
    return tally


@contextlib.contextmanager
def bounded_memory(more: int = ADDRESS_SPACE) -> Iterator[None]:
    """Let this process take but so much more address space than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    """Break off what computes too long, or waits too long."""

    def ring(*_: object) -> None:
        raise TooSlow

    timers = {signal.SIGPROF: (signal.ITIMER_PROF, MOST_S), signal.SIGALRM: (signal.ITIMER_REAL, MOST_WAITING_S)}
    before = {number: (signal.signal(number, ring), signal.setitimer(*timer)) for number, timer in timers.items()}
    try:
        yield
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            handler, others = before[number]  # of pytest-timeout
            signal.signal(number, handler)
            signal.setitimer(timer, *others)


def _where(trace: object) -> str:
    """Return the last line of ours in a traceback."""
    ours = [f for f in traceback.extract_tb(trace) if "/s1s2pairs/" in f.filename or "/models/" in f.filename]  # type: ignore[arg-type]
    ours = [frame for frame in ours if "site-packages" not in frame.filename and "/tests/" not in frame.filename]
    if not ours:
        return "the harness"
    return f"{Path(ours[-1].filename).parent.name}/{Path(ours[-1].filename).name}:{ours[-1].name}"


def _reset_peak() -> int:
    """Begin to measure the peak of resident memory anew; return what is resident now, bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM")
