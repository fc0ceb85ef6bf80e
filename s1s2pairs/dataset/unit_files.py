"""The files of a unit: its raster, and the patches cut from it. The same pixels give the same bytes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .patches import Window, patch_grid
from .rasters import DIGEST_TAG, encode
from .units import Unit


def raster_file(unit: Unit, pixels: NDArray[Any]) -> bytes:
    """Return the raster of a unit as a file.

    Args:
        unit: What it is of.
        pixels: (band, y, x) as `unit.layout` says.
    """
    tags = {DIGEST_TAG: unit.digest, "S1S2_ROI": unit.roi.name, "S1S2_PERIOD": unit.period.label}
    return encode(pixels, grid=unit.choices.grid, layout=unit.layout, tags=tags)


def patch_file(unit: Unit, window: Window, pixels: NDArray[Any]) -> bytes:
    """Return a patch of a unit as a file.

    Args:
        unit: What it is of.
        window: Of the patch.
        pixels: (band, y, x) of the patch alone.
    """
    part = np.ascontiguousarray(pixels)
    return encode(part, grid=patch_grid(unit.choices.grid, window), layout=unit.layout, cog=False)
