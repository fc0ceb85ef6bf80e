"""What a run shows while it trains: a progress bar or plain lines, `metrics.csv`, TensorBoard, sample pictures."""

import csv
import io
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from ..runs.checkpoint import Position

METRICS_FILE: Final = "metrics.csv"
COLUMNS: Final = ("step", "epoch", "split", "metric", "value")
PLAIN_LINE_EVERY_S: Final = 30.0
"""Least time between two plain lines within an epoch."""


class Monitor:
    """Writes what happens in a run. Only the first of several processes has one."""

    def __init__(self, run: Path, *, position: Position, total_steps: int, epochs: int, quiet: bool) -> None:
        """Open the run's logs; what an interrupted run wrote after `position` is taken out of `metrics.csv`.

        Args:
            run: Folder of the run.
            position: Where the run begins or goes on.
            total_steps: Steps of the whole run.
            epochs: Epochs of the whole run.
            quiet: Show neither bar nor lines.
        """
        self._run, self._epochs, self._quiet = run, epochs, quiet
        self._total_steps = total_steps
        (run / "samples").mkdir(exist_ok=True)
        _cut(run / METRICS_FILE, position.step)
        self._file = (run / METRICS_FILE).open("a", newline="", encoding="utf-8")
        self._csv = csv.writer(self._file)
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=position.step + 1)
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=total_steps, completed=position.step, losses="")
        self._said_at = time.monotonic()

    def __enter__(self) -> "Monitor":
        """Start the bar."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close everything, whatever happened."""
        self._bar.stop()
        self._file.close()
        self._board.close()

    def trained(self, position: Position, losses: Mapping[str, float], samples_per_s: float) -> None:
        """Log the mean losses of the steps since the last call."""
        values = {**losses, "samples_per_s": samples_per_s}
        self._write("train", position, values)
        parts = {name: value for name, value in losses.items() if not name.endswith("_loss")} or losses
        text = f"{samples_per_s:.3g} samples/s, {_words(parts)}"
        self._bar.update(
            self._task, completed=position.step, description=self._epoch_words(position.epoch), losses=text
        )
        if self._bar.disable and time.monotonic() - self._said_at > PLAIN_LINE_EVERY_S:
            self.say(f"{self._epoch_words(position.epoch)}, step {position.step}/{self._total_steps}: {text}")

    def validated(self, position: Position, values: Mapping[str, float]) -> None:
        """Log an epoch's validation; `position` is where the epoch ended."""
        self._write("val", position, values)
        self.say(f"{self._epoch_words(position.epoch)}, step {position.step}/{self._total_steps}: val {_words(values)}")

    def picture(self, name: str, position: Position, png: bytes) -> None:
        """Keep a sample's picture, as `samples/<epoch>_<name>.png` and in TensorBoard."""
        (self._run / "samples" / f"epoch{position.epoch + 1:04d}_{name}.png").write_bytes(png)
        pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        self._board.add_image(name, pixels, position.step, dataformats="HWC")

    def _write(self, split: str, position: Position, values: Mapping[str, float]) -> None:
        for metric, value in values.items():
            self._csv.writerow((position.step, position.epoch + 1, split, metric, f"{value:.7g}"))
            self._board.add_scalar(f"{split}/{metric}", value, position.step)
        self._file.flush()

    def say(self, line: str) -> None:
        """Show a line: above the bar on a terminal, else by itself."""
        self._said_at = time.monotonic()
        if not self._quiet:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _epoch_words(self, epoch: int) -> str:
        return f"epoch {epoch + 1}/{self._epochs}"


def _words(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def _cut(path: Path, step: int) -> None:
    """Keep the head and the rows up to `step`."""
    kept = []
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            kept = [row for row in csv.reader(file) if len(row) == len(COLUMNS) and row[0].isdecimal()]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *(row for row in kept if int(row[0]) <= step)])
