"""How long a build from a STAC archive takes and how much memory, against the plainest reading and against odc-stac.

    python benchmarks/build.py [--size 1000] [--rounds 3] [--folder DIR]

An archive of four ROIs, two years, ten Sentinel-1 and five Sentinel-2 acquisitions each is written first (speckle and noise,
which compress as badly as the real thing; scenes reach beyond the ROIs), and planned once. Then every way of getting the plan's
pixels runs in a process of its own, one after the other in each round, one thread each:

- floor: rasterio reads each window, numpy adds up or sorts. No tiles, no checks, no mosaics, no other grids.
- source: `mean_sar` and `composite_optical` of our STAC source.
- odc-stac: `odc.stac.load`, then mean and median of xarray.
- floor + files: the floor, its rasters and patches written as `build` writes them.
- build: `s1s2 build` from the locked plan, everything included (hashes, index, card).

Wall time on a busy machine says little: processor time is given too. Only ratios within one run count.
"""

import argparse
import datetime as dt
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from s1s2pairs.build.build import build, plan_only
from s1s2pairs.build.opener import SourceOpener
from s1s2pairs.dataset.contents import Unit, units_of
from s1s2pairs.dataset.patches import patch_grid
from s1s2pairs.dataset.rasters import encode
from s1s2pairs.grid import footprint_lonlat
from s1s2pairs.plan.choices import Plan
from s1s2pairs.plan.lock import parse_lock
from s1s2pairs.recipe.parser import parse_recipe
from s1s2pairs.sensors import S2_BANDS, SCL_CLOUD
from s1s2pairs.sources.registry import open_source

CRS, ORIGIN, YEARS, ROIS = "EPSG:32631", (450_000, 5_400_000), (2019, 2021), 4
SAR_DATES, OPTICAL_DATES = 10, 5
MARGIN_PX = 300
"""How far scenes reach beyond their ROI on each side."""
BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")


# --- the archive --------------------------------------------------------------------------------------------------------


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


# --- the ways -----------------------------------------------------------------------------------------------------------

Pixels = Iterator[tuple[Unit, NDArray[Any]]]


def window(path: Path, grid: GeoBox) -> NDArray[Any]:
    """Read the window of a file under `grid`, coarser pixels repeated."""
    with rasterio.open(path) as file:
        left, bottom, right, top = grid.boundingbox.bbox
        image = file.read(1, window=file.window(left, bottom, right, top).round_offsets().round_lengths())
    times = grid.height // len(image)
    return image if times == 1 else image.repeat(times, axis=0).repeat(times, axis=1)


def floor(archive: Path, plan: Plan) -> Pixels:
    """Get every unit's pixels the plainest way."""
    for unit in units_of(plan):
        ids = [ids[0] for ids in unit.scenes]
        grid = unit.choices.grid
        if unit.sensor == "s1":
            folder = archive / "sentinel-1-grd"
            total, count = np.zeros((2, *grid.shape)), np.zeros(grid.shape, np.uint8)
            for id_ in ids:
                image = np.stack([window(folder / id_ / f"{name}.tif", grid) for name in ("vv", "vh")])
                valid = ((image > 0) & np.isfinite(image)).all(axis=0)
                total += np.where(valid, image, 0)
                count += valid
            yield unit, np.concatenate([10 * np.log10(total / count), count[None]]).astype(np.float32)
        else:
            folder = archive / "sentinel-2-l2a"
            clear = np.stack([~np.isin(window(folder / id_ / "scl.tif", grid), (0, *SCL_CLOUD)) for id_ in ids])
            names = [S2_BANDS[band].common_name for band in unit.roi.settings.s2_bands]
            stacks = [np.stack([window(folder / id_ / f"{name}.tif", grid) for id_ in ids]) for name in names]
            for stack in stacks:
                clear &= stack != 0
            yield unit, np.stack([*(middle(stack, clear) for stack in stacks), clear.sum(axis=0)]).astype(np.uint16)


