"""The functions of Earth Engine that this server implements, with numpy. Names and arguments are Earth Engine's."""

# Importing this module fills `evaluate.IMPLEMENTED`; the functions are found there by their Earth Engine names.

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import rasterio.features
import shapely
import shapely.geometry
from affine import Affine
from pyproj import Transformer

from .archive import Archive
from .evaluate import implements
from .values import Band, Collection, Element, Feature, Geometry, Grid, Image, Pixels, Refusal

ARCHIVE: list[Archive] = []
"""The one archive that is served."""

# --- Geometry and dates -------------------------------------------------------------------------------------------------


@implements("Projection")
def projection(crs: str) -> str:
    return crs


@implements("GeometryConstructors.Polygon")
def polygon(coordinates: list[Any], crs: str | None, geodesic: bool | None, evenOdd: bool) -> Geometry:  # noqa: N803
    return _area({"type": "Polygon", "coordinates": coordinates}, crs, geodesic)


@implements("GeometryConstructors.MultiPolygon")
def multi_polygon(coordinates: list[Any], crs: str | None, geodesic: bool | None, evenOdd: bool) -> Geometry:  # noqa: N803
    return _area({"type": "MultiPolygon", "coordinates": coordinates}, crs, geodesic)


def _area(outline: dict[str, Any], crs: str | None, geodesic: bool | None) -> Geometry:
    if geodesic is not False:
        raise Refusal("this server knows only geometries with straight edges: geodesic must be false")
    return Geometry(shapely.geometry.shape(outline), crs or "EPSG:4326")


@dataclass(frozen=True)
class _DateRange:
    start: float
    end: float


@implements("DateRange")
def date_range(start: Any, end: Any) -> _DateRange:
    for edge in (start, end):
        if isinstance(edge, bool) or not isinstance(edge, int | float):
            raise Refusal(f"this server takes dates in milliseconds only, not {edge!r}")
    return _DateRange(start, end)


@implements("Image.geometry")
def image_geometry(feature: Image) -> Geometry | None:
    return feature.geometry


# --- Filters ------------------------------------------------------------------------------------------------------------

Filter = Callable[[Element], bool]


@implements("Filter.equals")
def filter_equals(leftField: str, rightValue: Any) -> Filter:  # noqa: N803
    return lambda element: element.properties.get(leftField) == rightValue


@implements("Filter.listContains")
def filter_list_contains(leftField: str, rightValue: Any) -> Filter:  # noqa: N803
    return lambda element: rightValue in (element.properties.get(leftField) or ())


@implements("Filter.dateRangeContains")
def filter_date(leftValue: _DateRange, rightField: str) -> Filter:  # noqa: N803
    return lambda element: leftValue.start <= element.properties[rightField] < leftValue.end


@implements("Filter.intersects")
def filter_intersects(leftField: str, rightValue: Any) -> Filter:  # noqa: N803
    if leftField not in (".all", ".geo"):
        raise Refusal(f"Filter.intersects: the field {leftField!r} is not implemented")
    region = rightValue.geometry if isinstance(rightValue, Feature) else rightValue
    if not isinstance(region, Geometry) or region.crs != "EPSG:4326":
        raise Refusal("Filter.intersects: a geometry in lon/lat is wanted")
    prepared = region.shape
    shapely.prepare(prepared)
    return lambda element: element.geometry is not None and bool(prepared.intersects(element.geometry.shape))


@implements("Filter.and")
def filter_and(filters: Sequence[Filter]) -> Filter:
    return lambda element: all(one(element) for one in filters)


@implements("Filter.or")
def filter_or(filters: Sequence[Filter]) -> Filter:
    return lambda element: any(one(element) for one in filters)


# --- Elements and collections -------------------------------------------------------------------------------------------


@implements("Feature")
def feature(geometry: Geometry | None, metadata: dict[str, Any] | None) -> Feature:
    return Feature(properties=metadata or {}, geometry=geometry)


@implements("Element.get")
def element_get(object_: Element, property_: str) -> Any:
    return object_.properties.get(property_)


@implements("Dictionary.get")
def dictionary_get(dictionary: dict[str, Any], key: str) -> Any:
    if key not in dictionary:
        raise Refusal(f"Dictionary.get: Dictionary does not contain key: '{key}'.")
    return dictionary[key]


