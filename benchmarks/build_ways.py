"""The ways of getting a plan's pixels that `build.py` times: the plainest, ours, odc-stac's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from s1s2pairs.build.build import build
from s1s2pairs.build.opener import SourceOpener
from s1s2pairs.dataset.patches import patch_grid
from s1s2pairs.dataset.rasters import encode
from s1s2pairs.dataset.units import Unit, units_of
from s1s2pairs.plan.choices import Plan
from s1s2pairs.sensors import S2_BANDS, SCL_CLOUD
from s1s2pairs.sources.registry import open_source

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
