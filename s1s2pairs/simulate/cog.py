"""Rasters of the archive: how values are stored, and cloud optimised GeoTIFFs, byte for byte the same every time."""

from pathlib import Path
from typing import Any, Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from ..files import write_whole
from .noise import Floats

_MANTISSA_BITS: Final = 12
"""Radar values keep this many: rounding of 0.0005 dB at most, and files two thirds the size."""


def write_cog(path: Path, image: NDArray[Any], epsg: int, transform: Affine, *, nodata: float) -> None:
    """Write one band as a cloud optimised GeoTIFF (DEFLATE, fast rather than small).

    GDAL keeps silent about a disk that has no room for the last bytes of a file, so it writes into memory.
    """
    with MemoryFile() as memory:
        with memory.open(
            driver="COG",
            width=image.shape[1],
            height=image.shape[0],
            count=1,
            dtype=image.dtype,
            crs=f"EPSG:{epsg}",
            transform=transform,
            nodata=nodata,
            compress="DEFLATE",
            level=1,
            predictor="YES",
        ) as dataset:
            dataset.write(image, 1)
        write_whole(path, memory.read())


def stored_reflectance(reflectance: Floats, offset: float) -> NDArray[np.uint16]:
    """Return reflectance as stored: (value - offset) x 10000, at least 1; 0 where missing."""
    scaled = np.rint((reflectance - offset) * 10_000.0)
    return np.where(np.isnan(scaled), 0, np.clip(scaled, 1, 65_535)).astype(np.uint16)


def rounded(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round float32 to fewer mantissa bits (half up in magnitude), which compresses better; NaN stays NaN."""
    dropped = 23 - _MANTISSA_BITS
    bits = image.view(np.uint32).astype(np.uint64) + np.uint64(1 << (dropped - 1))
    kept = (bits & np.uint64(0xFFFFFFFF << dropped & 0xFFFFFFFF)).astype(np.uint32).view(np.float32)
    return np.where(np.isnan(image), np.float32(np.nan), kept)
