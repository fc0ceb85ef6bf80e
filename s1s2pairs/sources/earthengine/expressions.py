"""What Earth Engine is asked to compute, as expression graphs. Nothing is sent from here.

Which collections and why:

`COPERNICUS/S1_GRD_FLOAT` holds sigma0 in linear power, the unit in which acquisitions are averaged. `COPERNICUS/S1_GRD` holds the
same scenes in dB; averaging those would be biased low, and turning them back into power first would only add a rounding.

`COPERNICUS/S2_SR_HARMONIZED` has the +1000 of processing baselines from 04.00 on already taken off.

A search lists scenes with their properties, which aggregates nothing, and then measures those that count: many scenes as
bands of one image, reduced once. (Mapping `reduceRegion` over scenes is what Google's debugging guide warns of, and is refused
as "too many concurrent aggregations".) Scenes are named by their `system:index`, which is the same in every copy of an archive.
It is sent back under a name of our own: features do not carry it among their properties, and merging renames it.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, Final

import ee
import shapely.geometry
from odc.geo.geobox import GeoBox
from rasterio.features import shapes
from shapely.geometry.base import BaseGeometry

from ...acquisitions import RoiGrids, SceneIds, Span
from ...grid import incidence_grid, inside
from ...sensors import S2_CLEAR_BAND, SCL_CLOUD, SCL_NO_DATA, SCL_SNOW

SAR_COLLECTION = "COPERNICUS/S1_GRD_FLOAT"
OPTICAL_COLLECTION = "COPERNICUS/S2_SR_HARMONIZED"

SENSOR: Final = "sensor"
"""Column of a listing that says which sensor's scene a row is: `sar` or `optical`."""
SAR_COLUMNS: Final = {
    "scene": "system:index",
    "time_ms": "system:time_start",
    "platform": "platform_number",
    "relative_orbit": "relativeOrbitNumber_start",
    "absolute_orbit": "orbitNumber_start",
    "orbit_pass": "orbitProperties_pass",
    "resolution_m": "resolution_meters",
    "polarisations": "transmitterReceiverPolarisation",
}
"""Column of a listing -> property of a Sentinel-1 image."""
OPTICAL_COLUMNS: Final = {
    "scene": "system:index",
    "time_ms": "system:time_start",
    "platform": "SPACECRAFT_NAME",
    "relative_orbit": "SENSING_ORBIT_NUMBER",
    "datatake": "DATATAKE_IDENTIFIER",
    "datastrip": "DATASTRIP_ID",
    "tile": "MGRS_TILE",
    "baseline": "PROCESSING_BASELINE",
    "generated_ms": "GENERATION_TIME",
}
"""Column of a listing -> property of a Sentinel-2 image."""
CLASSES: Final = ("covered", "cloud", "snow")
"""What is counted of each optical acquisition."""
COUNT_BAND = "count"

_MAX_REGION_PIXELS = 1e9
"""`reduceRegion` refuses more than 1e7 pixels unless told otherwise; a ROI of 6 degrees has 1e9 at 20 m."""


def listing(roi: BaseGeometry, *, sar: Sequence[Span], optical: Sequence[Span]) -> Any:
    """Ask for a row per scene that touches a ROI: what it is, and its footprint. Nothing is computed from pixels.

    Args:
        roi: Polygon in lon/lat.
        sar: Stretches of time to list Sentinel-1 IW scenes of; none for none.
        optical: The same for Sentinel-2.
    """
    tables = []
    if sar:
        scenes = _matching(SAR_COLLECTION, roi, sar).filter(ee.Filter.eq("instrumentMode", "IW"))
        tables.append(scenes.map(lambda image: _row(image, "sar", SAR_COLUMNS)))
    if optical:
        scenes = _matching(OPTICAL_COLLECTION, roi, optical)
        tables.append(scenes.map(lambda image: _row(image, "optical", OPTICAL_COLUMNS)))
    return reduce(lambda one, other: one.merge(other), map(ee.FeatureCollection, tables))