@implements("Collection")
def collection(features: Sequence[Element]) -> Collection:
    return Collection(tuple(features))


@implements("Collection.filter")
def collection_filter(collection: Collection, filter_: Filter) -> Collection:
    return Collection(tuple(element for element in collection.elements if filter_(element)))


@implements("Collection.limit")
def collection_limit(collection: Collection, limit: int | None, key: str | None, ascending: bool) -> Collection:
    elements = list(collection.elements)
    if key is not None:
        if any(element.properties.get(key) is None for element in elements):
            raise Refusal(f"Collection.limit: an element has no property {key!r} to sort by")
        elements.sort(key=lambda element: element.properties[key], reverse=not ascending)
    return Collection(tuple(elements[:limit]))


@implements("Collection.map")
def collection_map(collection: Collection, baseAlgorithm: Callable[[Any], Any], dropNulls: bool) -> Collection:  # noqa: N803
    if dropNulls:
        raise Refusal("Collection.map: dropNulls is not implemented")
    mapped = []
    for element in collection.elements:
        out = baseAlgorithm(element)
        if not isinstance(out, Element):
            raise Refusal("Collection.map: a mapped function must return a feature or an image")
        index = element.properties.get("system:index")
        mapped.append(out if index is None else out.with_properties({"system:index": index}))
    return Collection(tuple(mapped))


@implements("Collection.merge")
def collection_merge(collection1: Collection, collection2: Collection) -> Collection:
    return Collection((*collection1.elements, *collection2.elements))


@implements("AggregateFeatureCollection.array")
def aggregate_array(collection: Collection, property_: str) -> list[Any]:
    found = (element.properties.get(property_) for element in collection.elements)
    return [value for value in found if value is not None]


@implements("List.distinct")
def list_distinct(list_: list[Any]) -> list[Any]:
    return list(dict.fromkeys(list_))


@implements("List.map")
def list_map(list_: list[Any], baseAlgorithm: Callable[[Any], Any]) -> list[Any]:  # noqa: N803
    return [baseAlgorithm(value) for value in list_]


# --- Images: where they are from ----------------------------------------------------------------------------------------


@implements("ImageCollection.load")
def image_collection_load(id_: str) -> Collection:
    return Collection(tuple(ARCHIVE[0].collection(id_)))


@implements("Image.load")
def image_load(id_: str) -> Image:
    return ARCHIVE[0].image(id_)


@implements("Image.constant")
def image_constant(value: Any) -> Image:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refusal(f"Image.constant: {value!r} is not implemented, only numbers are")

    def compute(grid: Grid) -> Pixels:
        return Pixels(np.full(grid.shape, float(value)), np.ones(grid.shape, np.bool_))

    return Image(bands={"constant": Band("int32" if isinstance(value, int) else "float64", compute)})


@implements("ImageCollection.fromImages")
def image_collection_from_images(images: Sequence[Image]) -> Collection:
    out = Collection(tuple(images))
    out.images()
    return out


# --- Images: bands ------------------------------------------------------------------------------------------------------


@implements("Image.select")
def image_select(input_: Image, bandSelectors: Sequence[Any]) -> Image:  # noqa: N803
    names = list(input_.bands)
    chosen = [names[selector] if isinstance(selector, int) else selector for selector in bandSelectors]
    for name in chosen:
        if name not in input_.bands:
            raise Refusal(f"Image.select: Band pattern '{name}' did not match any bands. Available bands: {names}")
    return replace(input_, bands={name: input_.bands[name] for name in chosen})


@implements("Image.rename")
def image_rename(input_: Image, names: Sequence[str]) -> Image:
    if len(names) != len(input_.bands):
        raise Refusal(f"Image.rename: {len(names)} names for {len(input_.bands)} bands")
    return replace(input_, bands=dict(zip(names, input_.bands.values(), strict=True)))


@implements("Image.addBands")
def image_add_bands(dstImg: Image, srcImg: Image) -> Image:  # noqa: N803
    if shared := set(dstImg.bands) & set(srcImg.bands):
        raise Refusal(f"Image.addBands: both images have the bands {sorted(shared)}; this server does not rename them")
    return replace(dstImg, bands={**dstImg.bands, **srcImg.bands})


