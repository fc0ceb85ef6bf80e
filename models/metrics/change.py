"""Where the ground changed between reference and target: the soft map and the hard mask that splits metrics.

Change is what the radar saw: |S1 at the target's date - S1 at the reference's date|, both on [0, 1] (the fixed physical range),
averaged over the polarisations seen at both dates. A task without radar at both dates takes its target's sensor instead: the
bands of the target against the same bands at the reference date. A task with neither (a translation without a reference)
has no change map.

The hard mask: difference above 0.09 (3.15 dB on the range -25 .. 10 dB), binary closing with the 3 x 3 cross, connected areas
(along rows and columns, not diagonally) under 40 px removed. These are the steps of the TSGAN authors; two departures: the
range is fixed, not each patch's minimum and maximum, so that 0.09 means the same everywhere, and the unchanged ground
is the true complement.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from ..scaling import change_map
from ..task import Batch, Sensor, Stack, Task

THRESHOLD = 0.09
MIN_PIXELS = 40


def change_stacks(task: Task) -> tuple[Stack, Stack, tuple[str, ...]] | None:
    """Return which stacks show the change: reference date, target date, and their common bands; None where no two do."""
    sensors: tuple[Sensor, Sensor] = ("s1", task.target.sensor)
    for sensor in sensors:
        alike = [stack for stack in (task.target, *task.inputs) if stack.sensor == sensor]
        earlier = sorted((stack for stack in alike if stack.date != task.target.date), key=lambda stack: stack.date)
        for now in (stack for stack in alike if stack.date == task.target.date):
            for before in earlier:
                common = tuple(band for band in now.bands if band in before.bands)
                if common:
                    return before, now, common
    return None


def soft_change(batch: Batch, task: Task) -> Tensor | None:
    """Return how much each pixel changed.

    Args:
        batch: A batch of the task, stacks on [-1, 1].
        task: Says which stacks to compare (see `change_stacks`).

    Returns:
        (batch, 1, y, x) float in [0, 1], 0 where invalid; None where the task has no pair of dates to compare.
    """
    pair = change_stacks(task)
    if pair is None:
        return None
    reference, target, bands = pair
    images = target.pick(batch[target.key], bands), reference.pick(batch[reference.key], bands)
    difference = change_map(*images).abs().mean(dim=1, keepdim=True)
    return torch.where(batch["valid"], difference, 0.0)


def hard_change(soft: Tensor, valid: Tensor) -> Tensor:
    """Return the mask of changed ground: thresholded, closed, small areas removed.

    Connected areas are counted on the CPU: one small mask a patch, independent of the prediction.

    Args:
        soft: (batch, 1, y, x) float in [0, 1] from `soft_change`.
        valid: (batch, 1, y, x) bool.

    Returns:
        (batch, 1, y, x) bool on the device of `soft`; False where invalid.
    """
    candidates = _close_with_cross((soft > THRESHOLD) & valid) & valid
    kept = np.stack([_without_small_areas(plane) for plane in candidates[:, 0].cpu().numpy()])
    return torch.from_numpy(kept).unsqueeze(1).to(soft.device)


def _close_with_cross(mask: Tensor) -> Tensor:
    """Close a (batch, 1, y, x) mask with the 3 x 3 cross; what lies outside the image has no say."""
    dilated = _neighbours(mask, outside=False).any(dim=0)
    return _neighbours(dilated, outside=True).all(dim=0)


def _neighbours(mask: Tensor, *, outside: bool) -> Tensor:
    """Stack a mask with its four shifts by one pixel: (5, batch, 1, y, x)."""
    padded = functional.pad(mask, (1, 1, 1, 1), value=outside)
    height, width = mask.shape[-2:]
    starts = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
    return torch.stack([padded[..., top : top + height, left : left + width] for top, left in starts])


def _without_small_areas(plane: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Drop the areas of a (y, x) bool mask that hold fewer than `MIN_PIXELS` pixels."""
    areas, _ = ndimage.label(plane)
    sizes = np.bincount(areas.ravel())
    keep = sizes >= MIN_PIXELS
    keep[0] = False  # label 0 is the ground between the areas
    large: NDArray[np.bool_] = keep[areas]
    return large
