"""A tiny STAC archive, written item by item, for the tests of the sources."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely.geometry
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from s1s2pairs.acquisitions import RoiGrids
from s1s2pairs.grid import analysis_grid, footprint_lonlat

EPSG, LEFT, TOP, SIZE_M = 32631, 500_000.0, 5_600_000.0, 640.0
"""The square kilometre and a bit where everything happens: 64 x 64 pixels of 10 m."""


class TinyArchive:
    """Writes COGs, items, collections and the catalogue; items stay editable until `write`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.items: dict[str, dict[str, Any]] = {}

    def raster(
        self, path: Path, values: NDArray[Any], pixel_m: float, *, left: float = LEFT, top: float = TOP, **options: Any
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        profile: dict[str, Any] = {"driver": "COG", "crs": f"EPSG:{EPSG}", "compress": "DEFLATE"} | options
        profile |= {"height": values.shape[0], "width": values.shape[1], "count": 1, "dtype": values.dtype}
        with rasterio.open(path, "w", transform=Affine(pixel_m, 0, left, 0, -pixel_m, top), **profile) as dataset:
            dataset.write(values, 1)

    def add(
        self,
        collection: str,
        id_: str,
        properties: dict[str, Any],
        assets: dict[str, tuple[NDArray[Any], dict[str, Any]]],
        *,
        left: float = LEFT,
        top: float = TOP,
        size_m: float = SIZE_M,
    ) -> dict[str, Any]:
        """Write an item's rasters and keep its text; `assets`: key -> (square image over the whole item, `raster:bands`)."""
        described = {}
        for key, (values, band) in assets.items():
            self.raster(self.root / collection / id_ / f"{key}.tif", values, size_m / len(values), left=left, top=top)
            described[key] = {"href": f"./{key}.tif", "raster:bands": [band]} if band else {"href": f"./{key}.tif"}
        ground = footprint_lonlat(GeoBox((1, 1), Affine(size_m, 0, left, 0, -size_m, top), f"EPSG:{EPSG}"))
        self.items[id_] = {
            "type": "Feature",
            "stac_version": "1.1.0",
            "id": id_,
            "collection": collection,
            "geometry": shapely.geometry.mapping(ground),
            "bbox": list(ground.bounds),
            "properties": {"proj:code": f"EPSG:{EPSG}"} | properties,
            "assets": described,
            "links": [],
        }
        return self.items[id_]

    def sar(
        self, id_: str, time: str, vv: NDArray[Any], vh: NDArray[Any] | None = None, **changes: Any
    ) -> dict[str, Any]:
        """Add a Sentinel-1 item; keywords `left`, `top`, `size_m`, `collection`, `band`, `angle`, or properties (`__` is `:`)."""
        assets = {"vv": (vv, changes.pop("band", {})), "vh": (vv if vh is None else vh, {})}
        assets["vh"] = (assets["vh"][0], assets["vv"][1])
        angle = changes.pop("angle", None)
        if angle is not None:
            assets["angle"] = (np.asarray(angle, np.float32), {"unit": "degree", "nodata": "nan"})
        where = {key: changes.pop(key) for key in ("left", "top", "size_m") if key in changes}
        collection = changes.pop("collection", "sentinel-1-grd")
        properties = {
            "datetime": time,
            "platform": "sentinel-1a",
            "sar:instrument_mode": "IW",
            "sar:polarizations": ["VV", "VH"],
            "sat:orbit_state": "ascending",
            "sat:relative_orbit": 59,
        } | {key.replace("__", ":"): value for key, value in changes.items()}
        return self.add(collection, id_, properties, assets, **where)

    def optical(
        self, id_: str, time: str, scl: NDArray[Any], bands: dict[str, NDArray[Any]], **changes: Any
    ) -> dict[str, Any]:
        """Add a Sentinel-2 item; keywords as for `sar`, `band` None for none."""
        band = changes.pop("band", {"nodata": 0, "scale": 0.0001, "offset": 0})
        where = {key: changes.pop(key) for key in ("left", "top", "size_m") if key in changes}
        assets = {key: (values, band) for key, values in bands.items()} | {
            changes.pop("scl_name", "scl"): (scl, {"nodata": 0})
        }
        properties = {
            "datetime": time,
            "platform": "sentinel-2a",
            "grid:code": "MGRS-31UES",
        } | {key.replace("__", ":"): value for key, value in changes.items()}
        return self.add(changes.get("collection", "sentinel-2-l2a"), id_, properties, assets, **where)

    def write(self) -> Path:
        """Write items, collections and catalogue."""
        collections: dict[str, list[str]] = {}
        for id_, item in self.items.items():
            file = self.root / item["collection"] / id_ / f"{id_}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(item))
            collections.setdefault(item["collection"], []).append(f"./{id_}/{id_}.json")
        for name, hrefs in collections.items():
            (self.root / name / "collection.json").write_text(json.dumps(collection_json(name, hrefs)))
        links = [{"rel": "child", "href": f"./{name}/collection.json"} for name in collections]
        catalog = {"type": "Catalog", "id": "tiny", "stac_version": "1.1.0", "description": "test", "links": links}
        (self.root / "catalog.json").write_text(json.dumps(catalog))
        return self.root


def collection_json(name: str, hrefs: list[str]) -> dict[str, Any]:
    return {
        "type": "Collection",
        "id": name,
        "stac_version": "1.1.0",
        "description": "test",
        "license": "other",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2017-01-01T00:00:00Z", None]]},
        },
        "links": [{"rel": "item", "href": href} for href in hrefs],
    }


@pytest.fixture
def archive(tmp_path: Path) -> TinyArchive:
    return TinyArchive(tmp_path / "archive")


def _place(*, pixel_m: float = 10.0, size_m: float = SIZE_M, left: float = LEFT, top: float = TOP) -> RoiGrids:
    side = int(size_m / pixel_m)
    grid = GeoBox((side, side), Affine(pixel_m, 0, left, 0, -pixel_m, top), f"EPSG:{EPSG}")
    # A little smaller than the grid, so that rounding of lon/lat does not reach the next pixel.
    inner = GeoBox((1, 1), Affine(size_m - 2, 0, left + 1, 0, -size_m + 2, top - 1), f"EPSG:{EPSG}")
    polygon = footprint_lonlat(inner)
    return RoiGrids(name="roi", polygon=polygon, grid=grid, analysis_grid=analysis_grid(polygon, grid))


@pytest.fixture
def make_place() -> Callable[..., RoiGrids]:
    return _place