# --- Images: pixel by pixel ---------------------------------------------------------------------------------------------


def _pairwise(name: str, dtype: str | None, compute: Callable[[Any, Any], Any]) -> None:
    @implements(f"Image.{name}")
    def function(image1: Image, image2: Image) -> Image:
        other = image2.only()

        def combined(band: Band) -> Band:
            def on(grid: Grid) -> Pixels:
                one, two = band.on(grid), other.on(grid)
                return Pixels(np.asarray(compute(one.values, two.values), np.float64), one.there & two.there)

            return Band(dtype or ("float64" if "float64" in (band.dtype, other.dtype) else band.dtype), on)

        return replace(image1, bands={key: combined(band) for key, band in image1.bands.items()})


_pairwise("eq", "uint8", operator.eq)
_pairwise("neq", "uint8", operator.ne)
_pairwise("gt", "uint8", operator.gt)
_pairwise("and", "uint8", np.logical_and)
_pairwise("or", "uint8", np.logical_or)
_pairwise("max", None, np.maximum)
_pairwise("add", None, operator.add)


@implements("Image.not")
def image_not(value: Image) -> Image:
    return value.each("uint8", lambda pixels: Pixels((pixels.values == 0).astype(np.float64), pixels.there))


@implements("Image.floor")
def image_floor(value: Image) -> Image:
    return value.each(None, lambda pixels: Pixels(np.floor(pixels.values), pixels.there))


@implements("Image.toFloat")
def image_to_float(value: Image) -> Image:
    return value.each("float32", lambda p: Pixels(p.values.astype(np.float32).astype(np.float64), p.there))


@implements("Image.toUint16")
def image_to_uint16(value: Image) -> Image:
    return value.each("uint16", lambda p: Pixels(np.trunc(np.clip(p.values, 0, 65_535)), p.there))


@implements("Image.mask")
def image_mask(image: Image) -> Image:
    return image.each("float64", lambda p: Pixels(p.there.astype(np.float64), np.ones_like(p.there)))


@implements("Image.updateMask")
def image_update_mask(image: Image, mask: Image) -> Image:
    keep = mask.only()

    def masked(band: Band) -> Band:
        def on(grid: Grid) -> Pixels:
            pixels, kept = band.on(grid), keep.on(grid)
            return Pixels(pixels.values, pixels.there & kept.there & (kept.values != 0))

        return Band(band.dtype, on)

    return replace(image, bands={name: masked(band) for name, band in image.bands.items()})


@implements("Image.unmask")
def image_unmask(input_: Image, value: Image | None, sameFootprint: bool) -> Image:  # noqa: N803
    if sameFootprint:
        raise Refusal("Image.unmask: sameFootprint=true is not implemented")
    filler = image_constant(0).only() if value is None else value.only()

    def filled(band: Band) -> Band:
        def on(grid: Grid) -> Pixels:
            pixels, other = band.on(grid), filler.on(grid)
            return Pixels(np.where(pixels.there, pixels.values, other.values), pixels.there | other.there)

        return Band(band.dtype, on)

    return replace(input_, bands={name: filled(band) for name, band in input_.bands.items()})


# --- Reducers -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Output:
    """One number made of many."""

    name: str
    dtype: str | None
    of: Callable[[np.ndarray[Any, Any], np.ndarray[Any, Any]], Pixels]
    """(n, ...) values and which of them are there -> (...) values."""


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


MEAN = Output("mean", "float64", _mean)
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
    inside = rasterio.features.rasterize([region], out_shape=grid.shape, transform=grid.transform, dtype="uint8") == 1
    answer: dict[str, Any] = {}
    for name, band in image.bands.items():
        pixels = band.on(grid)
        values, there = pixels.values[inside], pixels.there[inside]
        for out in reducer:
            one = out.of(values, there)
            key = name if len(reducer) == 1 else f"{name}_{out.name}"
            whole = out.dtype == "int32"
            answer[key] = (int(one.values) if whole else float(one.values)) if bool(one.there) else None
    return answer


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
