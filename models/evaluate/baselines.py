"""Predictions that need no training: what a network must beat to be worth its weights."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from s1s2pairs.errors import RunError

from ..task import Batch, Stack, Task

Baseline = Callable[[Batch, Task], Tensor]
"""From images and days to (batch, band, y, x) float32 of the target's bands, in the unit of the images; any number where the
references are invalid. The images are those of a batch, or as they were observed, under the same keys."""


def copy_t1(batch: Batch, task: Task) -> Tensor:
    """Return the earliest reference of the target's bands, unchanged."""
    return _shown(batch, task, _references("copy_t1", task)[0])


def mean_references(batch: Batch, task: Task) -> Tensor:
    """Return the mean of all references of the target's bands (a mean of dB for S1)."""
    references = _references("mean_references", task)
    return torch.stack([_shown(batch, task, stack) for stack in references]).mean(dim=0)


def linear_interpolation(batch: Batch, task: Task) -> Tensor:
    """Return the value at the target's time on the line through two references of the target's bands.

    A target outside the two reference times is extrapolated. References of the same time are averaged.
    """
    first, second = _references("linear_interpolation", task)
    days = batch["days"]
    span = days[:, second.date] - days[:, first.date]
    elapsed = days[:, task.target.date] - days[:, first.date]
    share = torch.where(span == 0, 0.5, elapsed / torch.where(span == 0, 1.0, span))[:, None, None, None]
    return torch.lerp(_shown(batch, task, first), _shown(batch, task, second), share)


def on_network_scale(baseline: Baseline, batch: Batch, task: Task) -> Tensor:
    """Return a baseline as a network could have predicted it: from scaled references, clipped to [-1, 1]."""
    return baseline(batch, task).clamp(-1.0, 1.0)


def as_observed(baseline: Baseline, batch: Batch, observed: Batch, task: Task) -> Tensor:
    """Return a baseline in dB or reflectance, from references as they were observed; reflectance is never below 0."""
    images = baseline({**batch, **observed}, task)
    return images.clamp(min=0.0) if task.target.sensor == "s2" else images


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
