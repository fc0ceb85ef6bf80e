"""What the expressions are made of on the server's side: grids, images whose pixels are computed when asked for, collections."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import shapely
import shapely.geometry
from affine import Affine
from numpy.typing import NDArray
from pyproj import Geod
from shapely.geometry.base import BaseGeometry

from .assumptions import REQUEST, assumed, is_broken

_GEOD = Geod(ellps="WGS84")
_POINTS_PER_EDGE = 30


class Refusal(Exception):
    """The request is wrong, or asks for something this server does not do; answered with a 4xx, never with a 5xx."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Grid:
    """Pixels on the ground."""

    crs: str
    transform: Affine
    width: int
    height: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width

    def centres(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(y, x) coordinates of the pixel centres."""
        columns, rows = np.meshgrid(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        t = self.transform
        return t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f


@dataclass(frozen=True)
class Pixels:
    """(y, x) values, float64 (which holds every float32 and uint16 exactly), and which of them are there."""

    values: NDArray[np.float64]
    there: NDArray[np.bool_]


class Band:
    """One band: its type, and how its pixels are had on any grid. Each grid is computed once per request."""

    def __init__(
        self, dtype: str, compute: Callable[[Grid], Pixels], smooth: Callable[[Grid], Pixels] | None = None
    ) -> None:
        self.dtype = dtype
        self.smooth = smooth
        """How its pixels are had by interpolation, for a band that is read and not computed."""
        self._compute = compute
        self._known: dict[Grid, Pixels] = {}

    def on(self, grid: Grid) -> Pixels:
        if grid not in self._known:
            self._known[grid] = self._compute(grid)
        return self._known[grid]


@dataclass(frozen=True)
class Geometry:
    """A geometry, with straight edges in its CRS or along geodesics."""

    shape: BaseGeometry
    crs: str = "EPSG:4326"
    geodesic: bool = False

    def straight(self) -> BaseGeometry:
        """The same ground with straight edges in lon/lat."""
        if not self.geodesic or not isinstance(self.shape, shapely.Polygon | shapely.LinearRing):
            return self.shape
        corners = list(shapely.get_coordinates(self.shape))
        points = [
            point
            for (lon, lat), (next_lon, next_lat) in itertools.pairwise(corners)
            for point in [(lon, lat), *_GEOD.npts(lon, lat, next_lon, next_lat, _POINTS_PER_EDGE)]
        ]
        return shapely.Polygon(points)


@dataclass(frozen=True)
class Element:
    """An image or a feature: what both have."""

    properties: Mapping[str, Any] = field(default_factory=dict)
    geometry: Geometry | None = None

    @property
    def index(self) -> str | None:
        """Its `system:index`, which is the id of a feature and none of its properties."""
        return self.properties.get("system:index")

    def with_properties(self, more: Mapping[str, Any]) -> Element:
        return replace(self, properties={**self.properties, **more})


@dataclass(frozen=True)
class Feature(Element):
    """A geometry with properties."""


@dataclass(frozen=True)
class Image(Element):
    """Bands by name, in order."""

    bands: Mapping[str, Band] = field(default_factory=dict)

    def only(self) -> Band:
        if len(self.bands) != 1:
            raise Refusal(f"an image of one band is wanted here, this one has {list(self.bands)}")
        return next(iter(self.bands.values()))

    def each(self, dtype: str | None, change: Callable[[Pixels], Pixels]) -> Image:
        """Change every band's pixels; `dtype` None keeps the type."""

        def changed(band: Band) -> Band:
            return Band(dtype or band.dtype, lambda grid: change(band.on(grid)))

        return replace(self, bands={name: changed(band) for name, band in self.bands.items()})


@dataclass(frozen=True)
class Collection:
    """Images or features, in order."""

    elements: tuple[Any, ...]

    def images(self) -> Sequence[Image]:
        if not all(isinstance(element, Image) for element in self.elements):
            raise Refusal("a collection of images is wanted here")
        return self.elements

    def band_names(self) -> list[str]:
        names = {tuple(image.bands) for image in self.images()}
        if len(names) != 1:
            raise Refusal(f"the images of a collection must have the same bands here, they have {sorted(names)}")
        return list(names.pop())


def to_json(value: Any) -> Any:
    """Return a value as `value:compute` gives it."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Geometry():
            return _geometry(value)
        case Feature():
            return _feature(value, value.index or "0")
        case Collection():
            if any(isinstance(element, Image) for element in value.elements):
                raise Refusal("this server gives no images back")
            count_elements(len(value.elements))
            return {
                "type": "FeatureCollection",
                "columns": {},
                "features": [_feature(one, one.index or str(i)) for i, one in enumerate(value.elements)],
            }
        case list() | tuple():
            return [to_json(one) for one in value]
        case dict():
            return {name: to_json(one) for name, one in value.items()}
    raise Refusal(f"this server gives no {type(value).__name__} back")


def count_elements(number: int) -> None:
    """Take note of the size of a collection that a request goes through."""
    request = REQUEST.get()
    request.elements = max(request.elements, number)
    if request.max_elements and number > request.max_elements:
        raise Refusal(f"Collection query aborted after accumulating over {request.max_elements} elements.")


def _feature(value: Feature, index: str) -> dict[str, Any]:
    keep_null = assumed().null_properties == "null"
    properties = {
        name: to_json(one)
        for name, one in value.properties.items()
        if name != "system:index" and (keep_null or one is not None)
    }
    if is_broken("columns"):
        properties = {}
    geometry = None if value.geometry is None else to_json(value.geometry)
    return {"type": "Feature", "geometry": geometry, "id": index, "properties": properties}


def _geometry(value: Geometry) -> dict[str, Any]:
    if value.crs != "EPSG:4326":
        raise Refusal(f"this server gives no geometry in {value.crs} back")
    shape = value.shape
    if isinstance(shape, shapely.LinearRing) and assumed().footprint == "polygon":
        shape = shapely.Polygon(shape)
    outline = dict(shapely.geometry.mapping(shape))
    if not value.geodesic:
        outline["geodesic"] = False
    elif assumed().geodesic_flag == "true":
        outline["geodesic"] = True
    return outline
