"""Shapes of the report's charts: when the scenes were taken, how the values are spread.

From values to positions and SVG path strings, without I/O; the template draws them, so that colours
follow the reader's light or dark page and all text is escaped in one place.
"""

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..plan.choices import PeriodPlan
from ..plan.explain import explain_optical
from ..recipe.settings import Settings
from ..sensors import REFLECTANCE_SCALE
from .colours import Bands

TIMELINE_WIDTH = 1000.0
RADAR_EDGES = np.linspace(-45.0, 15.0, 241)
"""Bins in which radar values are counted, dB."""
REFLECTANCE_EDGES = np.linspace(0.0, 1.5, 301)


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeMark:
    """One acquisition on a timeline."""

    x: float
    kind: str
    """`used`, `spare` (clear, not used), `rejected`; `sar`."""
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """When a period's scenes were taken."""

    window: tuple[float, float]
    """Left and right end of the optical window."""
    ticks: tuple[tuple[float, str], ...]
    optical: tuple[TimeMark, ...]
    sar: tuple[TimeMark, ...]


def draw_timeline(period: PeriodPlan, settings: Settings) -> Timeline:
    """Lay out one period's acquisitions along time."""
    window = [dt.datetime(d.year, d.month, d.day, tzinfo=dt.UTC) for d in (period.start, period.end)]
    seen = [a.acquired_at for a in period.optical_considered]
    times = [*window, *seen, *(a.acquired_at for a in period.sar)]
    margin = max((max(times) - min(times)) * 0.02, dt.timedelta(days=1))
    first, last = min(times) - margin, max(times) + margin

    def x(time: dt.datetime) -> float:
        share: float = (time - first) / (last - first)
        return round(share * TIMELINE_WIDTH, 1)

    optical = []
    for acquisition in period.optical_considered:
        explanation = explain_optical(acquisition, period, settings)
        text = f"Sentinel-2 {acquisition.acquired_at:%Y-%m-%d}: {explanation.text}"
        optical.append(TimeMark(x=x(acquisition.acquired_at), kind=explanation.kind, text=text))
    return Timeline(
        window=(x(window[0]), x(window[1])),
        ticks=tuple((x(time), label) for time, label in _months(first, last)),
        optical=tuple(optical),
        sar=tuple(
            TimeMark(x=x(a.acquired_at), kind="sar", text=f"Sentinel-1 {a.acquired_at:%Y-%m-%d}: averaged")
            for a in period.sar
        ),
    )


def _months(first: dt.datetime, last: dt.datetime) -> Iterable[tuple[dt.datetime, str]]:
    months = [
        dt.datetime(year, month, 1, tzinfo=dt.UTC)
        for year in range(first.year, last.year + 1)
        for month in range(1, 13)
    ]
    shown = [month for month in months if first <= month <= last]
    every = math.ceil(len(shown) / 8) if shown else 1
    for month in shown[::every]:
        yield month, month.strftime("%b %Y") if month is shown[0] or month.month == 1 else month.strftime("%b")


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """One period's share of a histogram, as an SVG path in a box of 100 x 100."""

    label: str
    path: str
    median: float
    """To within a bin: the same whether radar is looked at in dB or in power."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Histogram:
    """How one band's values are spread."""

    band: str
    unit: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    curves: tuple[Curve, ...]


def draw_histogram(
    band: str, counts: Sequence[tuple[str, NDArray[np.int64]]], *, edges: NDArray[np.float64], unit: str
) -> Histogram | None:
    """Lay out one band's histogram, cut to where 99.8 % of the values are.

    Args:
        band: Its name.
        counts: Period label and (bin,) int64 counts of values.
        edges: (bin + 1,) float64, edges of the bins.
        unit: Of the values.

    Returns:
        None where there is no value at all.
    """
    total = np.sum([count for _, count in counts], axis=0)
    if not total.any():
        return None
    share = np.cumsum(total) / total.sum()
    first = max(int(np.searchsorted(share, 0.001)) - 1, 0)
    last = min(int(np.searchsorted(share, 0.999)) + 2, len(total))
    densities = [(label, count[first:last] / max(count.sum(), 1)) for label, count in counts]
    peak = max(float(density.max()) for _, density in densities)
    low, high = float(edges[first]), float(edges[last])
    curves = tuple(
        Curve(label=label, path=_steps(density / peak), median=_median(count, edges))
        for (label, density), (_, count) in zip(densities, counts, strict=True)
        if count.any()
    )
    return Histogram(band=band, unit=unit, low=low, high=high, ticks=tuple(_ticks(low, high)), curves=curves)


def _median(count: NDArray[np.int64], edges: NDArray[np.float64]) -> float:
    below = np.concatenate([[0], np.cumsum(count)])
    return float(np.interp(below[-1] / 2, below, edges))


def _steps(heights: NDArray[np.float64]) -> str:
    width = 100 / len(heights)
    return "M0 100" + "".join(f"V{100 - 96 * h:.1f}h{width:.3f}" for h in heights) + "V100"


def _ticks(low: float, high: float) -> Iterator[tuple[float, str]]:
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0) if (high - low) / s <= 5.001)
    value = math.ceil(low / step - 1e-9) * step
    while value <= high + 1e-9:
        yield round((value - low) / (high - low) * 100, 2), f"{value:g}" if step >= 1 else f"{value:.2g}"
        value = round(value + step, 9)


class ValueCounts:
    """Counts of pixel values per band and period, over all ROIs."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], dict[str, NDArray[np.int64]]] = defaultdict(dict)

    def add(self, kind: str, period: str, bands: Sequence[str], values: Bands) -> None:
        """Count the values of an image: (band, y, x) float32, dB for `s1`, reflectance x 10000 for `s2`."""
        for band, pixels in zip(bands, values, strict=True):
            finite = pixels[np.isfinite(pixels)] / (1 if kind == "s1" else REFLECTANCE_SCALE)
            edges = _edges(kind)
            counts = np.histogram(np.clip(finite, edges[0], edges[-1]), bins=edges)[0]
            known = self._counts[(kind, band)]
            known[period] = known[period] + counts if period in known else counts

    def histograms(self, kind: str, periods: Sequence[str]) -> list[Histogram]:
        """Lay out the histogram of every band of `s1` or `s2`."""
        unit = "dB" if kind == "s1" else "reflectance"
        drawn = [
            draw_histogram(band, [(p, counts[p]) for p in periods if p in counts], edges=_edges(kind), unit=unit)
            for (of, band), counts in self._counts.items()
            if of == kind
        ]
        return [histogram for histogram in drawn if histogram]


def _edges(kind: str) -> NDArray[np.float64]:
    return RADAR_EDGES if kind == "s1" else REFLECTANCE_EDGES