def middle(stack: NDArray[np.uint16], clear: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Return the median of clear values along the first axis: missing ones are 0 and sort first."""
    ascending = np.sort(np.where(clear, stack, 0), axis=0)
    count = clear.sum(axis=0)
    lower = np.take_along_axis(
        ascending, np.minimum(len(stack) - count + (count - 1) // 2, len(stack) - 1)[None], axis=0
    )[0]
    upper = np.take_along_axis(ascending, np.minimum(len(stack) - count + count // 2, len(stack) - 1)[None], axis=0)[0]
    return (lower.astype(np.uint32) + upper + 1) // 2


def source(archive: Path, plan: Plan) -> Pixels:
    """Get every unit's pixels from our source."""
    stac = open_source(str(archive))
    for unit in units_of(plan):
        grid, settings = unit.choices.grid, unit.roi.settings
        if unit.sensor == "s1":
            mean = stac.mean_sar(unit.scenes, polarisations=settings.s1_polarisations, grid=grid)
            yield unit, np.concatenate([10 * np.log10(mean.linear), mean.count[None]]).astype(np.float32)
        else:
            image = stac.composite_optical(
                unit.scenes, bands=settings.s2_bands, method=unit.period.composite, grid=grid
            )
            yield unit, np.concatenate([image.reflectance, image.clear[None]]).astype(np.uint16)


def odc(archive: Path, plan: Plan) -> Pixels:
    """Get every unit's pixels through odc-stac and xarray."""
    import odc.stac  # noqa: PLC0415 - the other ways must not pay for it
    import pystac  # noqa: PLC0415

    for unit in units_of(plan):
        grid, settings = unit.choices.grid, unit.roi.settings
        collection = "sentinel-1-grd" if unit.sensor == "s1" else "sentinel-2-l2a"
        items = [pystac.Item.from_file(archive / collection / i / f"{i}.json") for ids in unit.scenes for i in ids]
        if unit.sensor == "s1":
            loaded = odc.stac.load(items, bands=["vv", "vh"], geobox=grid, resampling="nearest", groupby="solar_day")
            means = [loaded[name].where(loaded[name] > 0).mean("time").values for name in ("vv", "vh")]
            yield (
                unit,
                np.stack([*(10 * np.log10(mean) for mean in means), (loaded.vv > 0).sum("time").values]).astype(
                    np.float32
                ),
            )
        else:
            names = [S2_BANDS[band].common_name for band in settings.s2_bands]
            loaded = odc.stac.load(items, bands=[*names, "scl"], geobox=grid, resampling="nearest", groupby="solar_day")
            clear = ~loaded.scl.isin([0, *SCL_CLOUD])
            medians = [
                loaded[name].where(clear & (loaded[name] != 0)).median("time").fillna(0).values for name in names
            ]
            yield unit, np.floor(np.stack([*medians, clear.sum("time").values]) + 0.5).astype(np.uint16)


def only_pixels(way: Callable[[Path, Plan], Pixels], check: Path | None) -> Callable[[Path, Plan, Path], None]:
    """Go through the pixels; the first unit of each sensor is kept for comparison when `check` is given."""

    def run(archive: Path, plan: Plan, _out: Path) -> None:
        for unit, pixels in way(archive, plan):
            if check is not None and unit.roi.name == "roi-0":
                np.save(check / f"{way.__name__}_{unit.period.label}_{unit.sensor}.npy", pixels)

    return run


def floor_files(archive: Path, plan: Plan, out: Path) -> None:
    """Write the floor's pixels as `build` does, without its hashes and index."""
    for unit, pixels in floor(archive, plan):
        grid = unit.choices.grid
        path = out / unit.raster_path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(pixels, grid=grid, layout=unit.layout))
        for part, name in unit.patch_paths():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            rows, columns = part.slices
            cut = np.ascontiguousarray(pixels[:, rows, columns])
            (out / name).write_bytes(encode(cut, grid=patch_grid(grid, part), layout=unit.layout, cog=False))


def whole_build(archive: Path, plan: Plan, out: Path) -> None:
    """Build from the locked plan."""
    report = build(plan, opener=SourceOpener(name=str(archive)), out=str(out), workers=1)
    assert not report.failed, report.failed


WAYS = ("floor", "source", "odc-stac", "floor + files", "build")


