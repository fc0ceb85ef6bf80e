"""Raster files: how they are written and read."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import rasterio
import rasterio.errors
import rasterio.shutil
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.io import MemoryFile

from ..errors import DatasetError
from ..sensors import Layout
from .storage import Storage

DIGEST_TAG: Final = "S1S2_PLAN_DIGEST"
"""TIFF tag with the digest of the part of the plan a raster was made from."""

_BLOCK_PX: Final = 256
_MOST_PER_BYTE: Final = 1100
"""Bytes that a byte of Deflate may unfold to are 1032; a pixel has two bytes or four."""
_DEFLATE_LEVEL: Final = 1
"""Higher levels gain under 2 % on these noisy data and take up to twice the time."""


def encode(
    pixels: NDArray[Any], *, grid: GeoBox, layout: Layout, tags: Mapping[str, str] | None = None, cog: bool = True
) -> bytes:
    """Return a GeoTIFF with everything said in it; the same input gives the same bytes.

    Deflate with a predictor: every reader of GeoTIFF has it. Overviews are left out: rasters of ROIs are small, and
    pixels that nobody measured do not belong in them.

    Args:
        pixels: (band, y, x) of the layout's dtype.
        grid: Where the pixels lie.
        layout: What the bands hold.
        tags: TIFF tags to add.
        cog: Cloud-optimised, in blocks of 256; else in strips, for small files read whole.
    """
    predictor = 3 if layout.dtype == "float32" else 2
    compression = {"compress": "deflate", "predictor": predictor}
    profile: dict[str, Any] = {
        "width": grid.shape[1],
        "height": grid.shape[0],
        "count": len(layout.bands),
        "dtype": layout.dtype,
        "crs": str(grid.crs),
        "transform": grid.transform,
        "nodata": layout.nodata,
    }
    with rasterio.Env(), MemoryFile() as memory:
        if cog:
            # Copied rather than opened as a COG, which gives the same bytes: closing one opened for writing compresses
            # it while no other thread can run.
            with rasterio.open("", "w", driver="MEM", **profile) as file:
                _fill(file, pixels, layout=layout, tags=tags or {})
                options = {"blocksize": _BLOCK_PX, "overviews": "NONE", "level": _DEFLATE_LEVEL, **compression}
                rasterio.shutil.copy(file, memory.name, driver="COG", **options)
        else:
            options = {"interleave": "band", "zlevel": _DEFLATE_LEVEL, "blockysize": grid.shape[0], **compression}
            with memory.open(driver="GTiff", **options, **profile) as file:
                _fill(file, pixels, layout=layout, tags=tags or {})
        return bytes(memory.getbuffer())


def _fill(file: rasterio.io.DatasetWriter, pixels: NDArray[Any], *, layout: Layout, tags: Mapping[str, str]) -> None:
    file.write(pixels)
    file.descriptions = tuple(band.name for band in layout.bands)
    file.units = tuple(band.unit for band in layout.bands)
    file.scales = tuple(band.scale for band in layout.bands)
    file.update_tags(**tags)
    for number, band in enumerate(layout.bands, start=1):
        file.update_tags(number, MEANING=band.meaning)


@contextlib.contextmanager
def opened(content: bytes, *, name: str) -> Iterator[rasterio.DatasetReader]:
    """Open the bytes of a raster file for reading.

    Raises:
        DatasetError: They are no raster, or the raster is damaged.
    """
    if not content:
        raise DatasetError(f"{name}: the raster is damaged: the file is empty; delete it and build again")
    try:
        with MemoryFile(content) as memory, memory.open() as file:
            _check_size(file, len(content), name)
            yield file
    except (rasterio.errors.RasterioError, rasterio.errors.CRSError, UnicodeDecodeError) as error:
        detail = str(error).rpartition(".tif: ")[2]  # without the made-up name of the file in memory
        raise DatasetError(f"{name}: the raster is damaged: {detail}; delete it and build again") from error


@contextlib.contextmanager
def opened_in(storage: Storage, path: str) -> Iterator[rasterio.DatasetReader]:
    """Open a raster of a dataset: from its file where that is on this machine, so that only what is wanted is read.

    Raises:
        DatasetError: It is missing or damaged.
    """
    if not storage.is_local:
        with opened(storage.read(path), name=storage.where(path)) as file:
            yield file
        return
    try:
        local = storage.local_root / path
        with rasterio.open(local) as file:
            _check_size(file, local.stat().st_size, storage.where(path))
            yield file
    except (rasterio.errors.RasterioError, rasterio.errors.CRSError, UnicodeDecodeError) as error:
        where = storage.where(path)
        raise DatasetError(f"{where}: cannot be read ({error}); run `s1s2 verify`, then build again") from error


def _check_size(file: rasterio.DatasetReader, stored_bytes: int, name: str) -> None:
    """Refuse a damaged header before room is made for what it promises."""
    pixels = file.width * file.height * file.count
    if pixels > _MOST_PER_BYTE * stored_bytes:
        raise DatasetError(
            f"{name}: the raster is damaged: {stored_bytes:,} bytes cannot hold {file.count} bands of {file.height} x "
            f"{file.width} pixels; delete it and build again"
        )


def check_fits(file: rasterio.DatasetReader, grid: GeoBox, *, bands: int, name: str) -> None:
    """Refuse an open raster that cannot be drawn as that of a plan.

    Args:
        file: The raster.
        grid: Where the plan lays it.
        bands: How many the plan names.
        name: Of the file, for messages.

    Raises:
        DatasetError: It has fewer bands or lies elsewhere.
    """
    wrong = _first_difference(_place(file, grid))
    if wrong is None and file.count < bands:
        wrong = f"has {file.count} bands where the plan names {bands}"
    if wrong is not None:
        raise DatasetError(f"{name}: {wrong}; run `s1s2 verify`")


def digest_of(content: bytes) -> str | None:
    """Return the plan digest in a raster's bytes, None where it is no raster or says none."""
    try:
        with opened(content, name="raster") as file:
            value: str | None = file.tags().get(DIGEST_TAG)
    except DatasetError:
        return None
    return value