def _matching(collection: str, roi: BaseGeometry, spans: Sequence[Span]) -> Any:
    times = [ee.Filter.date(_milliseconds(span.start), _milliseconds(span.end)) for span in spans]
    touching = ee.Geometry(shapely.geometry.mapping(roi), None, False)  # straight in lon/lat, as GeoJSON is
    return (
        ee.ImageCollection(collection)
        .filterBounds(touching)
        .filter(times[0] if len(times) == 1 else ee.Filter.Or(*times))
    )


def _milliseconds(time: dt.datetime) -> int:
    return round(time.timestamp() * 1000)


def _row(image: Any, sensor: str, columns: Mapping[str, str]) -> Any:
    # A property that an image lacks comes back as null.
    values = {column: image.get(name) for column, name in columns.items()}
    return ee.Feature(image.geometry(), {SENSOR: sensor, **values})


def class_counts(place: RoiGrids, acquisitions: Sequence[SceneIds], *, tile_scale: int = 1) -> Any:
    """Ask how many pixels of the ROI are covered, cloudy and snowy in each acquisition: one aggregation.

    Args:
        place: The ROI; pixels are those of its analysis grid.
        acquisitions: Scenes of each datatake, the first on top.
        tile_scale: Up to 16; a higher one makes Earth Engine work in smaller pieces, which takes longer and less memory.

    Returns:
        A dictionary `<number of the acquisition>_<class>` -> pixels; `answers.class_counts` reads it.
    """
    bands = [
        band.rename(counted_band(number, name))
        for number, ids in enumerate(acquisitions)
        for name, band in _classes(ids).items()
    ]
    region = region_of(place.polygon, place.analysis_grid)
    return over(_side_by_side(bands), ee.Reducer.count(), region, place.analysis_grid, tile_scale)


def counted_band(number: int, name: str) -> str:
    """Return the name under which a class of the n-th acquisition is counted."""
    return f"n{number}_{name}"


def _classes(ids: SceneIds) -> dict[str, Any]:
    """Return, for each of `CLASSES`, an image that has a value just in the pixels of that class."""

    def seen(id_: str) -> Any:
        classes = _load(OPTICAL_COLLECTION, id_).select("SCL")
        return classes.updateMask(classes.neq(SCL_NO_DATA))

    classes = _mosaic([seen(id_) for id_ in ids])
    cloud = classes.updateMask(_is_any_of(classes, SCL_CLOUD))
    return {"covered": classes, "cloud": cloud, "snow": classes.updateMask(classes.eq(SCL_SNOW))}


def incidence_angles(place: RoiGrids, scene_ids: Sequence[str], *, tile_scale: int = 1) -> Any:
    """Ask for mean and count of the incidence angle of each scene over the points of the ROI's incidence grid: one aggregation.

    Earth Engine holds the angle at points some 15 km apart, so it is interpolated; nearest neighbour would be off by up to
    half a degree.

    Returns:
        A dictionary `<number of the scene>_mean`, `..._count`; `answers.incidence` reads it.
    """
    bands = [
        _load(SAR_COLLECTION, id_).select("angle").resample("bilinear").rename(angle_band(number))
        for number, id_ in enumerate(scene_ids)
    ]
    grid = incidence_grid(place.analysis_grid)
    # Weighted by the share of each pixel in the region: its edges run along pixel edges, so that every pixel weighs 1.
    reducer = ee.Reducer.mean().combine(ee.Reducer.count(), "", True)
    return over(_side_by_side(bands), reducer, region_of(place.polygon, grid), grid, tile_scale)


def angle_band(number: int) -> str:
    """Return the name under which the n-th scene's angle is measured."""
    return f"n{number}"


