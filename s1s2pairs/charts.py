"""Shapes of the report's drawings: where the ROIs lie, when the scenes were taken, how the values are spread.

Everything here is a pure function from values to positions and SVG path strings; the template draws them, so that colours
follow the reader's light or dark page and all text is escaped in one place.
"""

import datetime as dt
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import shapely
import shapely.geometry
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from .plan import PeriodPlan
from .recipe import Settings, Split
from .verdicts import optical_verdict

MAP_WIDTH = 1000.0
LEAST_DEG = 12.0
"""Least extent of the overview map: the coastline is too coarse for less."""
LABELLED_MOST = 16
"""More ROIs than this are told apart by hovering, not by labels."""
TIMELINE_WIDTH = 1000.0


@dataclass(frozen=True, kw_only=True, slots=True)
class GridLine:
    """One line of the graticule."""

    path: str
    label: str
    x: float
    y: float
    """Where the label stands."""
    meridian: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class MapMark:
    """One ROI on the map."""

    name: str
    split: Split
    x: float
    y: float
    outline: str
    labelled: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class MapView:
    """A map in plate carree, scaled so that distances are right at its middle latitude."""

    width: float
    height: float
    land: str
    lines: tuple[GridLine, ...]
    marks: tuple[MapMark, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Frame:
    west: float
    south: float
    east: float
    north: float

    @property
    def squeeze(self) -> float:
        return max(0.3, math.cos(math.radians((self.south + self.north) / 2)))

    @property
    def scale(self) -> float:
        return MAP_WIDTH / ((self.east - self.west) * self.squeeze)

    def xy(self, lon: float, lat: float) -> tuple[float, float]:
        return round((lon - self.west) * self.squeeze * self.scale, 1), round((self.north - lat) * self.scale, 1)

    @property
    def height(self) -> float:
        return self.xy(self.west, self.south)[1]


@cache
def land() -> BaseGeometry:
    """Return the world's land, generalised to a tenth of a degree (Natural Earth, public domain)."""
    feature = json.loads(files("s1s2pairs").joinpath("land.geojson").read_text(encoding="utf-8"))
    world: BaseGeometry = shapely.make_valid(shapely.geometry.shape(feature["geometry"]))
    return world


def draw_map(rois: Sequence[tuple[str, Split, BaseGeometry]]) -> MapView:
    """Lay out the overview map.

    Args:
        rois: Name, split and lon/lat polygon of each.
    """
    frame = _frame(shapely.union_all([polygon.envelope for _, _, polygon in rois]).bounds)
    shown = shapely.clip_by_rect(land(), frame.west, frame.south, frame.east, frame.north)
    return MapView(
        width=MAP_WIDTH,
        height=frame.height,
        land=_path(shown, frame),
        lines=tuple(_graticule(frame)),
        marks=tuple(_marks(rois, frame)),
    )


def _frame(bounds: tuple[float, float, float, float]) -> _Frame:
    west, south, east, north = bounds
    if east - west > 150:
        return _Frame(west=-180.0, east=180.0, south=min(-58.0, south - 3), north=max(78.0, north + 3))
    middle_lat = (south + north) / 2
    tall = max((north - south) * 1.25, LEAST_DEG)
    wide = max((east - west) * 1.25, LEAST_DEG)
    # Between 2 : 1 and 3 : 1 on the page, whatever the ROIs' spread.
    squeeze = max(0.3, math.cos(math.radians(middle_lat)))
    tall = max(tall, wide * squeeze / 3.0)
    wide = max(wide, 2.0 * tall / squeeze)
    west, east = _slide((west + east) / 2, wide, 180.0)
    south, north = _slide(middle_lat, tall, 90.0)
    return _Frame(west=west, south=south, east=east, north=north)


def _slide(middle: float, extent: float, limit: float) -> tuple[float, float]:
    half = min(extent / 2, limit)
    middle = min(max(middle, -limit + half), limit - half)
    return middle - half, middle + half


def _path(geometry: BaseGeometry, frame: _Frame) -> str:
    parts = []
    for polygon in shapely.get_parts(geometry):
        if polygon.geom_type != "Polygon":
            continue
        for ring in (polygon.exterior, *polygon.interiors):
            points = dict.fromkeys(frame.xy(lon, lat) for lon, lat in ring.coords)
            parts.append("M" + "L".join(f"{x:g} {y:g}" for x, y in points) + "Z")
    return "".join(parts)


def _graticule(frame: _Frame) -> Iterator[GridLine]:
    step = next(s for s in (1, 2, 5, 10, 15, 30, 60) if (frame.east - frame.west) / s <= 12)
    for lon in range(math.ceil(frame.west / step) * step, math.floor(frame.east) + 1, step):
        x, _ = frame.xy(lon, frame.north)
        label = f"{abs(lon)}° {'E' if lon > 0 else 'W'}" if lon else "0°"
        yield GridLine(path=f"M{x} 0V{frame.height}", label=label, x=x, y=frame.height - 6, meridian=True)
    for lat in range(math.ceil(frame.south / step) * step, math.floor(frame.north) + 1, step):
        _, y = frame.xy(frame.west, lat)
        label = f"{abs(lat)}° {'N' if lat > 0 else 'S'}" if lat else "0°"
        yield GridLine(path=f"M0 {y}H{MAP_WIDTH}", label=label, x=6.0, y=y - 4, meridian=False)


def _marks(rois: Sequence[tuple[str, Split, BaseGeometry]], frame: _Frame) -> Iterator[MapMark]:
    taken: list[tuple[float, float, float]] = []
    for name, split, polygon in rois:
        x, y = frame.xy(polygon.centroid.x, polygon.centroid.y)
        right = x + 12 + 8.5 * len(name)
        free = all(abs(y - other_y) > 18 or right < left or x > end for left, end, other_y in taken)
        labelled = len(rois) <= LABELLED_MOST and free and right < MAP_WIDTH
        if labelled:
            taken.append((x, right, y))
        yield MapMark(name=name, split=split, x=x, y=y, outline=_path(polygon, frame), labelled=labelled)


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
        verdict = optical_verdict(acquisition, period, settings)
        text = f"Sentinel-2 {acquisition.acquired_at:%Y-%m-%d}: {verdict.text}"
        optical.append(TimeMark(x=x(acquisition.acquired_at), kind=verdict.kind, text=text))
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
    mean: float
    """Mean of the values in the histogram's range."""


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
    centres = (edges[1:] + edges[:-1]) / 2
    densities = [(label, count[first:last] / max(count.sum(), 1)) for label, count in counts]
    peak = max(float(density.max()) for _, density in densities)
    low, high = float(edges[first]), float(edges[last])
    curves = tuple(
        Curve(label=label, path=_steps(density / peak), mean=float(np.average(centres, weights=count)))
        for (label, density), (_, count) in zip(densities, counts, strict=True)
        if count.any()
    )
    return Histogram(band=band, unit=unit, low=low, high=high, ticks=tuple(_ticks(low, high)), curves=curves)


def _steps(heights: NDArray[np.float64]) -> str:
    width = 100 / len(heights)
    return "M0 100" + "".join(f"V{100 - 96 * h:.1f}h{width:.3f}" for h in heights) + "V100"


def _ticks(low: float, high: float) -> Iterator[tuple[float, str]]:
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0) if (high - low) / s <= 5.001)
    value = math.ceil(low / step - 1e-9) * step
    while value <= high + 1e-9:
        yield round((value - low) / (high - low) * 100, 2), f"{value:g}" if step >= 1 else f"{value:.2g}"
        value = round(value + step, 9)
