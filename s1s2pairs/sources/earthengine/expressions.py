"""What Earth Engine is asked to compute, as expression graphs. Nothing is sent from here.

Which collections and why:

`COPERNICUS/S1_GRD_FLOAT` holds sigma0 in linear power, the unit in which acquisitions are averaged. `COPERNICUS/S1_GRD` holds the
same scenes in dB; averaging those would be biased low, and turning them back into power first would only add a rounding.

`COPERNICUS/S2_SR_HARMONIZED` has the +1000 of processing baselines from 04.00 on already taken off.

Scenes are named by their `system:index`, which is the same in every copy of an archive.
"""

import datetime as dt
from collections.abc import Sequence
from functools import reduce
from typing import Any

import ee
import shapely.geometry
from odc.geo.geobox import GeoBox
from rasterio.features import shapes

from ...bands import S2_CLEAR_BAND, SCL_CLOUD, SCL_NO_DATA, SCL_SNOW
from ...grid import inside
from .. import Place, SceneIds, Span

SAR_COLLECTION = "COPERNICUS/S1_GRD_FLOAT"
OPTICAL_COLLECTION = "COPERNICUS/S2_SR_HARMONIZED"

SAR_PROPERTIES = (
    "system:index",
    "system:time_start",
    "platform_number",
    "relativeOrbitNumber_start",
    "orbitNumber_start",
    "orbitProperties_pass",
    "resolution_meters",
    "transmitterReceiverPolarisation",
)
OPTICAL_PROPERTIES = (
    "system:index",
    "system:time_start",
    "SPACECRAFT_NAME",
    "SENSING_ORBIT_NUMBER",
    "DATATAKE_IDENTIFIER",
    "DATASTRIP_ID",
    "MGRS_TILE",
    "PROCESSING_BASELINE",
    "GENERATION_TIME",
)
COUNT_BAND = "count"

_MAX_REGION_PIXELS = 1e9
"""`reduceRegion` refuses more than 1e7 pixels unless told otherwise; a ROI of 6 degrees has 1e9 at 20 m."""


def sar_table(place: Place, spans: Sequence[Span], polarisations: Sequence[str]) -> Any:
    """Ask for a row per Sentinel-1 scene: what it is, its footprint, and the mean and count of its angles over the ROI."""
    wanted = [ee.Filter.eq("instrumentMode", "IW")]
    wanted += [ee.Filter.listContains("transmitterReceiverPolarisation", p) for p in polarisations]
    scenes = _matching(SAR_COLLECTION, place, spans).filter(ee.Filter.And(*wanted))
    # Weighted by pixel area, as `mean` is: the region's edges run along pixel edges, so that every pixel weighs 1.
    reducer = ee.Reducer.mean().combine(ee.Reducer.count(), "", True)
    region = _region(place)

    def row(image: Any) -> Any:
        angle = _over_roi(image.select("angle"), reducer, place, region)
        return _row(image, SAR_PROPERTIES, {name: angle.get(name) for name in ("angle_mean", "angle_count")})

    return scenes.map(row)


def optical_table(place: Place, spans: Sequence[Span]) -> Any:
    """Ask for a row per Sentinel-2 scene with its footprint, and a row per datatake with the class counts over the ROI.

    A datatake's counts are of the mosaic of its scenes, because neighbouring tiles overlap; the row says which scenes went in.
    """
    scenes = _matching(OPTICAL_COLLECTION, place, spans)
    region = _region(place)
    datatakes = ee.List(scenes.aggregate_array("DATATAKE_IDENTIFIER")).distinct()

    def row(datatake: Any) -> Any:
        return _class_counts(scenes.filter(ee.Filter.eq("DATATAKE_IDENTIFIER", datatake)), place, region)

    rows = scenes.map(lambda image: _row(image, OPTICAL_PROPERTIES, {}))
    return ee.FeatureCollection(rows).merge(ee.FeatureCollection(datatakes.map(row)))


