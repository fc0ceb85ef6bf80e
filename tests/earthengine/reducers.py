"""Reducing as Earth Engine does it: over time, over bands, over a region. Names and arguments are Earth Engine's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio.features
import shapely
from affine import Affine
from pyproj import Transformer

from .assumptions import REQUEST, is_broken
from .evaluate import implements
from .values import Band, Collection, Geometry, Grid, Image, Pixels, Refusal

# --- Reducers -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Output:
    """One number made of many."""

    name: str
    dtype: str | None
    of: Callable[[np.ndarray[Any, Any], np.ndarray[Any, Any]], Pixels]
    """(n, ...) values and which of them are there -> (...) values."""
    weighted: bool = False
    """Whether, over a region, a pixel weighs as much as its share in it. Otherwise it counts where its centre lies inside."""


Reducer = tuple[Output, ...]


def _quietly(values: Any, there: Any, compute: Callable[[Any], Any]) -> Pixels:
    """Reduce along the first axis over what is there; nothing there gives nothing."""
    some = there.any(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return Pixels(np.where(some, compute(some), 0.0), some)


def _mean(values: Any, there: Any) -> Pixels:
    return _quietly(values, there, lambda _: np.where(there, values, 0.0).sum(axis=0) / there.sum(axis=0))


def _min(values: Any, there: Any) -> Pixels:
    return _quietly(values, there, lambda _: np.where(there, values, np.inf).min(axis=0))


def _count(values: Any, there: Any) -> Pixels:
    return Pixels(there.sum(axis=0).astype(np.float64), np.ones(there.shape[1:], np.bool_))


def _median(values: Any, there: Any) -> Pixels:
    ascending = np.sort(np.where(there, values, np.inf), axis=0)
    number = np.maximum(there.sum(axis=0), 1)

    def middle(some: Any) -> Any:
        low, high = (np.take_along_axis(ascending, n[None], axis=0)[0] for n in ((number - 1) // 2, number // 2))
        return (np.where(some, low, 0.0) + np.where(some, high, 0.0)) / 2

    return _quietly(values, there, middle)


MEAN = Output("mean", "float64", _mean, weighted=True)
MIN = Output("min", None, _min)
COUNT = Output("count", "int32", _count)
MEDIAN = Output("median", "float64", _median)


@implements("Reducer.mean")
def reducer_mean() -> Reducer:
    return (MEAN,)


@implements("Reducer.min")
def reducer_min() -> Reducer:
    return (MIN,)


@implements("Reducer.count")
def reducer_count() -> Reducer:
    return (COUNT,)


@implements("Reducer.combine")
def reducer_combine(reducer1: Reducer, reducer2: Reducer, outputPrefix: str, sharedInputs: bool) -> Reducer:  # noqa: N803
    if outputPrefix or not sharedInputs:
        raise Refusal("Reducer.combine: only sharedInputs=true without a prefix is implemented")
    return (*reducer1, *reducer2)


@implements("Image.reduce")
def image_reduce(image: Image, reducer: Reducer) -> Image:
    bands = list(image.bands.values())
    dtype = bands[0].dtype
    return Image(bands={out.name: _stacked(bands, out, out.dtype or dtype) for out in reducer})


def _stacked(bands: Sequence[Band], out: Output, dtype: str) -> Band:
    def on(grid: Grid) -> Pixels:
        pixels = [band.on(grid) for band in bands]
        return out.of(np.stack([p.values for p in pixels]), np.stack([p.there for p in pixels]))

    return Band(dtype, on)


def _over_time(name: str, out: Output) -> None:
    @implements(f"reduce.{name}")
    def function(collection: Collection) -> Image:
        images = collection.images()
        bands = {
            band: _stacked([image.bands[band] for image in images], out, out.dtype or images[0].bands[band].dtype)
            for band in collection.band_names()
        }
        return Image(bands=bands)


_over_time("mean", MEAN)
_over_time("count", COUNT)
_over_time("median", MEDIAN)


@implements("ImageCollection.mosaic")
def image_collection_mosaic(collection: Collection) -> Image:
    images = collection.images()

    def top(name: str) -> Band:
        def on(grid: Grid) -> Pixels:
            values, there = np.zeros(grid.shape), np.zeros(grid.shape, np.bool_)
            for image in images:  # the last one lies on top
                pixels = image.bands[name].on(grid)
                values, there = np.where(pixels.there, pixels.values, values), there | pixels.there
            return Pixels(values, there)

        return Band(images[0].bands[name].dtype, on)

    return Image(bands={name: top(name) for name in collection.band_names()})


@implements("Image.reduceRegion")
def image_reduce_region(
    image: Image,
    reducer: Reducer,
    geometry: Geometry,
    crs: str,
    crsTransform: Sequence[float] | None,  # noqa: N803
    maxPixels: float,  # noqa: N803
    tileScale: float,  # noqa: N803 - how the work is cut up; changes nothing here
) -> dict[str, Any]:
    if crsTransform is None or crs is None:
        raise Refusal("Image.reduceRegion: this server wants crs and crsTransform, which fix the pixels")
    region = _in_crs(geometry, crs)
    grid = _covering(region, crs, Affine(*crsTransform))
    if grid.width * grid.height > maxPixels:
        raise Refusal(f"Image.reduceRegion: Too many pixels in the region. Found {grid.width * grid.height}.")
    request = REQUEST.get()
    request.aggregations += 1
    if request.max_aggregations and request.aggregations > request.max_aggregations:
        raise Refusal("Quota exceeded: Too many concurrent aggregations.", status=429)
    inside = rasterio.features.rasterize([region], out_shape=grid.shape, transform=grid.transform, dtype="uint8") == 1
    shares = _shares(region, grid) if any(out.weighted for out in reducer) else inside.astype(np.float64)
    answer: dict[str, Any] = {}
    for name, band in image.bands.items():
        pixels = band.on(grid)
        for out in reducer:
            key = name if len(reducer) == 1 else f"{name}_{out.name}"
            answer[key] = _weighted_mean(pixels, shares) if out.weighted else _of_pixels(pixels, inside, out)
    if is_broken("null-mean"):
        answer = {key: value for key, value in answer.items() if value is not None}
    return dict(sorted(answer.items()))


def _of_pixels(pixels: Pixels, inside: Any, out: Output) -> Any:
    if is_broken("region-pixels") and out.name == "count":
        return int(pixels.there.sum())
    one = out.of(pixels.values[inside], pixels.there[inside])
    whole = out.dtype == "int32"
    return (int(one.values) if whole else float(one.values)) if bool(one.there) else None


def _weighted_mean(pixels: Pixels, shares: Any) -> float | None:
    weights = np.where(pixels.there, shares, 0.0)
    return float((weights * pixels.values).sum() / weights.sum()) if weights.any() else None


def _shares(region: Any, grid: Grid) -> Any:
    """(y, x) which part of each pixel lies in the region; less than half a percent counts as nothing."""
    touched = rasterio.features.rasterize(
        [region], out_shape=grid.shape, transform=grid.transform, all_touched=True, dtype="uint8"
    )
    rows, columns = np.nonzero(touched)
    (x0, y0), (x1, y1) = (
        grid.transform @ (columns, rows),
        grid.transform @ (columns + 1, rows + 1),
    )
    pixels = shapely.box(np.minimum(x0, x1), np.minimum(y0, y1), np.maximum(x0, x1), np.maximum(y0, y1))
    shapely.prepare(region)
    shares = np.ones(len(pixels))
    edge = ~shapely.contains_properly(region, pixels)
    shares[edge] = shapely.area(shapely.intersection(region, pixels[edge])) / shapely.area(pixels[edge])
    out = np.zeros(grid.shape)
    out[rows, columns] = np.where(shares >= 0.005, shares, 0.0)
    return out


def _in_crs(geometry: Geometry, crs: str) -> Any:
    if geometry.crs == crs:
        return geometry.shape
    transformer = Transformer.from_crs(geometry.crs, crs, always_xy=True)
    return shapely.transform(geometry.shape, transformer.transform, interleaved=False)


def _covering(region: Any, crs: str, lattice: Affine) -> Grid:
    """The pixels of an endless lattice that a region touches."""
    west, south, east, north = region.bounds
    columns, rows = zip(*(~lattice @ corner for corner in ((west, north), (east, south))), strict=True)
    col, row = int(np.floor(min(columns))), int(np.floor(min(rows)))
    width, height = int(np.ceil(max(columns))) - col, int(np.ceil(max(rows))) - row
    return Grid(crs, lattice @ Affine.translation(col, row), max(width, 1), max(height, 1))
