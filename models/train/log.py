"""The log of a run: means of its losses, and where they are shown (a bar or plain lines, `metrics.csv`, TensorBoard, pictures).

On a GPU, reading a loss makes the CPU wait for every kernel queued so far. So losses stay on the device until they are logged.
"""

import csv
import io
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from s1s2pairs.errors import RunError
from s1s2pairs.files import write_whole

from ..data.samples import Sample
from ..runs.checkpoint import Position
from ..runs.folder import METRICS_FILE, SAMPLES, TENSORBOARD

_MOST_DIGITS: Final = 18
"""Of a step."""
COLUMNS: Final = ("step", "epoch", "split", "metric", "value")
PLAIN_LINE_EVERY_S: Final = 30.0
"""Least time between two plain lines within an epoch."""
PATCHES_NAMED = 8
"""Patches named in a message; the rest are counted."""


class LossMeter:
    """Means of the losses since the last time they were logged, and the first step that had one that is no number."""

    def __init__(self, samples: Sequence[Sample], device: torch.device, gather: Callable[[Tensor], Tensor]) -> None:
        """Start with nothing kept.

        Args:
            samples: What the sample numbers of batches mean.
            device: Where losses are.
            gather: Turns a (k,) tensor of this process into (process, k), the same in every process.
        """
        self._samples, self._device, self._gather = samples, device, gather
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._numbers: dict[int, Tensor] = {}
        self._first_bad = torch.full((), -1.0, dtype=torch.float64, device=device)

    def begin_step(self, step: int, numbers: Tensor) -> None:
        """Note which samples (batch,) a step uses."""
        self._numbers[step] = numbers.cpu()

    def add(self, step: int, name: str, loss: Tensor) -> None:
        """Keep one loss of a step, a scalar."""
        value = loss.detach().double()
        self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._counts[name] = self._counts.get(name, 0) + 1
        self._first_bad = torch.where((self._first_bad < 0) & ~torch.isfinite(value), float(step), self._first_bad)

    def check(self) -> None:
        """Stop if a loss so far was no number. Waits for the device; processes do not talk to each other.

        Raises:
            RunError: Names the step and its patches.
        """
        if self._first_bad.item() >= 0:
            self._stop(int(self._first_bad), [self._numbers[int(self._first_bad)]])

    def means(self) -> Mapping[str, float]:
        """Return the mean of each loss since the last call, over all processes, and begin anew.

        Raises:
            RunError: A loss was no number, in any process; all of them raise.
        """
        if not self._sums:
            return {}
        names = list(self._sums)
        own = [self._sums[name] / self._counts[name] for name in names]
        seen = self._gather(torch.stack([self._first_bad, *own])).cpu()  # (process, 1 + loss)
        if (seen[:, 0] >= 0).any():
            step = int(seen[:, 0][seen[:, 0] >= 0].min())
            everyone = self._gather(self._numbers[step].to(self._device)).cpu()  # (process, batch)
            self._stop(step, [numbers for numbers, first in zip(everyone, seen[:, 0], strict=True) if first == step])
        self._sums, self._counts, self._numbers = {}, {}, {}
        return dict(zip(names, seen[:, 1:].mean(dim=0).tolist(), strict=True))

    def _stop(self, step: int, numbers: Sequence[Tensor]) -> None:
        used = [self._samples[number] for number in torch.cat(list(numbers)).tolist()]
        named = ", ".join(f"{sample.patch_id} ({sample.direction})" for sample in used[:PATCHES_NAMED])
        more = f" and {len(used) - PATCHES_NAMED} more" if len(used) > PATCHES_NAMED else ""
        raise RunError(
            f"a loss is not a finite number at step {step + 1}; the batch's patches: {named}{more}; the checkpoints are "
            "from before it; look at these patches, lower --set learning_rate, or use --precision 32-true"
        )


class RunLog:
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
        (run / SAMPLES).mkdir(exist_ok=True)
        _drop_rows_after(run / METRICS_FILE, position.step)
        self._file = (run / METRICS_FILE).open("a", newline="", encoding="utf-8")
        self._csv = csv.writer(self._file)
        self._board = SummaryWriter(str(run / TENSORBOARD), purge_step=position.step + 1)
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

    def __enter__(self) -> Self:
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
        text = f"{samples_per_s:.3g} samples/s, {_named_values(parts)}"
        self._bar.update(
            self._task, completed=position.step, description=self._epoch_words(position.epoch), losses=text
        )
        if self._bar.disable and time.monotonic() - self._said_at > PLAIN_LINE_EVERY_S:
            self.say(f"{self._epoch_words(position.epoch)}, step {position.step}/{self._total_steps}: {text}")

    def validated(self, position: Position, values: Mapping[str, float]) -> None:
        """Log an epoch's validation; `position` is where the epoch ended."""
        self._write("val", position, values)
        self.say(
            f"{self._epoch_words(position.epoch)}, step {position.step}/{self._total_steps}: val {_named_values(values)}"
        )

    def picture(self, name: str, position: Position, png: bytes) -> None:
        """Keep a sample's picture, as `samples/<epoch>_<name>.png` and in TensorBoard."""
        write_whole(self._run / SAMPLES / f"epoch{position.epoch + 1:04d}_{name}.png", png)
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


def _named_values(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def _drop_rows_after(path: Path, step: int) -> None:
    """Keep the head and the rows up to `step`.

    Raises:
        RunError: The file is no table of text.
    """
    kept = []
    if path.is_file():
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.reader(file) if len(row) == len(COLUMNS)]
        except (UnicodeDecodeError, csv.Error) as error:
            raise RunError(f"{path} is damaged ({error}); move it away to go on without the rows so far") from error
        kept = [row for row in rows if row[0].isdecimal() and len(row[0]) <= _MOST_DIGITS]
    text = io.StringIO()
    csv.writer(text).writerows([COLUMNS, *(row for row in kept if int(row[0]) <= step)])
    write_whole(path, text.getvalue().encode())
