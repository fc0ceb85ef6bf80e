"""Geometries, filters and collections as Earth Engine has them. Names and arguments are Earth Engine's.

Importing this module, `images` and `reducers` fills `evaluate.IMPLEMENTED`, where the functions are found by those names.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import shapely
import shapely.geometry

from .assumptions import is_broken
from .evaluate import implements
from .values import Collection, Element, Feature, Geometry, Image, Refusal, count_elements

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
    last = 1 if is_broken("date-end") else 0
    return lambda element: leftValue.start <= element.properties[rightField] < leftValue.end + last


@implements("Filter.intersects")
def filter_intersects(leftField: str, rightValue: Any) -> Filter:  # noqa: N803
    if leftField not in (".all", ".geo"):
        raise Refusal(f"Filter.intersects: the field {leftField!r} is not implemented")
    region = rightValue.geometry if isinstance(rightValue, Feature) else rightValue
    if not isinstance(region, Geometry) or region.crs != "EPSG:4326":
        raise Refusal("Filter.intersects: a geometry in lon/lat is wanted")
    prepared = region.shape
    shapely.prepare(prepared)
    if is_broken("bounds"):
        return lambda element: True
    return lambda element: element.geometry is not None and bool(prepared.intersects(element.geometry.straight()))


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
    if property_ == "system:index" and is_broken("scene-index"):
        return "1_" + str(object_.index)
    return object_.properties.get(property_)


@implements("Dictionary.get")
def dictionary_get(dictionary: dict[str, Any], key: str) -> Any:
    if key not in dictionary:
        raise Refusal(f"Dictionary.get: Dictionary does not contain key: '{key}'.")
    return dictionary[key]


@implements("Collection")
def collection(features: Sequence[Element]) -> Collection:
    numbered = (element.with_properties({"system:index": str(i)}) for i, element in enumerate(features))
    return Collection(tuple(numbered))


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
    count_elements(len(collection.elements))
    mapped = []
    for element in collection.elements:
        out = baseAlgorithm(element)
        if not isinstance(out, Element):
            raise Refusal("Collection.map: a mapped function must return a feature or an image")
        mapped.append(out if element.index is None else out.with_properties({"system:index": element.index}))
    return Collection(tuple(mapped))


@implements("Collection.merge")
def collection_merge(collection1: Collection, collection2: Collection) -> Collection:
    """Ids are prefixed, as the signature itself says: `1_` for the first collection's elements, `2_` for the second's."""
    merged = [
        element.with_properties({"system:index": f"{number}_{element.index}"})
        for number, collection in ((1, collection1), (2, collection2))
        for element in collection.elements
    ]
    return Collection(tuple(merged[: len(collection1.elements)] if is_broken("merge") else merged))


@implements("AggregateFeatureCollection.array")
def aggregate_array(collection: Collection, property_: str) -> list[Any]:
    count_elements(len(collection.elements))
    found = (element.properties.get(property_) for element in collection.elements)
    return [value for value in found if value is not None]


@implements("List.distinct")
def list_distinct(list_: list[Any]) -> list[Any]:
    return list(dict.fromkeys(list_))


@implements("List.map")
def list_map(list_: list[Any], baseAlgorithm: Callable[[Any], Any]) -> list[Any]:  # noqa: N803
    return [baseAlgorithm(value) for value in list_]