def class_counts(place: Place, acquisitions: Sequence[SceneIds], *, tile_scale: int = 1) -> Any:
    """Ask for the class counts over the ROI of acquisitions put together by us.

    A higher `tile_scale` (up to 16) makes Earth Engine work in smaller pieces, which takes longer and less memory.
    """
    region = _region(place)
    groups = [ee.ImageCollection([_load(OPTICAL_COLLECTION, id_) for id_ in ids]) for ids in acquisitions]
    return ee.FeatureCollection([_class_counts(group, place, region, tile_scale) for group in groups])


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


def _matching(collection: str, place: Place, spans: Sequence[Span]) -> Any:
    times = [ee.Filter.date(_milliseconds(span.start), _milliseconds(span.end)) for span in spans]
    touching = ee.Geometry(shapely.geometry.mapping(place.polygon), None, False)  # straight in lon/lat, as GeoJSON is
    return (
        ee.ImageCollection(collection)
        .filterBounds(touching)
        .filter(times[0] if len(times) == 1 else ee.Filter.Or(*times))
    )


def _milliseconds(time: dt.datetime) -> int:
    return round(time.timestamp() * 1000)


def _row(image: Any, properties: Sequence[str], measured: dict[str, Any]) -> Any:
    # A property that an image lacks comes back as null.
    return ee.Feature(image.geometry(), {**{name: image.get(name) for name in properties}, **measured})


def _class_counts(scenes: Any, place: Place, region: Any, tile_scale: int = 1) -> Any:
    """Count covered, cloudy and snowy pixels of the ROI in the mosaic of scenes."""

    def seen(image: Any) -> Any:
        classes = image.select("SCL")
        return classes.updateMask(classes.neq(SCL_NO_DATA))

    # `mosaic` lays the last image on top; the scene whose id sorts first is to give the pixel.
    classes = scenes.sort("system:index", False).map(seen).mosaic()
    bands = {
        "covered": classes,
        "cloud": classes.updateMask(_is_any_of(classes, SCL_CLOUD)),
        "snow": classes.updateMask(classes.eq(SCL_SNOW)),
    }
    image = ee.Image.cat([band.rename(name) for name, band in bands.items()])
    counts = _over_roi(image, ee.Reducer.count(), place, region, tile_scale)
    ids = scenes.aggregate_array("system:index")
    return ee.Feature(None, {"scenes": ids, **{name: counts.get(name) for name in bands}})


def _over_roi(image: Any, reducer: Any, place: Place, region: Any, tile_scale: int = 1) -> Any:
    grid = place.analysis_grid
    return image.reduceRegion(
        reducer=reducer,
        geometry=region,
        crs=str(grid.crs),
        crsTransform=list(grid.transform[:6]),
        maxPixels=_MAX_REGION_PIXELS,
        tileScale=tile_scale if tile_scale > 1 else None,
    )


def _region(place: Place) -> Any:
    """Return the ROI's pixels of the analysis grid as a geometry.

    Its edges run along pixel edges, so that there is no doubt which pixel centres lie inside, whoever rasterises it.
    """
    grid: GeoBox = place.analysis_grid
    pixels = inside(place.polygon, grid)
    parts = [
        outline["coordinates"]
        for outline, value in shapes(pixels.astype("uint8"), mask=pixels, connectivity=4, transform=grid.transform)
        if value
    ]
    if len(parts) == 1:
        return ee.Geometry.Polygon(parts[0], str(grid.crs), False)
    return ee.Geometry.MultiPolygon(parts, str(grid.crs), False)


def _is_any_of(classes: Any, values: Sequence[int]) -> Any:
    return reduce(lambda either, one: either.Or(one), [classes.eq(value) for value in values])


def _mosaic(images: Sequence[Any]) -> Any:
    """Lay images side by side, the first on top."""
    return images[0] if len(images) == 1 else ee.ImageCollection(list(reversed(images))).mosaic()
