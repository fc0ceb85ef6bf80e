"""One sample as pictures: what went in, what came out, what should have, and the error.

Drawn as a remote sensing person expects: radar grey in dB, optical in true colour, both stretched between the 2nd and 98th
percentile of what was observed in the sample, with one stretch for all dates and for the prediction, so that brightness
can be compared. The error's scale is chosen from the errors, symmetric about 0 for radar, and rounded up to 1, 2, 3, 5 or 7
times a power of ten, so that pictures of similar quality share it.
"""

import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from torch import Tensor

from s1s2pairs.report.inline import MISSING_RGB

from .missing import is_blank
from .scaling import Scaling
from .task import Batch, Stack, Task

TRUE_COLOUR: Final = ("B4", "B3", "B2")
STRETCH_PERCENT: Final = (2.0, 98.0)
ERROR_PERCENT: Final = 98.0
"""Part of the errors that the error's scale spans."""
LEAST_ERROR_LIMIT: Final = {"s1": 1.0, "s2": 0.01}
"""Narrowest end of the error's scale: dB, reflectance."""
PANEL_INCHES: Final = 2.8
LINE_LETTERS: Final = 32
BAR_PLACE: Final = (0.0, -0.07, 1.0, 0.04)
"""Left, bottom, width, height of a colour bar, in sides of its image."""
DPI: Final = 100

