"""Writing a static STAC 1.1 catalogue of cloud optimised GeoTIFFs, byte for byte the same every time."""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
import shapely.geometry
from numpy.typing import NDArray

from ..files import write_whole
from ..sensors import S2_BANDS
from .cog import rounded, stored_reflectance, write_cog
from .noise import Floats
from .scenes import OpticalScene, SarScene
from .site import Outline, Site, footprint_lonlat

STAC_VERSION: Final = "1.1.0"
_SAR_EXTENSIONS: Final = ("projection/v2.0.0", "sar/v1.0.0", "sat/v1.0.0", "view/v1.0.0", "raster/v1.1.0")
_OPTICAL_EXTENSIONS: Final = (
    "projection/v2.0.0",
    "eo/v1.1.0",
    "sat/v1.0.0",
    "view/v1.0.0",
    "raster/v1.1.0",
    "grid/v1.1.0",
)
_COG_TYPE: Final = "image/tiff; application=geotiff; profile=cloud-optimized"

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenItem:
    """What the catalogue needs to know of an item that lies on disk."""

    collection: str
    id: str
    datetime: str
    bbox: tuple[float, float, float, float]


def write_sar_item(
    root: Path, site: Site, scene: SarScene, sigma0: NDArray[np.float32], angle: NDArray[np.float32]
) -> WrittenItem:
    """Write one Sentinel-1 item and its three assets.

    Args:
        root: the catalogue's folder.
        site: where.
        scene: which slice.
        sigma0: (polarisation, y, x) float32 linear power on the outline's pixels, NaN where missing. VV, VH.
        angle: (y, x) float32 degrees from the ellipsoid normal on pixels of twice the size, NaN where missing.
    """
    over, view = scene.overflight, scene.orbit.view
    letter = over.platform[-1].upper()
    span = f"{_compact(scene.start)}_{_compact(scene.end)}_{over.absolute_orbit:06d}"
    name = f"S1{letter}_IW_GRDH_1SDV_{span}_{site.name}"
    folder = root / "sentinel-1-grd" / name
    folder.mkdir(parents=True, exist_ok=True)
    pixel = site.pixel_m
    assets: Json = {}
    for key, image in (("vv", sigma0[0]), ("vh", sigma0[1])):
        write_cog(folder / f"{key}.tif", rounded(image), site.epsg, scene.outline.transform(pixel), nodata=np.nan)
        band: Json = {"data_type": "float32", "nodata": "nan", "unit": "1", "spatial_resolution": pixel}
        assets[key] = _asset(f"{key.upper()} sigma0, linear power", ["data"], band, scene.outline, key)
        assets[key]["sar:polarizations"] = [key.upper()]
    coarse = 2 * pixel
    write_cog(folder / "angle.tif", angle, site.epsg, scene.outline.transform(coarse), nodata=np.nan)
    band = {"data_type": "float32", "nodata": "nan", "unit": "degree", "spatial_resolution": coarse}
    assets["angle"] = _asset("incidence angle from the ellipsoid normal", ["metadata"], band, scene.outline, "angle")
    properties: Json = {
        "datetime": _iso(scene.start),
        "start_datetime": _iso(scene.start),
        "end_datetime": _iso(scene.end),
        "platform": over.platform,
        "constellation": "sentinel-1",
        "instruments": ["c-sar"],
        "sar:instrument_mode": "IW",
        "sar:frequency_band": "C",
        "sar:product_type": "GRD",
        "sar:polarizations": ["VV", "VH"],
        "sar:observation_direction": "right",
        "sat:orbit_state": view.orbit_pass,
        "sat:relative_orbit": over.relative_orbit,
        "sat:absolute_orbit": over.absolute_orbit,
        "view:incidence_angle": round(float(np.nanmean(angle)), 3),
    }
    item = _item("sentinel-1-grd", name, properties, assets)
    return _write_item(root, item | {"stac_extensions": _schemas(_SAR_EXTENSIONS)}, site, scene.outline)


