"""A STAC archive for `build.py`: made-up scenes as large and as hard to compress as real ones, and a recipe for them."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from s1s2pairs.grid import footprint_lonlat
from s1s2pairs.sensors import S2_BANDS

CRS, ORIGIN, YEARS, ROIS = "EPSG:32631", (450_000, 5_400_000), (2019, 2021), 4
SAR_DATES, OPTICAL_DATES = 10, 5
MARGIN_PX = 300
"""How far scenes reach beyond their ROI on each side."""
BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")


def corner(roi: int, size_px: int) -> tuple[float, float]:
    """Return left and top of a ROI's scenes; ROIs lie a scene apart."""
    return ORIGIN[0] + roi * 10 * (size_px + 2 * MARGIN_PX), float(ORIGIN[1])


def write_archive(root: Path, size_px: int) -> None:
    """Write the archive and a recipe for it."""
    random = np.random.default_rng(1)
    side = size_px + 2 * MARGIN_PX
    speckle = random.gamma(4.4, 0.02, (2, side, side)).astype(np.float32)
    colour = random.integers(200, 5000, (len(BANDS), side, side), dtype=np.uint16)
    links: dict[str, list[str]] = {"sentinel-1-grd": [], "sentinel-2-l2a": []}
    for roi in range(ROIS):
        for year in YEARS:
            for number in range(SAR_DATES):
                at = dt.datetime(year, 5, 15, 17, tzinfo=dt.UTC) + dt.timedelta(days=6 * number)
                moved = np.roll(speckle, 37 * number + 11 * roi, axis=2)
                links["sentinel-1-grd"].append(
                    write_item(root, roi, size_px, at, dict(zip(("vv", "vh"), moved, strict=True)))
                )
            for number in range(OPTICAL_DATES):
                at = dt.datetime(year, 6, 2 + 5 * number, 10, tzinfo=dt.UTC)
                links["sentinel-2-l2a"].append(
                    write_item(root, roi, size_px, at, optical_images(colour, number + 7 * roi))
                )
    for name, hrefs in links.items():
        extent = {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2019-01-01T00:00:00Z", None]]},
        }
        described = {
            "type": "Collection",
            "id": name,
            "description": "benchmark",
            "license": "CC0-1.0",
            "extent": extent,
        }
        items = [{"rel": "item", "href": href} for href in hrefs]
        (root / name / "collection.json").write_text(json.dumps({**described, "stac_version": "1.1.0", "links": items}))
    children = [{"rel": "child", "href": f"./{name}/collection.json"} for name in links]
    catalog = {
        "type": "Catalog",
        "id": "benchmark",
        "stac_version": "1.1.0",
        "description": "benchmark",
        "links": children,
    }
    (root / "catalog.json").write_text(json.dumps(catalog))
    (root / "recipe.geojson").write_text(json.dumps(recipe(size_px)))


def optical_images(colour: NDArray[np.uint16], number: int) -> dict[str, NDArray[Any]]:
    """Return the bands of one date, the last two at half the resolution, with a cloud in the corner."""
    moved = np.roll(colour, 53 * number, axis=2)
    images: dict[str, NDArray[Any]] = {
        name: image if S2_BANDS_BY_NAME[name] == 10 else image[::2, ::2]
        for name, image in zip(BANDS, moved, strict=True)
    }
    scl = np.full((colour.shape[1] // 2, colour.shape[2] // 2), 4, np.uint8)
    scl[: MARGIN_PX // 2 + 20, : MARGIN_PX // 2 + 20] = 9
    return images | {"scl": scl}


S2_BANDS_BY_NAME = {band.common_name: band.resolution_m for band in S2_BANDS.values()}


def write_item(root: Path, roi: int, size_px: int, at: dt.datetime, images: dict[str, NDArray[Any]]) -> str:
    """Write one item with its COGs; returns its link from the collection."""
    radar = "vv" in images
    collection, id_ = (
        ("sentinel-1-grd", f"S1_{roi}_{at:%Y%m%d}") if radar else ("sentinel-2-l2a", f"S2_{roi}_{at:%Y%m%d}")
    )
    folder = root / collection / id_
    folder.mkdir(parents=True)
    left, top = corner(roi, size_px)
    side_m = 10.0 * (size_px + 2 * MARGIN_PX)
    assets = {}
    for name, image in images.items():
        pixel = side_m / len(image)
        nodata = float("nan") if radar else 0
        profile = {"driver": "COG", "crs": CRS, "compress": "DEFLATE", "predictor": "YES", "level": 1, "nodata": nodata}
        shape = {"height": len(image), "width": len(image), "count": 1, "dtype": image.dtype}
        with rasterio.open(
            folder / f"{name}.tif", "w", transform=Affine(pixel, 0, left, 0, -pixel, top), **shape, **profile
        ) as file:
            file.write(image, 1)
        band: dict[str, Any] = {"nodata": "nan" if radar else 0, "data_type": str(image.dtype)}
        if not radar and name != "scl":
            band |= {"scale": 0.0001, "offset": 0}
        transform = [pixel, 0, left, 0, -pixel, top]
        assets[name] = {
            "href": f"./{name}.tif",
            "raster:bands": [band],
            "proj:shape": list(image.shape),
            "proj:transform": transform,
        }
    ground = footprint_lonlat(GeoBox((1, 1), Affine(side_m, 0, left, 0, -side_m, top), CRS))
    properties: dict[str, Any] = {
        "datetime": at.isoformat(),
        "proj:code": CRS,
        "platform": "sentinel-1a" if radar else "sentinel-2a",
    }
    if radar:
        orbit = {"sar:polarizations": ["VV", "VH"], "sat:orbit_state": "ascending", "sat:relative_orbit": 59}
        properties |= {"sar:instrument_mode": "IW", "view:incidence_angle": 40.0, **orbit}
    item = {"type": "Feature", "stac_version": "1.1.0", "id": id_, "collection": collection, "properties": properties}
    item |= {"geometry": ground.__geo_interface__, "bbox": list(ground.bounds), "assets": assets, "links": []}
    (folder / f"{id_}.json").write_text(json.dumps(item))
    return f"./{id_}/{id_}.json"


def recipe(size_px: int) -> dict[str, Any]:
    """Return a recipe of the four ROIs, their grids `size_px` pixels square."""
    to_lonlat = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    features = []
    for roi in range(ROIS):
        left, top = (v + s * 10 * MARGIN_PX for v, s in zip(corner(roi, size_px), (1, -1), strict=True))
        near, far = 4, 10 * size_px - 4
        square = [(near, near), (far, near), (far, far), (near, far), (near, near)]
        ring = [to_lonlat.transform(left + x, top - y) for x, y in square]
        properties = {"name": f"roi-{roi}", "split": "train"}
        features.append(
            {"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        )
    settings = {"s1_acquisitions": [SAR_DATES, SAR_DATES], "s2_composite": "median", "max_cloud_fraction": 0.05}
    return {"type": "FeatureCollection", "name": "benchmark", "s1s2": settings, "features": features}
