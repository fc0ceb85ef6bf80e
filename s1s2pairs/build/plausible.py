"""Whether a raster can be what it is said to be: values that physics does not know stop their ROI."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..dataset.units import Unit
from ..errors import SourceError
from ..sensors import (
    BRIGHTEST_REFLECTANCE,
    REFLECTANCE_SCALE,
    can_be_backscatter,
    can_be_reflectance,
    valid_pixels,
)


def check_plausible(pixels: NDArray[Any], unit: Unit) -> None:
    """Refuse a raster without a value, or with values that the sensor cannot have measured.

    Args:
        pixels: (band, y, x) as `unit.layout` says.
        unit: What the raster is.

    Raises:
        SourceError: Radar that is nowhere below 0 dB or nowhere above -50 dB; reflectance above
            `BRIGHTEST_REFLECTANCE` in most pixels; not one valid pixel.
    """
    valid = valid_pixels(pixels, unit.sensor)
    scenes = [scene for scenes in unit.scenes for scene in scenes]
    where = f"{unit.raster_path} ({len(scenes)} scenes, the first {scenes[0]})"
    if not valid.any():
        raise SourceError(f"{where}: not one valid pixel; {_CHECK[unit.sensor]}")
    values = pixels[:-1, valid]
    if unit.sensor == "s1":
        low, high = float(values.min()), float(values.max())
        if not can_be_backscatter(low, high):
            raise SourceError(f"{where}: expected backscatter, found {low:.1f} to {high:.1f} dB; {_CHECK['s1']}")
        return
    bright = float(np.mean(values > BRIGHTEST_REFLECTANCE * REFLECTANCE_SCALE))
    if not can_be_reflectance(bright):
        raise SourceError(
            f"{where}: reflectance above {BRIGHTEST_REFLECTANCE:g} in {bright:.0%} of the values; {_CHECK['s2']}"
        )


_CHECK: Final = {
    "s1": "check that the items' assets hold linear power, or state `raster:bands` unit `dB` where they hold dB, and `nodata`",
    "s2": "check `raster:bands` scale, offset and nodata of the items' assets",
}