def sar_mean(acquisitions: Sequence[SceneIds], polarisations: Sequence[str]) -> Any:
    """Ask for the mean of acquisitions in linear power, float32, and how many were averaged; 0 where there is none."""

    def valid_part(id_: str) -> Any:
        image = _load(SAR_COLLECTION, id_).select(list(polarisations))
        whole = image.mask().reduce(ee.Reducer.min())
        return image.updateMask(whole).updateMask(image.gt(0).reduce(ee.Reducer.min()))

    passes = ee.ImageCollection([_mosaic([valid_part(id_) for id_ in ids]) for ids in acquisitions])
    count = passes.select(0).count().rename(COUNT_BAND)
    # A power of 0 is never valid, so 0 can mean missing; masked pixels have no defined value in NPY.
    return passes.mean().addBands(count).unmask(0, False).toFloat()


def optical_composite(acquisitions: Sequence[SceneIds], bands: Sequence[str]) -> Any:
    """Ask for the median over the clear acquisitions, uint16, and how many were clear; 0 where none was.

    The median of one acquisition is that acquisition: `least_cloudy` needs no graph of its own.
    """

    def valid_part(id_: str) -> Any:
        image = _load(OPTICAL_COLLECTION, id_).select([*bands, "SCL"])
        whole = image.mask().reduce(ee.Reducer.min())
        return image.updateMask(whole).updateMask(image.select("SCL").neq(SCL_NO_DATA))

    def clear_part(ids: SceneIds) -> Any:
        image = _mosaic([valid_part(id_) for id_ in ids])
        # Clouds are taken out after the scenes lie side by side, so that no other scene shows through the hole.
        return image.select(list(bands)).max(1).updateMask(_is_any_of(image.select("SCL"), SCL_CLOUD).Not())

    datatakes = ee.ImageCollection([clear_part(ids) for ids in acquisitions])
    clear = datatakes.select(0).count().rename(S2_CLEAR_BAND)
    return datatakes.median().add(0.5).floor().addBands(clear).unmask(0, False).toUint16()


def _load(collection: str, scene_id: str) -> Any:
    return ee.Image(f"{collection}/{scene_id}")


def over(image: Any, reducer: Any, region: Any, grid: GeoBox, tile_scale: int = 1) -> Any:
    """Ask for the bands of an image reduced over a region, on the pixels of a grid: one aggregation."""
    return image.reduceRegion(
        reducer=reducer,
        geometry=region,
        crs=str(grid.crs),
        crsTransform=list(grid.transform[:6]),
        maxPixels=_MAX_REGION_PIXELS,
        tileScale=tile_scale if tile_scale > 1 else None,
    )


def region_of(polygon: BaseGeometry, grid: GeoBox) -> Any:
    """Return the ROI's pixels of a grid as a geometry.

    Its edges run along pixel edges, so that there is no doubt which pixel centres lie inside, whoever rasterises it.
    """
    pixels = inside(polygon, grid)
    parts = [
        outline["coordinates"]
        for outline, value in shapes(pixels.astype("uint8"), mask=pixels, connectivity=4, transform=grid.transform)
        if value
    ]
    if len(parts) == 1:
        return ee.Geometry.Polygon(parts[0], str(grid.crs), False)
    return ee.Geometry.MultiPolygon(parts, str(grid.crs), False)


def _side_by_side(bands: Sequence[Any]) -> Any:
    """Make one image of many bands, added up pairwise: a graph of hundreds of steps one in the other would be refused."""
    if len(bands) == 1:
        return bands[0]
    half = len(bands) // 2
    return _side_by_side(bands[:half]).addBands(_side_by_side(bands[half:]))


def _is_any_of(classes: Any, values: Sequence[int]) -> Any:
    return reduce(lambda either, one: either.Or(one), [classes.eq(value) for value in values])


def _mosaic(images: Sequence[Any]) -> Any:
    """Lay images side by side, the first on top."""
    return images[0] if len(images) == 1 else ee.ImageCollection(list(reversed(images))).mosaic()