def decode(content: bytes, *, name: str) -> NDArray[Any]:
    """Return all bands of a raster's bytes, (band, y, x) in the file's dtype.

    Raises:
        DatasetError: They are no raster, or the raster is damaged.
    """
    with opened(content, name=name) as file:
        pixels: NDArray[Any] = file.read()
    return pixels


def mismatch(file: rasterio.DatasetReader, *, grid: GeoBox, layout: Layout) -> str | None:
    """Say how an open raster differs from what it should be: shape, CRS, transform, dtype, bands, units, scales.

    Returns:
        None when nothing differs.
    """
    checks = (
        *_place(file, grid),
        ("dtype", set(file.dtypes), {layout.dtype}),
        ("no-data value", str(file.nodata), str(float(layout.nodata))),
        ("bands", file.descriptions, tuple(band.name for band in layout.bands)),
        ("units", file.units, tuple(band.unit for band in layout.bands)),
        ("scales", file.scales, tuple(band.scale for band in layout.bands)),
    )
    return _first_difference(checks)


_Checks = Iterable[tuple[str, object, object]]
"""What, as found, as wanted."""


def _place(file: rasterio.DatasetReader, grid: GeoBox) -> _Checks:
    return (
        ("shape", (file.height, file.width), tuple(grid.shape)),
        ("CRS", _epsg(file.crs), str(grid.crs)),
        ("transform", tuple(file.transform)[:6], tuple(grid.transform)[:6]),
    )


def _first_difference(checks: _Checks) -> str | None:
    return next((f"{what} is {got}, should be {wanted}" for what, got, wanted in checks if got != wanted), None)


def _epsg(crs: Any) -> str:
    code = crs.to_epsg() if crs else None
    return "none" if code is None else f"EPSG:{code}"