def write_optical_item(
    root: Path,
    scene: OpticalScene,
    bands: Mapping[str, Floats],
    scl: NDArray[np.uint8],
    sun_deg: tuple[float, float],
) -> WrittenItem:
    """Write one Sentinel-2 item and its eleven assets.

    Args:
        root: the catalogue's folder.
        scene: which tile and processing.
        bands: band name -> (y, x) reflectance on the outline's pixels, 20 m bands on pixels of twice the size; NaN where missing.
        scl: (y, x) uint8 scene classes on pixels of twice the size, 0 where missing.
        sun_deg: azimuth and elevation of the sun.
    """
    site, take, processing = scene.site, scene.datatake, scene.processing
    name = f"S2{take.letter}_{scene.tile}_{scene.sensed:%Y%m%d}_{scene.sequence}_L2A_{site.name}"
    folder = root / "sentinel-2-l2a" / name
    folder.mkdir(parents=True, exist_ok=True)
    assets: Json = {}
    for band_name, reflectance in bands.items():
        known = S2_BANDS[band_name]
        pixel = site.pixel_m * known.resolution_m / 10
        stored = stored_reflectance(reflectance, processing.offset)
        write_cog(folder / f"{known.common_name}.tif", stored, site.epsg, scene.outline.transform(pixel), nodata=0)
        band: Json = {
            "data_type": "uint16",
            "nodata": 0,
            "scale": 0.0001,
            "offset": processing.offset,
            "unit": "1",
            "spatial_resolution": pixel,
        }
        asset = _asset(known.padded_name, ["data", "reflectance"], band, scene.outline, known.common_name)
        asset["eo:bands"] = [{"name": known.common_name, "center_wavelength": known.centre_um}]
        assets[known.common_name] = asset
    coarse = 2 * site.pixel_m
    write_cog(folder / "scl.tif", scl, site.epsg, scene.outline.transform(coarse), nodata=0)
    band = {"data_type": "uint8", "nodata": 0, "spatial_resolution": coarse}
    assets["scl"] = _asset("scene classification", ["data"], band, scene.outline, "scl")
    item = _item("sentinel-2-l2a", name, _optical_properties(scene, scl, sun_deg), assets)
    return _write_item(root, item | {"stac_extensions": _schemas(_OPTICAL_EXTENSIONS)}, site, scene.outline)


def write_catalog(root: Path, description: str, items: Sequence[WrittenItem], extra: Json) -> None:
    """Write the collections and, last of all, `catalog.json`: a folder without it is not a finished archive."""
    titles = {
        "sentinel-1-grd": "Simulated Sentinel-1 IW GRD, sigma0",
        "sentinel-2-l2a": "Simulated Sentinel-2 L2A surface reflectance",
    }
    for collection, title in titles.items():
        mine = sorted((item for item in items if item.collection == collection), key=lambda item: item.id)
        _write_json(root / collection / "collection.json", _collection(collection, title, mine))
    links = [{"rel": "root", "href": "./catalog.json", "type": "application/json"}]
    links += [{"rel": "child", "href": f"./{name}/collection.json", "type": "application/json"} for name in titles]
    catalog = {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "id": "s1s2-simulated",
        "description": description,
        **extra,
        "links": links,
    }
    _write_json(root / "catalog.json", catalog)


