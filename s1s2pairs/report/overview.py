"""Where the ROIs lie, as shapes for the report: an overview with the coastline, and a close-up where they lie together.

Pure functions from polygons to SVG positions and path strings; the template draws them.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import shapely
import shapely.geometry
from shapely.geometry.base import BaseGeometry

from ..recipe.settings import Split

WIDTH = 1000.0
"""Of every map, in SVG units."""
LEAST_DEG = 12.0
"""Least height of the overview: its coastline is too coarse for less."""
CLOSE_DEG = 3.0
"""ROIs within this extent get a close-up too."""
LABELLED_MOST = 16
"""More ROIs than this are told apart by hovering, not by labels."""
STEPS_DEG = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60)

NamedRoi = tuple[str, Split, BaseGeometry]
"""Name, split and lon/lat polygon."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GridLine:
    """One line of the graticule, with its label and where that stands."""

    path: str
    label: str
    x: float
    y: float


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
    """A map in plate carree, squeezed so that distances are right at its middle latitude."""

    title: str
    height: float
    land: str
    """Empty in a close-up."""
    lines: tuple[GridLine, ...]
    marks: tuple[MapMark, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Frame:
    west: float
    south: float
    east: float
    north: float

    @property
    def scale(self) -> float:
        return WIDTH / ((self.east - self.west) * _squeeze(self.south, self.north))

    def xy(self, lon: float, lat: float) -> tuple[float, float]:
        """Return the place of a point, x to the right, y down."""
        x = (lon - self.west) * _squeeze(self.south, self.north) * self.scale
        return round(x, 1), round((self.north - lat) * self.scale, 1)

    @property
    def height(self) -> float:
        return self.xy(self.west, self.south)[1]


def _squeeze(south: float, north: float) -> float:
    return max(0.3, math.cos(math.radians((south + north) / 2)))


@cache
def land() -> BaseGeometry:
    """Return the world's land, generalised to a tenth of a degree (Natural Earth, public domain)."""
    feature = json.loads(files(__package__).joinpath("land.geojson").read_text(encoding="utf-8"))
    world: BaseGeometry = shapely.make_valid(shapely.geometry.shape(feature["geometry"]))
    return world


def draw_maps(rois: Sequence[NamedRoi]) -> tuple[MapView, ...]:
    """Lay out the overview and, where all ROIs lie close together, a close-up with their outlines."""
    bounds = shapely.union_all([polygon.envelope for _, _, polygon in rois]).bounds
    overview = _frame(bounds, least_deg=LEAST_DEG)
    extent = max(bounds[2] - bounds[0], bounds[3] - bounds[1])
    shown = shapely.clip_by_rect(land(), overview.west, overview.south, overview.east, overview.north)
    close = extent <= CLOSE_DEG
    maps = [_view("Overview", rois, overview, land_path=_path(shown, overview), labels=not close)]
    if close:
        maps.append(_view("Close-up", rois, _frame(bounds, least_deg=0.02), land_path="", labels=True))
    return tuple(maps)


def _view(title: str, rois: Sequence[NamedRoi], frame: _Frame, *, land_path: str, labels: bool) -> MapView:
    return MapView(
        title=title,
        height=frame.height,
        land=land_path,
        lines=tuple(_graticule(frame)),
        marks=tuple(_marks(rois, frame, labels=labels and len(rois) <= LABELLED_MOST)),
    )


def _frame(bounds: tuple[float, float, float, float], *, least_deg: float) -> _Frame:
    west, south, east, north = bounds
    if east - west > 150:
        return _Frame(west=-180.0, east=180.0, south=min(-58.0, south - 3), north=max(78.0, north + 3))
    squeeze = _squeeze(south, north)
    tall = max((north - south) * 1.35, least_deg, (east - west) * 1.35 * squeeze / 3.0)
    wide = max((east - west) * 1.35, 2.0 * tall / squeeze)  # between 2 : 1 and 3 : 1 on the page
    west, east = _slide((west + east) / 2, wide, 180.0)
    south, north = _slide((south + north) / 2, tall, 90.0)
    return _Frame(west=west, south=south, east=east, north=north)


def _slide(middle: float, extent: float, limit: float) -> tuple[float, float]:
    half = min(extent / 2, limit)
    middle = min(max(middle, -limit + half), limit - half)
    return middle - half, middle + half


def _path(geometry: BaseGeometry, frame: _Frame) -> str:
    rings = (
        ring
        for polygon in shapely.get_parts(geometry)
        if polygon.geom_type == "Polygon"
        for ring in (polygon.exterior, *polygon.interiors)
    )
    outlines = (dict.fromkeys(frame.xy(lon, lat) for lon, lat in ring.coords) for ring in rings)
    return "".join("M" + "L".join(f"{x:g} {y:g}" for x, y in outline) + "Z" for outline in outlines)


def _graticule(frame: _Frame) -> Iterator[GridLine]:
    step = next(s for s in STEPS_DEG if (frame.east - frame.west) / s <= 12)
    for lon in _multiples(step, frame.west, frame.east):
        x, _ = frame.xy(lon, frame.north)
        label = _degrees(lon, "E", "W") if x < WIDTH - 80 else ""  # near the edge it would be cut
        yield GridLine(path=f"M{x} 0V{frame.height}", label=label, x=x + 4, y=frame.height - 6)
    for lat in _multiples(step, frame.south, frame.north):
        _, y = frame.xy(frame.west, lat)
        label = _degrees(lat, "N", "S") if 20 < y < frame.height - 40 else ""  # clear of the edge and of the longitudes
        yield GridLine(path=f"M0 {y}H{WIDTH}", label=label, x=6.0, y=y - 4)


def _multiples(step: float, low: float, high: float) -> list[float]:
    return [round(i * step, 2) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _degrees(value: float, positive: str, negative: str) -> str:
    return f"{abs(value):g}° {positive if value > 0 else negative}" if value else "0°"


def _marks(rois: Sequence[NamedRoi], frame: _Frame, *, labels: bool) -> Iterator[MapMark]:
    points = [frame.xy(polygon.centroid.x, polygon.centroid.y) for _, _, polygon in rois]
    # Each mark is an obstacle to the labels of the others, and so is each label set so far.
    taken = [(x - 8, x + 8, y) for x, y in points]
    for number, ((name, split, polygon), (x, y)) in enumerate(zip(rois, points, strict=True)):
        right = x + 14 + 8.5 * len(name)
        others = (box for i, box in enumerate(taken) if i != number)
        free = all(abs(y - other) > 16 or right < left or x + 8 > end for left, end, other in others)
        labelled = labels and free and right < WIDTH
        if labelled:
            taken.append((x + 8, right, y))
        yield MapMark(name=name, split=split, x=x, y=y, outline=_path(polygon, frame), labelled=labelled)
