"""One sample as a picture: what went in, what came out, what should have, and the error.

Drawn as a remote sensing person expects: radar grey in dB, optical in true colour, both stretched between the 2nd and 98th
percentile of what was observed in the sample, with one stretch for all dates and for the prediction, so that brightness
can be compared. The error has a fixed scale, so that pictures of different epochs and runs can be compared too.
"""

import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from .scaling import Scaling
from .task import Batch, Stack, Task

TRUE_COLOUR: Final = ("B4", "B3", "B2")
STRETCH_PERCENT: Final = (2.0, 98.0)
INVALID_GREY: Final = 0.85
"""Brightness of missing pixels."""
ERROR_LIMIT: Final = {"s1": 10.0, "s2": 0.1}
"""Ends of the error's colour scale: dB, reflectance."""
PANEL_INCHES: Final = 2.6
DPI: Final = 100

FloatArray = npt.NDArray[np.floating[Any]]


def draw_sample(batch: Batch, prediction: Tensor, *, row: int, task: Task, scaling: Scaling, title: str = "") -> bytes:
    """Draw sources, references, prediction, target and error of one sample side by side.

    Args:
        batch: The batch that holds the sample.
        prediction: (batch, band, y, x) float, [-1, 1] on the target stack's scale.
        row: Which sample of the batch.
        task: Says what the stacks are.
        scaling: Network values to physical ones.
        title: Written above.

    Returns:
        A PNG file.
    """
    images = {stack.key: _physical(batch[stack.key][row], stack, scaling) for stack in task.stacks}
    limits = {sensor: _limits([s for s in task.stacks if s.sensor == sensor], images) for sensor in ("s1", "s2")}
    target = task.target
    predicted = _physical(prediction[row], target, scaling, mask=False)
    valid = batch["valid"][row, 0].cpu().numpy()

    figure = Figure(figsize=(PANEL_INCHES * (len(task.stacks) + 2), PANEL_INCHES + 0.7), dpi=DPI, layout="constrained")
    axes = iter(np.atleast_1d(figure.subplots(1, len(task.stacks) + 2)))
    for stack in task.inputs:
        role = "source" if stack in task.sources else "reference"
        _draw_image(next(axes), images[stack.key], stack, limits[stack.sensor], f"{role}, {_date(stack)}")
    _draw_image(next(axes), predicted, target, limits[target.sensor], f"prediction, {_date(target)}")
    _draw_image(next(axes), images[target.key], target, limits[target.sensor], f"target, {_date(target)}")
    _draw_error(next(axes), predicted, images[target.key], valid, target)
    figure.suptitle(title, fontsize=9)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _date(stack: Stack) -> str:
    return f"{stack.sensor.upper()} T{stack.date + 1}"


def _physical(values: Tensor, stack: Stack, scaling: Scaling, *, mask: bool = True) -> FloatArray:
    """Return (band, y, x) in dB or reflectance; NaN where the loader found the stack missing, if `mask`.

    The loader sets all bands of a missing pixel to exactly 0, the middle of the range.
    """
    values = values.detach().float().cpu()
    physical = scaling.unscale(values, stack)
    if mask:
        physical = physical.masked_fill((values == 0).all(dim=0, keepdim=True), torch.nan)
    array: FloatArray = physical.numpy()
    return array


def _limits(stacks: Sequence[Stack], images: dict[str, FloatArray]) -> dict[str, tuple[float, float]]:
    """Return the stretch of each band, taken over all dates; S1 also has `VV-VH`, its second colour."""
    values: dict[str, list[FloatArray]] = {}
    for stack in stacks:
        for band, plane in _planes(images[stack.key], stack).items():
            values.setdefault(band, []).append(plane[np.isfinite(plane)])
    limits = {}
    for band, parts in values.items():
        every = np.concatenate(parts)
        low, high = np.percentile(every, STRETCH_PERCENT) if every.size else (0.0, 1.0)
        limits[band] = (float(low), float(max(high, low + 1e-6)))
    return limits


def _planes(image: FloatArray, stack: Stack) -> dict[str, FloatArray]:
    """Return the planes to show by name: one is drawn grey, three as red, green and blue."""
    named = dict(zip(stack.bands, image, strict=True))
    if stack.sensor == "s2":
        if all(band in named for band in TRUE_COLOUR):
            return {band: named[band] for band in TRUE_COLOUR}
        return dict(list(named.items())[: 3 if len(named) >= 3 else 1])
    if len(named) >= 2:
        (first, co), (second, cross) = list(named.items())[:2]
        return {first: co, second: cross, f"{first}-{second}": co - cross}
    return named


def _draw_image(
    axes: Axes, image: FloatArray, stack: Stack, limits: dict[str, tuple[float, float]], title: str
) -> None:
    planes = _planes(image, stack)
    missing = np.isnan(np.stack(list(planes.values()))).any(axis=0)
    stretched = np.stack([np.clip((p - limits[b][0]) / (limits[b][1] - limits[b][0]), 0, 1) for b, p in planes.items()])
    shown = np.broadcast_to(stretched, (3, *missing.shape)).copy()
    shown[:, missing] = INVALID_GREY
    axes.imshow(np.moveaxis(shown, 0, -1), interpolation="nearest")
    (first, (low, high)), digits = next(iter(limits.items())), 1 if stack.sensor == "s1" else 2
    scale = f"{first} {low:.{digits}f} to {high:.{digits}f} {stack.unit}"
    axes.set_title(f"{title}\n{' '.join(planes)}\n{scale}", fontsize=7)
    axes.set_axis_off()


def _draw_error(
    axes: Axes, prediction: FloatArray, target: FloatArray, valid: npt.NDArray[np.bool_], stack: Stack
) -> None:
    """Draw the signed error of the first radar band, or the mean absolute error over the optical bands."""
    difference, limit = np.where(valid, prediction - target, np.nan), ERROR_LIMIT[stack.sensor]
    if stack.sensor == "s1":
        error, name, colours, low = difference[0], f"prediction - target, {stack.bands[0]}", "RdBu_r", -limit
    else:
        error, name, colours, low = np.abs(difference).mean(axis=0), "mean |error| of all bands", "magma", 0.0
    axes.set_facecolor(str(INVALID_GREY))
    image = axes.imshow(error, cmap=colours, vmin=low, vmax=limit, interpolation="nearest")
    measured = np.abs(error[valid]).mean() if valid.any() else np.nan
    axes.set_title(f"{name}\n{stack.unit}\nmean of absolute values {measured:.3g}", fontsize=7)
    axes.set_xticks([])
    axes.set_yticks([])
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.02, extend="both" if low < 0 else "max")
    bar.ax.tick_params(labelsize=6)