def run_way(name: str, archive: Path, out: Path, check: Path | None) -> dict[str, float]:
    """Run one way in this process; returns seconds, processor seconds and peak memory."""
    ways = {
        "floor": only_pixels(floor, check),
        "source": only_pixels(source, check),
        "odc-stac": only_pixels(odc, check),
        "floor + files": floor_files,
        "build": whole_build,
    }
    plan = parse_lock((archive / "plan.geojson").read_text(), file="plan.geojson")
    begun, used = time.perf_counter(), time.process_time()
    ways[name](archive, plan, out)
    spent = {"s": time.perf_counter() - begun, "cpu_s": time.process_time() - used}
    # Not `getrusage`: its peak begins with that of the process that started this one.
    peak_kib = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return spent | {"mib": int(peak_kib.group(1)) / 1024 if peak_kib else float("nan")}


# --- the table ----------------------------------------------------------------------------------------------------------


def compare(check: Path) -> str:
    """Say how far the pixels of the other ways lie from the floor's."""
    parts = []
    for way in ("source", "odc"):
        worst = {"s1": 0.0, "s2": 0.0}
        for file in check.glob("floor_*.npy"):
            ours, theirs = (np.load(check / file.name.replace("floor", name)).astype(float) for name in ("floor", way))
            sensor = file.stem[-2:]
            worst[sensor] = max(worst[sensor], float(np.nanmax(np.abs(ours - theirs))))
        parts.append(f"{way} within {worst['s1']:.1e} dB and {worst['s2']:g} counts of the floor")
    return "; ".join(parts)


def main() -> None:
    """Write the archive, run all ways in turns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1000, help="side of each ROI, pixels; an even number")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keeps the archive for another run; else a temporary folder")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--check", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        print(json.dumps(run_way(args.way, args.folder, args.out, args.check)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary) / "archive"
        if not (folder / "plan.geojson").exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_archive(folder, args.size)
            text = (folder / "recipe.geojson").read_text()
            parsed = parse_recipe(
                text, file="recipe.geojson", today=dt.date(2026, 1, 1), default_name="benchmark", years=YEARS
            )
            plan_only(parsed, opener=SourceOpener(name=str(folder)), out=f"{temporary}/plan")
            (folder / "plan.geojson").write_bytes((Path(temporary) / "plan" / "recipe.lock.geojson").read_bytes())
        plan = parse_lock((folder / "plan.geojson").read_text(), file="plan.geojson")
        assert all(roi.choices for roi in plan.rois), [roi.failure for roi in plan.rois]
        check = Path(temporary) / "check"
        check.mkdir()
        print(table(measure(folder, Path(temporary), check, args.rounds), plan))
        print("\n" + compare(check))


def measure(folder: Path, temporary: Path, check: Path, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Run every way once a round, each in its own process."""
    results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GDAL_NUM_THREADS"), "1")
    for number in range(rounds + 1):
        for i, way in enumerate(WAYS if number else WAYS[:3]):
            out = temporary / f"out-{number}-{i}"
            command = [sys.executable, __file__, "--folder", str(folder), "--way", way, "--out", str(out)]
            if number == 0:  # fills the page cache and checks the pixels; not timed
                command += ["--check", str(check)]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **one_thread})
            if number:
                results[way].append(json.loads(done.stdout.splitlines()[-1]))
    return results


def table(results: dict[str, list[dict[str, float]]], plan: Plan) -> str:
    """Return the results as a Markdown table."""
    summary = {
        way: {
            "s": min(r["s"] for r in runs),
            "cpu_s": min(r["cpu_s"] for r in runs),
            "mib": max(r["mib"] for r in runs),
        }
        for way, runs in results.items()
    }
    units = units_of(plan)
    grid = units[0].choices.grid
    setting = (
        f"{len(plan.rois)} ROIs of {grid.height} x {grid.width} pixels, {len(units) // len(plan.rois) // 2} periods, "
        f"{len(units[0].scenes)} radar and {len(units[1].scenes)} optical acquisitions each; best of "
        f"{len(results['build'])} rounds, one thread; {os.cpu_count()} cores ({platform.machine()}), "
        f"load {os.getloadavg()[0]:.0f}."
    )
    lines = [
        setting,
        "",
        "| way | wall s | processor s | x floor | peak MiB |",
        "|---|---|---|---|---|",
    ]
    for way, row in summary.items():
        base = summary["floor + files" if way in {"floor + files", "build"} else "floor"]
        lines.append(
            f"| {way} | {row['s']:.1f} | {row['cpu_s']:.1f} | {row['cpu_s'] / base['cpu_s']:.2f} | {row['mib']:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