FloatArray = npt.NDArray[np.floating[Any]]
Limits = dict[str, tuple[float, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ColourScale:
    """The scale of a panel in one colour ramp."""

    ramp: str
    """A colour map of matplotlib."""
    low: float
    high: float
    unit: str

    @property
    def colours(self) -> tuple[str, ...]:
        """Return nine colours from low to high, evenly spaced, as `#rrggbb`."""
        return tuple(to_hex(colour) for colour in matplotlib.colormaps[self.ramp](np.linspace(0, 1, 9)))

    @property
    def labels(self) -> tuple[str, str, str]:
        """Return what stands at the low end, in the middle and at the high end."""
        digits = max(0, 2 - math.floor(math.log10(self.high - self.low)))
        sign = "+" if self.low < 0 < self.high else ""
        low, middle = f"{self.low:.{digits}f}", f"{(self.low + self.high) / 2:.{digits}f}"
        high = f"{self.high:{sign}.{digits}f}"
        return low.replace("-", "−"), middle.replace("-", "−"), f"{high.replace('-', '−')} {self.unit}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One image of a sample."""

    name: str
    """What it is, such as `source, S2 T2`."""
    legend: str
    """What its colours stand for."""
    rgb: npt.NDArray[np.uint8]
    """(y, x, colour) uint8; `MISSING_RGB` where missing."""
    bar: ColourScale | None
    """None where three bands are shown as red, green and blue."""


def sample_panels(batch: Batch, prediction: Tensor, *, row: int, task: Task, scaling: Scaling) -> tuple[Panel, ...]:
    """Draw sources, references, prediction, target and error of one sample.

    Args:
        batch: The batch that holds the sample.
        prediction: (batch, band, y, x) float, [-1, 1] on the target stack's scale.
        row: Which sample of the batch.
        task: Says what the stacks are.
        scaling: Network values to physical ones.
    """
    images = {stack.key: _physical(batch[stack.key][row], stack, scaling) for stack in task.stacks}
    limits = {sensor: _limits([s for s in task.stacks if s.sensor == sensor], images) for sensor in ("s1", "s2")}
    target = task.target
    predicted = _physical(prediction[row], target, scaling, mask=False)
    valid = batch["valid"][row, 0].cpu().numpy()
    shown = [
        *((images[stack.key], stack, "source" if stack in task.sources else "reference") for stack in task.inputs),
        (predicted, target, "prediction"),
        (images[target.key], target, "target"),
    ]
    panels = [_image_panel(image, stack, limits[stack.sensor], role) for image, stack, role in shown]
    return (*panels, _error_panel(predicted, images[target.key], valid, target))


def draw_sample(batch: Batch, prediction: Tensor, *, row: int, task: Task, scaling: Scaling, title: str = "") -> bytes:
    """Draw the panels of one sample side by side; the arguments are those of `sample_panels`, and a title.

    Returns:
        A PNG file.
    """
    panels = sample_panels(batch, prediction, row=row, task=task, scaling=scaling)
    figure = Figure(figsize=(PANEL_INCHES * len(panels), PANEL_INCHES + 1.5), dpi=DPI, layout="constrained")
    for axes, panel in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        _draw_panel(axes, panel)
    figure.suptitle(title, fontsize=11)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _physical(values: Tensor, stack: Stack, scaling: Scaling, *, mask: bool = True) -> FloatArray:
    """Return (band, y, x) in dB or reflectance; NaN where the loader found the stack missing, if `mask`."""
    values = values.detach().float().cpu()
    physical = scaling.unscale(values, stack)
    if mask:
        physical = physical.masked_fill(is_blank(values), float("nan"))
    array: FloatArray = physical.numpy()
    return array


def _limits(stacks: Sequence[Stack], images: dict[str, FloatArray]) -> Limits:
    """Return the stretch of each band, taken over all dates; S1 also has `VV-VH`, its third colour."""
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


def _image_panel(image: FloatArray, stack: Stack, limits: Limits, role: str) -> Panel:
    planes = _planes(image, stack)
    stretched = np.stack([(p - limits[b][0]) / (limits[b][1] - limits[b][0]) for b, p in planes.items()], axis=-1)
    name = f"{role}, {stack.sensor.upper()} T{stack.date + 1}"
    if len(planes) == 1:
        (band,) = planes
        bar = ColourScale(ramp="gray", low=limits[band][0], high=limits[band][1], unit=stack.unit)
        return Panel(name=name, legend=band, rgb=_rgb(stretched), bar=bar)
    digits = 1 if stack.sensor == "s1" else 3
    parts = (
        f"{colour} {band} {limits[band][0]:.{digits}f} to {limits[band][1]:.{digits}f}"
        for colour, band in zip(("red", "green", "blue"), planes, strict=True)
    )
    return Panel(name=name, legend=f"{stack.unit}: {', '.join(parts)}", rgb=_rgb(stretched), bar=None)


def _error_panel(prediction: FloatArray, target: FloatArray, valid: npt.NDArray[np.bool_], stack: Stack) -> Panel:
    """Return the signed error of the first radar band, or the mean absolute error over the optical bands."""
    difference = np.where(valid, prediction - target, np.nan)
    signed = stack.sensor == "s1"
    error = difference[0] if signed else np.abs(difference).mean(axis=0)
    what = f"prediction - target, {stack.bands[0]}" if signed else "mean of |prediction - target| over all bands"
    sizes = np.abs(error[valid])
    limit = _error_limit(sizes, LEAST_ERROR_LIMIT[stack.sensor])
    ramp, low = ("RdBu_r", -limit) if signed else ("magma", 0.0)
    colours = matplotlib.colormaps[ramp](np.nan_to_num((error - low) / (limit - low)))[..., :3]
    mean = f"{sizes.mean():.3g} {stack.unit}" if sizes.size else "undefined"
    return Panel(
        name="error",
        legend=f"{what}; mean absolute error {mean}; the scale spans at least {ERROR_PERCENT:g} % of the errors",
        rgb=_rgb(np.where(valid[..., None], colours, np.nan)),
        bar=ColourScale(ramp=ramp, low=low, high=limit, unit=stack.unit),
    )


def _error_limit(sizes: FloatArray, least: float) -> float:
    """Return the end of an error's scale: the percentile, rounded up to 1, 2, 3, 5 or 7 times a power of ten."""
    reach = max(least, float(np.percentile(sizes, ERROR_PERCENT))) if sizes.size else least
    power = math.floor(math.log10(reach))
    # Products with a power of ten are written as decimal numbers, so that 0.02 is 0.02 and not 0.020000000000000004.
    ends = (float(f"{step}e{power}") for step in (1, 2, 3, 5, 7, 10))
    return next(end for end in ends if end >= reach * (1 - 1e-6))


def _rgb(colours: FloatArray) -> npt.NDArray[np.uint8]:
    """Return (y, x, colour) uint8 of (y, x, 1 or 3) float on [0, 1]; NaN is missing, values outside are clipped."""
    missing = np.isnan(colours).any(axis=-1)
    levels = np.rint(np.nan_to_num(colours).clip(0, 1) * 255).astype(np.uint8)
    rgb = np.broadcast_to(levels, (*missing.shape, 3)).copy()
    rgb[missing] = MISSING_RGB
    return rgb


def _draw_panel(axes: Axes, panel: Panel) -> None:
    axes.imshow(panel.rgb, interpolation="nearest")
    axes.set_title(f"{panel.name}\n{textwrap.fill(panel.legend, LINE_LETTERS)}", fontsize=9)
    axes.set_axis_off()
    if panel.bar is not None:
        scale = ScalarMappable(Normalize(panel.bar.low, panel.bar.high), panel.bar.ramp)
        # An inset leaves the image as large as those without a bar, so that all stand in one line.
        drawn = axes.figure.colorbar(scale, cax=axes.inset_axes(BAR_PLACE), orientation="horizontal")
        drawn.set_ticks([panel.bar.low, (panel.bar.low + panel.bar.high) / 2, panel.bar.high], labels=panel.bar.labels)
        drawn.ax.tick_params(labelsize=9)
