"""Whether inputs can be what they are said to be, and lie on a grid like the one the network was trained on."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pyproj import Geod, Transformer
from pyproj.exceptions import ProjError
from rasterio.windows import Window

from s1s2pairs.errors import RunError
from s1s2pairs.progress import Progress, stage
from s1s2pairs.sensors import (
    BRIGHTEST_REFLECTANCE,
    REFLECTANCE_SCALE,
    can_be_backscatter,
    can_be_reflectance,
)

from .inputs import InputFile, Inputs

IMPLAUSIBLE_REFLECTANCE: Final = 100.0
"""Above it, values are no reflectance but stored integers whose scale the file does not tell."""
FAINTEST_REFLECTANCE: Final = 0.0005
"""A scene that is nowhere brighter in any band was scaled twice: reflectance of 0 to 1 taken for stored integers."""
PIXEL_TOLERANCE: Final = 0.01
"""Share by which pixels may be larger or smaller than those the network was trained on."""
_BLOCK_PX: Final = 512


def check_values(scene: Inputs, progress: Progress) -> None:
    """Read all inputs through once, and refuse what no sensor can have measured.

    Args:
        scene: An open scene.
        progress: Told how far it is.

    Raises:
        RunError: An input without a valid pixel, or none that all inputs share; radar that is nowhere below 0 dB or
            nowhere above -50 dB; reflectance above `BRIGHTEST_REFLECTANCE` in most pixels of a band, above
            `IMPLAUSIBLE_REFLECTANCE` anywhere, or nowhere above `FAINTEST_REFLECTANCE`.
    """
    height, width = scene.shape
    seen = [_Seen(file) for file in scene.files]
    shared = 0
    with stage(progress, "checking inputs", height):
        for rows, windows in _blocks(height, width):
            for window in windows:
                valid = [one.add(window) for one in seen]
                shared += int(np.all(valid, axis=0).sum())
            progress.step(steps=rows)
    for one in seen:
        one.check()
    if not shared:
        parts = ", ".join(f"{one.file.stack.key} in {one.count / (height * width):.1%}" for one in seen)
        raise RunError(
            f"no pixel has values in all inputs ({parts} of the pixels): there is nothing to predict; check the files' "
            "nodata, and give inputs that overlap"
        )


def check_grid(scene: Inputs, trained_m: Sequence[float], *, any_pixel_size: bool, note: Callable[[str], None]) -> None:
    """Refuse a grid in degrees, and pixels of another size than the network was trained on.

    Args:
        scene: An open scene.
        trained_m: Pixel sizes of what the network was trained on, metres; none when the run does not tell.
        any_pixel_size: Take pixels of any size.
        note: Told what could not be checked.

    Raises:
        RunError: A geographic CRS, or pixels that differ by more than `PIXEL_TOLERANCE`.
    """
    path = scene.files[0].path
    if scene.crs and scene.crs.is_geographic:
        raise RunError(
            f"{path} lies on a grid in degrees ({_name(scene)}): its pixels are not square on the ground; reproject all "
            "inputs to UTM (gdalwarp -t_srs EPSG:326xx or EPSG:327xx, xx being the zone) before they are translated"
        )
    if any_pixel_size:
        return
    if not trained_m:
        note("The run does not say on which pixel size it was trained, so that of the inputs was not checked.")
        return
    size = _ground_pixel_m(scene)
    if size is None:
        note(f"{path} does not say where on Earth it lies, so its pixel size was not checked.")
        return
    if not any(all(abs(side / wanted - 1) <= PIXEL_TOLERANCE for side in size) for wanted in trained_m):
        wanted_text = " or ".join(f"{wanted:g}" for wanted in trained_m)
        raise RunError(
            f"{path} has pixels of {size[0]:.3g} x {size[1]:.3g} m on the ground ({_name(scene)}), the network was trained "
            f"on pixels of {wanted_text} m; resample all inputs in UTM to {wanted_text} m (gdalwarp -tr), or take the pixels as "
            "they are with --any-pixel-size"
        )


class _Seen:
    """What was seen of one input so far."""

    def __init__(self, file: InputFile) -> None:
        self.file = file
        bands = len(file.stack.bands)
        self.count = 0
        """Valid pixels."""
        self.low, self.high = np.full(bands, np.inf), np.full(bands, -np.inf)
        self.bright = np.zeros(bands)
        """Values above `BRIGHTEST_REFLECTANCE`, per band."""

    def add(self, window: Window) -> NDArray[np.bool_]:
        """Look at a window; returns which of its pixels are valid, (y, x)."""
        pixels, valid = self.file.read(window)
        values = pixels[:, valid]
        self.count += values.shape[1]
        self.low = np.minimum(self.low, values.min(axis=1, initial=np.inf))
        self.high = np.maximum(self.high, values.max(axis=1, initial=-np.inf))
        self.bright += (values > BRIGHTEST_REFLECTANCE).sum(axis=1)
        return valid

    def check(self) -> None:
        """Refuse what cannot be."""
        where = f"{self.file.stack.key}: {self.file.path}"
        if not self.count:
            raise RunError(
                f"{where}: not one valid pixel in {', '.join(self.file.stack.bands)}; check its nodata, and that it covers "
                "the place"
            )
        if self.file.stack.sensor == "s1":
            self._check_radar(where)
        else:
            self._check_optical(where)

    def _check_radar(self, where: str) -> None:
        for band, low, high in zip(self.file.stack.bands, self.low, self.high, strict=True):
            if can_be_backscatter(low, high):
                continue
            found = f"{where}: the values of band {band}, {low:.3g} to {high:.3g}, are no backscatter in dB"
            if low >= 0:
                raise RunError(
                    f"{found}, which is below 0 somewhere in any scene; this looks like linear power: give 10 * log10 of it, "
                    "and set the band's unit to dB"
                )
            raise RunError(f"{found}, which is above -50 somewhere in any scene; check the band's scale and nodata")

    def _check_optical(self, where: str) -> None:
        scale = 1 / REFLECTANCE_SCALE
        for band, high, bright in zip(self.file.stack.bands, self.high, self.bright / self.count, strict=True):
            if high > IMPLAUSIBLE_REFLECTANCE or not can_be_reflectance(bright):
                raise RunError(
                    f"{where}: reflectance up to {high:.4g} in band {band}, above {BRIGHTEST_REFLECTANCE:g} in {bright:.0%} of "
                    f"its pixels; reflectance lies around 0 to 1; set the bands' scale in the file (gdal_edit -scale {scale} "
                    f"for reflectance x {REFLECTANCE_SCALE}), or divide the values"
                )
        if self.high.max() < FAINTEST_REFLECTANCE:
            raise RunError(
                f"{where}: reflectance of {self.high.max():.2g} at most, in all bands, after the file's scale; no scene is that "
                "dark; values of 0 to 1 need the scale 1 (gdal_edit -scale 1) and floats, or multiply them by "
                f"{REFLECTANCE_SCALE} and store integers"
            )


def _blocks(height: int, width: int) -> Iterator[tuple[int, list[Window]]]:
    """Yield rows, and the windows side by side in them, down a scene."""
    for row in range(0, height, _BLOCK_PX):
        rows = min(_BLOCK_PX, height - row)
        starts = range(0, width, _BLOCK_PX)
        yield rows, [Window(column, row, min(_BLOCK_PX, width - column), rows) for column in starts]


def _ground_pixel_m(scene: Inputs) -> tuple[float, float] | None:
    """Return width and height on the ground of the pixel in the middle, metres; None where its place is not known.

    On the ground and not in the CRS: a metre of Web Mercator is 0.7 m at 45 degrees of latitude.
    """
    if not scene.crs or not scene.crs.is_projected:
        return None
    row, column = (side // 2 for side in scene.shape)
    corners = [scene.transform @ (column + right, row + down) for right, down in ((0, 0), (1, 0), (0, 1))]
    x, y = zip(*corners, strict=True)
    try:
        lonlat = Transformer.from_crs(scene.crs.to_wkt(), "EPSG:4326", always_xy=True)
        lon, lat = lonlat.transform(x, y, errcheck=True)
    except ProjError:
        return None
    _, _, (width, height) = Geod(ellps="WGS84").inv([lon[0]] * 2, [lat[0]] * 2, lon[1:], lat[1:])
    return width, height


def _name(scene: Inputs) -> str:
    code = scene.crs.to_epsg()
    return f"EPSG:{code}" if code else scene.crs.to_string()
