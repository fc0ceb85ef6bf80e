"""A static STAC catalogue seen as Earth Engine's image collections.

Reads with rasterio alone, on purpose: no code of the project takes part.
"""

import datetime as dt
import json
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
import shapely.geometry
from numpy.typing import NDArray
from pyproj import Transformer

from .assumptions import assumed
from .values import Band, Geometry, Grid, Image, Pixels, Refusal

S1_LINEAR, S1_DB = "COPERNICUS/S1_GRD_FLOAT", "COPERNICUS/S1_GRD"
S2 = "COPERNICUS/S2_SR_HARMONIZED"
_S2_ASSETS = {
    "B1": ("coastal", "B01"), "B2": ("blue", "B02"), "B3": ("green", "B03"), "B4": ("red", "B04"), "B5": ("rededge1", "B05"),
    "B6": ("rededge2", "B06"), "B7": ("rededge3", "B07"), "B8": ("nir", "B08"), "B8A": ("nir08", "B8A"), "B9": ("nir09", "B09"),
    "B11": ("swir16", "B11"), "B12": ("swir22", "B12"),
}  # fmt: skip
_PASS_S = 600.0
Json = Mapping[str, Any]


class Archive:
    """The collections and images of one catalogue."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collection(self, id_: str) -> list[Image]:
        if id_ not in (S1_LINEAR, S1_DB, S2):
            raise Refusal(f"ImageCollection.load: ImageCollection asset '{id_}' not found.", status=404)
        return [self._image(id_, name) for name in self._names(id_)]

    def image(self, id_: str) -> Image:
        collection, _, name = id_.rpartition("/")
        if collection not in (S1_LINEAR, S1_DB, S2) or name not in self._names(collection):
            raise Refusal(f"Image.load: Image asset '{id_}' not found (does not exist or caller does not have access).")
        return self._image(collection, name)

    def _names(self, collection: str) -> list[str]:
        return list(self._optical if collection == S2 else self._sar)

    def _image(self, collection: str, name: str) -> Image:
        # Made anew for each request: a band remembers its pixels as long as it lives.
        return _s2_image(*self._optical[name]) if collection == S2 else _s1_image(*self._sar[name], collection == S1_DB)

    @cached_property
    def _sar(self) -> dict[str, tuple[Json, Path]]:
        return self._items("sentinel-1-grd")

    @cached_property
    def _optical(self) -> dict[str, tuple[Json, Path]]:
        items = self._items("sentinel-2-l2a")
        datatakes: dict[tuple[str, Any], list[tuple[float, str]]] = {}
        for name, (item, path) in sorted(items.items(), key=lambda entry: _time_ms(entry[1][0])):
            properties = item["properties"]
            if not properties.get("s2:datatake_id"):
                known = datatakes.setdefault((properties["platform"], properties.get("sat:relative_orbit")), [])
                time = _time_ms(item) / 1000
                if not known or time - known[-1][0] > _PASS_S:
                    known.append((time, f"GS2{properties['platform'][-1].upper()}_{name}"))
                known[-1] = (time, known[-1][1])
                items[name] = ({**item, "properties": {**properties, "s2:datatake_id": known[-1][1]}}, path)
        return items

    def _items(self, collection: str) -> dict[str, tuple[Json, Path]]:
        found = {}
        for path in _item_paths(self._folder / "catalog.json"):
            item = json.loads(path.read_text())
            if item["collection"] == collection:
                found[item["id"]] = (item, path)
        return dict(sorted(found.items()))


@lru_cache(maxsize=4)
def _item_paths(catalog: Path) -> tuple[Path, ...]:
    paths: list[Path] = []
    todo = [catalog]
    while todo:
        here = todo.pop()
        for link in json.loads(here.read_text())["links"]:
            target = (here.parent / link["href"]).resolve()
            if link["rel"] == "child":
                todo.append(target)
            elif link["rel"] == "item":
                paths.append(target)
    return tuple(paths)


def _time_ms(item: Json) -> int:
    time = dt.datetime.fromisoformat(item["properties"]["datetime"])
    return round(time.timestamp() * 1000)


def _s1_image(item: Json, path: Path, decibel: bool) -> Image:
    properties = item["properties"]
    bands = {}
    for polarisation in properties["sar:polarizations"]:
        asset = item["assets"][polarisation.lower()]
        stored_db = str(_band_of(asset).get("unit", "")).lower() == "db"
        bands[polarisation] = _band(item, path, asset, "float32", _backscatter(stored_db, decibel))
    angle = _band(item, path, item["assets"]["angle"], "float32", lambda raw: (raw, np.isfinite(raw)))
    bands["angle"] = (
        Band("float32", angle.smooth, angle.smooth) if assumed().angle == "bilinear" and angle.smooth else angle
    )
    return Image(
        properties={
            "system:index": item["id"],
            "system:time_start": _time_ms(item),
            "instrumentMode": properties["sar:instrument_mode"],
            "transmitterReceiverPolarisation": list(properties["sar:polarizations"]),
            "orbitProperties_pass": properties["sat:orbit_state"].upper(),
            "relativeOrbitNumber_start": properties["sat:relative_orbit"],
            "orbitNumber_start": properties.get("sat:absolute_orbit"),
            "platform_number": properties["platform"][-1].upper(),
            "resolution": "H",
            "resolution_meters": 10,
        },
        geometry=Geometry(
            shapely.LinearRing(shapely.get_coordinates(shapely.geometry.shape(item["geometry"]))), geodesic=True
        ),
        bands=bands,
    )


def _backscatter(stored_db: bool, wanted_db: bool) -> Callable[[NDArray[Any]], tuple[Any, Any]]:
    def convert(raw: NDArray[Any]) -> tuple[Any, Any]:
        there = np.isfinite(raw)
        if stored_db and not wanted_db:
            raw = np.power(np.float32(10), raw / np.float32(10))
        if wanted_db and not stored_db:
            there &= raw > 0
            raw = 10 * np.log10(np.where(there, raw, 1)).astype(np.float32)
        return raw, there

    return convert


def _s2_image(item: Json, path: Path) -> Image:
    properties = item["properties"]
    bands = {}
    for name, keys in _S2_ASSETS.items():
        asset = next((item["assets"][key] for key in (*keys, name) if key in item["assets"]), None)
        if asset is not None:
            bands[name] = _band(item, path, asset, "uint16", _harmonised(properties, _band_of(asset)))
    scl = item["assets"].get("scl") or item["assets"]["SCL"]
    bands["SCL"] = _band(item, path, scl, "uint8", lambda raw: (raw, raw != 0))
    generated = properties.get("s2:generation_time")
    return Image(
        properties={
            "system:index": item["id"],
            "system:time_start": _time_ms(item),
            "SPACECRAFT_NAME": properties["platform"]
            .replace("sentinel-2", "Sentinel-2")
            .upper()
            .replace("SENTINEL", "Sentinel"),
            "SENSING_ORBIT_NUMBER": properties.get("sat:relative_orbit"),
            "DATATAKE_IDENTIFIER": properties["s2:datatake_id"],
            "DATASTRIP_ID": properties.get("s2:datastrip_id"),
            "MGRS_TILE": str(properties.get("grid:code", "")).removeprefix("MGRS-") or None,
            "PROCESSING_BASELINE": properties.get("s2:processing_baseline"),
            "GENERATION_TIME": round(dt.datetime.fromisoformat(generated).timestamp() * 1000) if generated else None,
            "CLOUDY_PIXEL_PERCENTAGE": properties.get("eo:cloud_cover"),
        },
        geometry=Geometry(shapely.geometry.shape(item["geometry"]), geodesic=True),
        bands=bands,
    )


def _harmonised(properties: Json, fields: Json) -> Callable[[NDArray[Any]], tuple[Any, Any]]:
    scale, offset, nodata = fields.get("scale", 1e-4), fields.get("offset", 0), fields.get("nodata", 0)
    if properties.get("earthsearch:boa_offset_applied") is True:
        offset = 0

    def convert(raw: NDArray[Any]) -> tuple[Any, Any]:
        exact = np.round((raw.astype(np.float64) * scale + offset) * 10_000, 6)
        there = raw != nodata
        if offset < 0 and assumed().dark_pixels == "masked":
            there &= exact > 0
        return np.clip(np.floor(exact + 0.5), 0, 65_535), there

    return convert


def _band_of(asset: Json) -> Json:
    fields: Json = (asset.get("raster:bands") or asset.get("bands") or [{}])[0]
    return fields


def _band(item: Json, path: Path, asset: Json, dtype: str, convert: Callable[[NDArray[Any]], tuple[Any, Any]]) -> Band:
    file = (path.parent / asset["href"]).resolve()

    def pixel_of(grid: Grid) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        raw, crs, transform = _raster(file)
        x, y = grid.centres()
        if crs != grid.crs:
            x, y = Transformer.from_crs(grid.crs, crs, always_xy=True).transform(x, y)
        t = ~transform
        return raw, t.d * x + t.e * y + t.f, t.a * x + t.b * y + t.c

    def nearest(grid: Grid) -> Pixels:
        raw, row, column = pixel_of(grid)
        rows, columns = np.floor(row + 1e-6).astype(np.int64), np.floor(column + 1e-6).astype(np.int64)
        within = (columns >= 0) & (rows >= 0) & (columns < raw.shape[1]) & (rows < raw.shape[0])
        values, there = convert(raw[np.where(within, rows, 0), np.where(within, columns, 0)])
        there = there & within
        return Pixels(np.where(there, values, 0).astype(np.float64), there)

    def bilinear(grid: Grid) -> Pixels:
        raw, row, column = pixel_of(grid)
        values, there = convert(raw)
        values = np.where(there, values, 0).astype(np.float64)
        total, weight = np.zeros(row.shape), np.zeros(row.shape)
        top, left = np.floor(row - 0.5).astype(np.int64), np.floor(column - 0.5).astype(np.int64)
        for down in (0, 1):
            for right in (0, 1):
                share = np.abs(1 - down - (row - 0.5 - top)) * np.abs(1 - right - (column - 0.5 - left))
                at = np.clip(top + down, 0, raw.shape[0] - 1), np.clip(left + right, 0, raw.shape[1] - 1)
                total += share * values[at]
                weight += share * there[at]
        within = (row >= 0) & (column >= 0) & (row < raw.shape[0]) & (column < raw.shape[1])
        there = within & (weight > (1 - 1e-9 if assumed().bilinear_edge == "masked" else 1e-9))
        return Pixels(np.where(there, total / np.where(weight > 0, weight, 1), 0.0), there)

    return Band(dtype, nearest, bilinear)


@lru_cache(maxsize=8192)
def _raster(file: Path) -> tuple[NDArray[Any], str, Any]:
    with rasterio.open(file) as dataset:
        return dataset.read(1), f"EPSG:{dataset.crs.to_epsg()}", dataset.transform
