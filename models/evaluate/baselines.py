"""Predictions that need no training: what a network must beat to be worth its weights."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from s1s2pairs.errors import RunError

from ..task import Batch, Stack, Task

Baseline = Callable[[Batch, Task], Tensor]
"""From a batch and its task to the prediction (batch, band, y, x) float32, [-1, 1], 0 where the references are invalid."""


def copy_t1(batch: Batch, task: Task) -> Tensor:
    """Return the earliest reference of the target's bands, unchanged."""
    return _shown(batch, task, _references("copy_t1", task)[0])


def mean_references(batch: Batch, task: Task) -> Tensor:
    """Return the mean of all references of the target's bands, on the network's scale (so a mean of dB for S1)."""
    references = _references("mean_references", task)
    return torch.stack([_shown(batch, task, stack) for stack in references]).mean(dim=0)


def linear_interpolation(batch: Batch, task: Task) -> Tensor:
    """Return the value at the target's time on the line through two references of the target's bands.

    A target outside the two reference times is extrapolated and clipped to [-1, 1]. References of the same time are
    averaged.
    """
    first, second = _references("linear_interpolation", task)
    days = batch["days"]
    span = days[:, second.date] - days[:, first.date]
    elapsed = days[:, task.target.date] - days[:, first.date]
    share = torch.where(span == 0, 0.5, elapsed / torch.where(span == 0, 1.0, span))[:, None, None, None]
    return torch.lerp(_shown(batch, task, first), _shown(batch, task, second), share).clamp(-1.0, 1.0)


BASELINES: Final[dict[str, Baseline]] = {
    "copy_t1": copy_t1,
    "mean_references": mean_references,
    "linear_interpolation": linear_interpolation,
}


def why_unusable(name: str, task: Task) -> str | None:
    """Return why this baseline cannot be used with the task, or None where it can."""
    if name not in BASELINES:
        raise RunError(f"there is no baseline {name!r}: choose from {', '.join(BASELINES)}")
    needed = 2 if name == "linear_interpolation" else 1
    usable = len(task.earlier_targets)
    if usable == needed or (usable > needed and name != "linear_interpolation"):
        return None
    many = "two references" if needed == 2 else "a reference"
    wanted = f"{task.target.sensor} {', '.join(task.target.bands)}"
    return f"{name} needs {many} with the target's bands ({wanted}); the task {task.name} has {usable}"


def _shown(batch: Batch, task: Task, stack: Stack) -> Tensor:
    return stack.pick(batch[stack.key], task.target.bands)


def _references(name: str, task: Task) -> tuple[Stack, ...]:
    reason = why_unusable(name, task)
    if reason is not None:
        raise RunError(reason)
    return task.earlier_targets
