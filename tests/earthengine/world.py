"""A tiny STAC archive with everything in it on which two sources could differ: see `write_archive`."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely.geometry
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from s1s2pairs.grid import footprint_lonlat
from s1s2pairs.recipe.parser import parse_recipe
from s1s2pairs.recipe.settings import Recipe

YEARS = (2019, 2021)
LON, LAT = 5.995, 50.0
"""Close to the border of two UTM zones: one Sentinel-2 tile lies in 31, its neighbour in 32."""
_ZONES = {"31UGR": (32631, 714_500, 5_543_300), "32ULA": (32632, 284_780, 5_543_300)}
"""Tile -> EPSG code, left and top of its piece; both cover the ROIs, the second only their eastern part."""
_WIDTH_M, _HEIGHT_M = 1200, 600


def recipe() -> Recipe:
    """Two ROIs of about 25 x 20 pixels, one of them a slanted quadrilateral with a corner cut out."""
    west = [[LON, LAT], [LON + 0.0034, LAT + 0.0003], [LON + 0.003, LAT + 0.0018], [LON + 0.0016, LAT + 0.0011]]
    east = [
        [LON + 0.0042, LAT + 0.0004],
        [LON + 0.007, LAT + 0.0004],
        [LON + 0.007, LAT + 0.002],
        [LON + 0.0042, LAT + 0.002],
    ]
    features = [
        {
            "type": "Feature",
            "properties": {"name": name, "split": split},
            "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
        }
        for name, split, ring in (("west", "train", west), ("east", "test", east))
    ]
    settings = {
        "patch": {"size": 16},
        "s2_bands": ["B4", "B8", "B11"],
        "s1_acquisitions": [3, 4],
        "max_cloud_fraction": 0.35,
        "min_coverage_fraction": 0.9,
        "max_shift_months": 1,
    }
    text = json.dumps({"type": "FeatureCollection", "name": "awkward", "s1s2": settings, "features": features})
    return parse_recipe(text, file="awkward", today=dt.date(2026, 1, 1), default_name="awkward", years=YEARS)


def write_archive(folder: Path) -> Path:
    """Write the archive.

    Radar: two orbits; each pass in two overlapping slices with borders of NaN and of 0, one polarisation missing here and there.
    Optical: two tiles in different UTM zones that overlap; clouds that differ between them; a swath edge; missing pixels in
    single bands; zero reflectance in an image with offset; one datatake processed twice (whole), another processed again for
    one tile only.
    """
    writer = _Writer(folder)
    for year in YEARS:
        for date in range(5):
            for orbit in (37, 161):
                _write_pass(writer, year, date, orbit)
        for number in range(5):
            _write_datatake(writer, year, number)
    writer.finish()
    return folder


def _write_pass(writer: "_Writer", year: int, date: int, orbit: int) -> None:
    time = dt.datetime(year, 5, 22, 17, 32, 9, tzinfo=dt.UTC) + dt.timedelta(
        days=12 * date + (orbit == 161), minutes=orbit % 7
    )
    for number, top in enumerate((5_543_300, 5_543_060)):
        rng = np.random.default_rng([year, date, orbit, number])
        shape = (34, 120)
        vv, vh = rng.gamma(4.4, 0.1 / 4.4, (2, *shape)).astype(np.float32)
        edge = slice(-4, None) if number == 0 else slice(0, 3)
        vv[edge], vh[edge] = (0.0, 0.0) if number == 0 else (np.nan, np.nan)
        vv[rng.random(shape) < 0.02] = np.nan
        vh[rng.random(shape) < 0.02] = 0.0
        columns = np.arange(shape[1], dtype=np.float32)
        angle = (30 + orbit / 10 + columns * np.float32(0.001)) * np.ones(shape, np.float32)
        angle[edge] = np.nan
        known = {} if orbit == 37 else {"sat:absolute_orbit": 175 * (year + date) + orbit}
        writer.item(
            "sentinel-1-grd",
            f"S1A_{year}_{orbit:03d}_{date}_{number}",
            (32631, 714_500, top),
            {
                "datetime": _iso(time + dt.timedelta(seconds=25 * number)),
                "platform": "sentinel-1a",
                "sar:instrument_mode": "IW",
                "sar:polarizations": ["VV", "VH"],
                "sat:orbit_state": "ascending",
                "sat:relative_orbit": orbit,
                **known,
            },
            {
                "vv": (vv, 10, {"nodata": "nan", "unit": "1"}),
                "vh": (vh, 10, {"nodata": "nan", "unit": "1"}),
                "angle": (angle, 10, {"nodata": "nan"}),
            },
        )


def _write_datatake(writer: "_Writer", year: int, number: int) -> None:
    time = dt.datetime(year, 6, 3, 10, 50, 31, 24_000, tzinfo=dt.UTC) + dt.timedelta(days=5 * number)
    for tile in _ZONES:
        _write_granule(writer, time, number, tile, "02.12")
        if number == 1 or (number == 2 and tile == "32ULA"):
            _write_granule(writer, time, number, tile, "05.00")


def _write_granule(writer: "_Writer", time: dt.datetime, number: int, tile: str, baseline: str) -> None:
    rng = np.random.default_rng([time.year, number, ord(tile[1]), baseline == "05.00"])
    shape, coarse = (_HEIGHT_M // 10, _WIDTH_M // 10), (_HEIGHT_M // 20, _WIDTH_M // 20)
    scl = rng.choice([2, 4, 4, 4, 5, 6, 7, 11], coarse, p=[0.1, 0.2, 0.2, 0.2, 0.1, 0.1, 0.09, 0.01]).astype(np.uint8)
    row, column = (int(value) for value in rng.integers(0, 20, 2))
    scl[row : row + 6, column : column + 12] = rng.choice([3, 8, 9, 10])
    if number == 3:  # swath edge
        scl[:, : 30 if tile == "31UGR" else 10] = 0
    raised = 1000 if baseline == "05.00" else 0
    bands = {}
    for key, size in (("red", shape), ("nir", shape), ("swir16", coarse)):
        values = (rng.integers(200, 5000, size) + raised).astype(np.uint16)
        values[rng.random(size) < 0.01] = raised or 1  # reflectance 0 where there is an offset
        values[rng.random(size) < 0.01] = 0  # missing in this band only
        bands[key] = (values, 10 if size == shape else 20, {"nodata": 0, "scale": 0.0001, "offset": -raised / 10_000})
    start = time - dt.timedelta(seconds=200)
    made = dt.datetime(2023 if raised else time.year, 7, 1, tzinfo=dt.UTC)
    writer.item(
        "sentinel-2-l2a",
        f"S2A_{tile}_{time:%Y%m%d}_{baseline}",
        _ZONES[tile],
        {
            "datetime": _iso(time + dt.timedelta(seconds=3 * (tile == "32ULA"))),
            "platform": "sentinel-2a",
            "grid:code": f"MGRS-{tile}",
            "sat:relative_orbit": 51,
            "s2:datatake_id": f"GS2A_{start:%Y%m%dT%H%M%S}_{20_000 + number:06d}_N{baseline}",
            "s2:datastrip_id": f"S2A_OPER_MSI_L2A_DS_X_{made:%Y%m%dT%H%M%S}_S{start:%Y%m%dT%H%M%S}_N{baseline}",
            "s2:processing_baseline": baseline,
            "s2:generation_time": _iso(made),
        },
        {**bands, "scl": (scl, 20, {"nodata": 0})},
    )


class _Writer:
    """Writes rasters, items, and in the end the collections and the catalogue."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._items: dict[str, list[str]] = {}

    def item(
        self,
        collection: str,
        id_: str,
        corner: tuple[int, int, int],
        properties: dict[str, Any],
        images: dict[str, tuple[NDArray[Any], int, dict[str, Any]]],
    ) -> None:
        epsg, left, top = corner
        folder = self._folder / collection / id_
        folder.mkdir(parents=True)
        assets = {}
        for key, (values, pixel_m, described) in images.items():
            transform = Affine(pixel_m, 0, left, 0, -pixel_m, top)
            profile = {"height": values.shape[0], "width": values.shape[1], "count": 1, "dtype": values.dtype}
            with rasterio.open(
                folder / f"{key}.tif", "w", driver="GTiff", crs=f"EPSG:{epsg}", transform=transform, **profile
            ) as file:
                file.write(values, 1)
            assets[key] = {"href": f"./{key}.tif", "raster:bands": [described]}
        values, pixel_m, _ = next(iter(images.values()))
        outline = footprint_lonlat(GeoBox(values.shape, Affine(pixel_m, 0, left, 0, -pixel_m, top), f"EPSG:{epsg}"))
        item = {
            "type": "Feature",
            "stac_version": "1.1.0",
            "id": id_,
            "collection": collection,
            "geometry": shapely.geometry.mapping(outline),
            "bbox": list(outline.bounds),
            "properties": {**properties, "proj:code": f"EPSG:{epsg}"},
            "assets": assets,
            "links": [],
        }
        (folder / f"{id_}.json").write_text(json.dumps(item))
        self._items.setdefault(collection, []).append(f"./{id_}/{id_}.json")

    def finish(self) -> None:
        for collection, hrefs in self._items.items():
            links = [{"rel": "item", "href": href} for href in hrefs]
            text = {
                "type": "Collection",
                "stac_version": "1.1.0",
                "id": collection,
                "description": "awkward",
                "license": "other",
                "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
                "links": links,
            }
            (self._folder / collection / "collection.json").write_text(json.dumps(text))
        children = [{"rel": "child", "href": f"./{collection}/collection.json"} for collection in self._items]
        catalog = {
            "type": "Catalog",
            "stac_version": "1.1.0",
            "id": "awkward",
            "description": "awkward",
            "links": children,
        }
        (self._folder / "catalog.json").write_text(json.dumps(catalog))


def _iso(time: dt.datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