def _optical_properties(scene: OpticalScene, scl: NDArray[np.uint8], sun_deg: tuple[float, float]) -> Json:
    take, processing = scene.datatake, scene.processing
    number = processing.baseline
    # A datatake's recording starts long before it reaches the place.
    recording = take.acquired_at - dt.timedelta(seconds=200)
    observed = scl[scl != 0]
    cloudy = float(np.isin(observed, (8, 9, 10)).mean()) if observed.size else 0.0
    return {
        "datetime": _iso(scene.sensed),
        "platform": take.platform,
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "eo:cloud_cover": round(100.0 * cloudy, 4),
        "grid:code": f"MGRS-{scene.tile}",
        "sat:orbit_state": "descending",
        "sat:relative_orbit": take.relative_orbit,
        "sat:absolute_orbit": take.absolute_orbit,
        "view:sun_azimuth": round(sun_deg[0], 3),
        "view:sun_elevation": round(sun_deg[1], 3),
        "s2:datatake_id": f"GS2{take.letter}_{_compact(recording)}_{take.absolute_orbit:06d}_N{number}",
        "s2:datastrip_id": (
            f"S2{take.letter}_OPER_MSI_L2A_DS_SIMU_{_compact(processing.generated)}_S{_compact(recording)}_N{number}"
        ),
        "s2:processing_baseline": number,
        "s2:generation_time": _iso(processing.generated),
    }


def _schemas(names: Sequence[str]) -> list[str]:
    return [f"https://stac-extensions.github.io/{name}/schema.json" for name in names]


def _item(collection: str, name: str, properties: Json, assets: Json) -> Json:
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "id": name,
        "collection": collection,
        "properties": properties,
        "assets": assets,
        "links": [
            {"rel": "root", "href": "../../catalog.json", "type": "application/json"},
            {"rel": "parent", "href": "../collection.json", "type": "application/json"},
            {"rel": "collection", "href": "../collection.json", "type": "application/json"},
        ],
    }


def _write_item(root: Path, item: Json, site: Site, cut: Outline) -> WrittenItem:
    """Add where the item lies, and write it."""
    ground = footprint_lonlat(site, cut.footprint)
    west, south, east, north = (round(value, 8) for value in ground.bounds)
    item["geometry"], item["bbox"] = shapely.geometry.mapping(ground), [west, south, east, north]
    item["properties"] |= {
        "proj:code": f"EPSG:{site.epsg}",
        "proj:shape": list(cut.shape(site.pixel_m)),
        "proj:transform": list(cut.transform(site.pixel_m)[:6]),
        "proj:bbox": list(cut.bounds),
    }
    _write_json(root / item["collection"] / item["id"] / f"{item['id']}.json", item)
    return WrittenItem(
        collection=item["collection"],
        id=item["id"],
        datetime=item["properties"]["datetime"],
        bbox=(west, south, east, north),
    )


def _asset(title: str, roles: list[str], band: Json, cut: Outline, key: str) -> Json:
    pixel = band["spatial_resolution"]
    return {
        "href": f"./{key}.tif",
        "type": _COG_TYPE,
        "roles": roles,
        "title": title,
        "gsd": pixel,
        "proj:shape": list(cut.shape(pixel)),
        "proj:transform": list(cut.transform(pixel)[:6]),
        "raster:bands": [band],
    }


def _collection(name: str, title: str, items: Sequence[WrittenItem]) -> Json:
    boxes = np.array([item.bbox for item in items]) if items else np.array([[-180.0, -90.0, 180.0, 90.0]])
    times = sorted(item.datetime for item in items)
    links = [
        {"rel": "root", "href": "../catalog.json", "type": "application/json"},
        {"rel": "parent", "href": "../catalog.json", "type": "application/json"},
    ]
    links += [{"rel": "item", "href": f"./{item.id}/{item.id}.json", "type": "application/geo+json"} for item in items]
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "id": name,
        "title": title,
        "description": f"{title}. Not real data: no satellite took these images.",
        "license": "CC0-1.0",
        "extent": {
            "spatial": {"bbox": [[float(value) for value in (*low, *high)]]},
            "temporal": {"interval": [[times[0], times[-1]] if times else [None, None]]},
        },
        "links": links,
    }


def _write_json(path: Path, value: Json) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(value, indent=1) + "\n").encode())


def _compact(at: dt.datetime) -> str:
    return at.strftime("%Y%m%dT%H%M%S")


def _iso(at: dt.datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
