"""How long work shows itself: a bar on a terminal, plain lines elsewhere, or nothing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichBar

from .untrusted import printable

LINE_EVERY_S: Final = 5.0


class Progress(Protocol):
    """Told what is going on; one stage at a time."""

    def begin(self, stage: str, total: int) -> None:
        """A stage of `total` steps begins."""

    def step(self, what: str = "", *, steps: int = 1) -> None:
        """One step is done, or several."""

    def end(self) -> None:
        """The stage is over, finished or not."""


class Silence:
    """Shows nothing."""

    def begin(self, stage: str, total: int) -> None:
        """Do nothing."""

    def step(self, what: str = "", *, steps: int = 1) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


class Bar:
    """A bar with counts and the time left, for terminals."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: RichBar | None = None
        self._task = TaskID(0)
        self._total = 0

    def begin(self, stage: str, total: int) -> None:
        """Show the bar; until the first step it moves to and fro, as nobody knows how long that takes."""
        self._bar = RichBar(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[what]}", markup=True),
            console=self._console,
        )
        self._total = total
        self._task = self._bar.add_task(stage, total=None, what=f"{total} to do")
        self._bar.start()

    def step(self, what: str = "", *, steps: int = 1) -> None:
        """Move it on."""
        if self._bar is not None:
            self._bar.update(self._task, total=self._total, advance=steps, what=escape(printable(what)))

    def end(self) -> None:
        """Leave it as it is."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class Lines:
    """A line every few seconds, and the last one of each stage: for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stage, self._total, self._done = "", 0, 0
        self._began = self._said = 0.0

    def begin(self, stage: str, total: int) -> None:
        """Say what begins."""
        self._stage, self._total, self._done = stage, total, 0
        self._began = self._said = time.monotonic()
        self._say(f"{stage}: {total} to do")

    def step(self, what: str = "", *, steps: int = 1) -> None:
        """Say how far it is, if the last line is old enough or this is the last step."""
        self._done += steps
        now = time.monotonic()
        if self._done < self._total and now - self._said < LINE_EVERY_S:
            return
        self._said = now
        left = (now - self._began) / self._done * (self._total - self._done)
        doing = f" {what}" if what else ""
        self._say(f"{self._stage}: {self._done}/{self._total}{doing}, about {left:.0f} s left")

    def end(self) -> None:
        """Say nothing more."""

    def _say(self, line: str) -> None:
        self._console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


@contextmanager
def stage(progress: Progress, name: str, total: int) -> Iterator[Progress]:
    """Begin a stage and end it with the block, however that ends."""
    progress.begin(name, total)
    try:
        yield progress
    finally:
        progress.end()


def make_progress(console: Console, *, quiet: bool = False) -> Progress:
    """Return what suits the console: a bar on a terminal, lines elsewhere, nothing when `quiet`."""
    if quiet:
        return Silence()
    return Bar(console) if console.is_terminal else Lines(console)
