"""Small pictures of a dataset's rasters, as data URIs with what their colours mean."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import rasterio
from matplotlib.colors import Colormap
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import Resampling
from rasterio.errors import RasterioError

from .bands import REFLECTANCE_SCALE, S2_NODATA
from .errors import DatasetError

MISSING_RGB = (128, 124, 148)
"""Colour of pixels without a value: a violet grey that no stretch gives to a natural surface."""
JPEG_QUALITY = 80
LOSSLESS_PX = 100
"""Pictures with fewer pixels a side are PNG: enlarged on the page, JPEG's blocks would show."""
CO_DB = (-20.0, 2.0)
"""Shown range of a co-polarised band, dB."""
CROSS_DB = (-27.0, -5.0)
RATIO_DB = (2.0, 16.0)
"""Shown range of co- over cross-polarised power, dB."""
DIFFERENCE_DB = 6.0
DIFFERENCE_NDVI = 0.6
DIFFERENCE_REFLECTANCE = 0.15

Image3 = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class ColourBar:
    """The scale of a picture in one colour ramp."""

    colours: tuple[str, ...]
    """From low to high, evenly spaced, as `#rrggbb`."""
    low: str
    middle: str
    high: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One small picture, ready to be shown."""

    uri: str
    width_px: int
    height_px: int
    enlarged: bool
    """Whether it is so small that its pixels should be seen as squares."""
    legend: str
    """What the colours stand for and their range."""
    bar: ColourBar | None
    missing_fraction: float


def read_small(path: Path, *, bands: int, most_px: int) -> Image3:
    """Read the first bands of a raster, decimated by nearest neighbour.

    Args:
        path: GeoTIFF.
        bands: How many.
        most_px: Most rows and columns returned.

    Returns:
        (band, y, x) float32, values as stored, NaN where missing.

    Raises:
        DatasetError: The file is missing or damaged, or has fewer bands.
    """
    try:
        with rasterio.open(path) as raster:
            if raster.count < bands:
                raise DatasetError(f"{path}: has {raster.count} bands where the plan names {bands}; run `s1s2 verify`")
            factor = max(1.0, max(raster.shape) / most_px)
            shape = tuple(max(1, int(side / factor)) for side in raster.shape)
            values = raster.read(list(range(1, bands + 1)), out_shape=(bands, *shape), resampling=Resampling.nearest)
    except RasterioError as error:
        raise DatasetError(f"{path}: cannot be read ({error}); run `s1s2 verify`, then build again") from error
    small: Image3 = values.astype(np.float32)
    if values.dtype == np.uint16:
        small[values == S2_NODATA] = np.nan
    return small


def halve(values: Image3) -> Image3:
    """Average blocks of 2 x 2 pixels over the values there are; an odd last row or column is left out.

    Args:
        values: (band, y, x) float32, NaN where missing. Power for radar, never dB.
    """
    bands, rows, columns = values.shape
    if min(rows, columns) < 2:
        return values
    blocks = values[:, : rows // 2 * 2, : columns // 2 * 2].reshape(bands, rows // 2, 2, columns // 2, 2)
    count = np.isfinite(blocks).sum(axis=(2, 4))
    total = np.nansum(blocks, axis=(2, 4))
    mean: Image3 = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
    return mean


def halve_db(values: Image3) -> Image3:
    """As `halve`, for dB: averaged in linear power."""
    linear = (10 ** (values / 10)).astype(np.float32)
    return (10 * np.log10(halve(linear))).astype(np.float32)


def radar_picture(decibels: Image3, *, polarisations: Sequence[str], backscatter: str) -> Picture:
    """Draw a radar image: colours from co- and cross-polarised power and their ratio, else the first band in grey.

    Args:
        decibels: (band, y, x) float32, dB, NaN where missing.
        polarisations: Names of the bands.
        backscatter: `sigma0` or `gamma0`.
    """
    pair = next((p for p in (("VV", "VH"), ("HH", "HV")) if set(p) <= set(polarisations)), None)
    if pair is None:
        name = polarisations[0]
        low, high = CROSS_DB if name in ("VH", "HV") else CO_DB
        return _ramp(
            decibels[0],
            "gray",
            low=low,
            high=high,
            unit="dB",
            legend=f"{name} {backscatter}; the only polarisation"
            if len(polarisations) == 1
            else f"{name} {backscatter}",
        )
    co, cross = (decibels[polarisations.index(name)] for name in pair)
    channels = [_scaled(v, *r) for v, r in ((co, CO_DB), (cross, CROSS_DB), (co - cross, RATIO_DB))]
    legend = (
        f"{backscatter}, dB: red {pair[0]} {_range(CO_DB)}, green {pair[1]} {_range(CROSS_DB)}, "
        f"blue {pair[0]} − {pair[1]} {_range(RATIO_DB)}"
    )
    return _picture(np.stack(channels), legend=legend, bar=None)


Stretch = tuple[tuple[float, float], ...]


def true_colour_bands(bands: Sequence[str]) -> tuple[str, ...]:
    """Return the bands shown as red, green and blue; the first band alone where one of them is lacking."""
    return ("B4", "B3", "B2") if {"B4", "B3", "B2"} <= set(bands) else (bands[0],)


def stretch_of(images: Sequence[Image3]) -> Stretch:
    """Return each band's 2nd and 98th percentile over images together, so that their colours compare.

    Args:
        images: (band, y, x) float32 each, the same bands, NaN where missing.
    """
    ranges = []
    for band in zip(*images, strict=True):
        values = np.concatenate([image[np.isfinite(image)] for image in band])
        low, high = np.percentile(values, (2, 98)) if values.size else (0.0, 1.0)
        ranges.append((float(low), max(float(high), float(low) + 1e-4 * REFLECTANCE_SCALE)))
    return tuple(ranges)


def optical_picture(shown: Image3, *, names: Sequence[str], stretch: Stretch) -> Picture:
    """Draw an optical image in true colour, or its one band in grey.

    Args:
        shown: (band, y, x) float32, reflectance x 10000, NaN where missing; three bands or one.
        names: Of those bands.
        stretch: Range shown of each.
    """
    fractions = [(low / REFLECTANCE_SCALE, high / REFLECTANCE_SCALE) for low, high in stretch]
    if len(names) == 1:
        ((low, high),) = fractions
        legend = f"{names[0]}; no true colour: the dataset lacks some of B4, B3, B2"
        return _ramp(shown[0] / REFLECTANCE_SCALE, "gray", low=low, high=high, unit="reflectance", legend=legend)
    parts = (
        f"{colour} {name} {low:.3f} … {high:.3f}"
        for colour, name, (low, high) in zip(("red", "green", "blue"), names, fractions, strict=True)
    )
    channels = [_scaled(band, *limits) for band, limits in zip(shown, stretch, strict=True)]
    return _picture(np.stack(channels), legend="reflectance: " + ", ".join(parts), bar=None)


def radar_change(before: Image3, after: Image3, *, polarisations: Sequence[str]) -> Picture:
    """Draw the difference of two radar images in their first co-polarised band, else their first, in dB."""
    name = next((p for p in ("VV", "HH") if p in polarisations), polarisations[0])
    band = list(polarisations).index(name)
    most = DIFFERENCE_DB
    return _ramp(
        after[band] - before[band], "RdBu_r", low=-most, high=most, unit="dB", legend=f"{name} later − earlier"
    )


def optical_change(before: Image3, after: Image3, *, bands: Sequence[str]) -> Picture:
    """Draw the difference of two optical images: of NDVI where B8 and B4 are there, else of the mean reflectance."""
    if {"B4", "B8"} <= set(bands):
        earlier, later = _ndvi(before, bands), _ndvi(after, bands)
        return _ramp(
            later - earlier, "BrBG", low=-DIFFERENCE_NDVI, high=DIFFERENCE_NDVI, unit="", legend="NDVI later − earlier"
        )
    difference = (after.mean(axis=0) - before.mean(axis=0)) / REFLECTANCE_SCALE
    most = DIFFERENCE_REFLECTANCE
    legend = "mean of all bands, later − earlier; no NDVI: the dataset lacks B4 or B8"
    return _ramp(difference, "PuOr", low=-most, high=most, unit="reflectance", legend=legend)


def _ndvi(image: Image3, bands: Sequence[str]) -> NDArray[np.float32]:
    red, nir = (image[list(bands).index(name)] for name in ("B4", "B8"))
    # Stored values are at least 1, so the sum is never 0.
    ndvi: NDArray[np.float32] = (nir - red) / (nir + red)
    return ndvi


def _range(limits: tuple[float, float]) -> str:
    return f"{limits[0]:g} … {limits[1]:g}".replace("-", "−")


def _scaled(band: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = np.clip((band - low) / (high - low), 0, 1)
    return scaled


def _ramp(band: NDArray[np.float32], cmap: str, *, low: float, high: float, unit: str, legend: str) -> Picture:
    ramp: Colormap = matplotlib.colormaps[cmap]
    coloured = np.moveaxis(ramp(np.nan_to_num(_scaled(band, low, high)))[..., :3], -1, 0).astype(np.float32)
    coloured[:, ~np.isfinite(band)] = np.nan
    steps = ramp(np.linspace(0, 1, 9))
    unit = f" {unit}" if unit else ""
    digits = 0 if high - low > 8 else 2
    labels = [
        f"{value:+.{digits}f}" if low < 0 <= high else f"{value:.{digits}f}" for value in (low, (low + high) / 2, high)
    ]
    labels = [label.replace("-", "−") for label in labels]
    bar = ColourBar(
        colours=tuple(matplotlib.colors.to_hex(step) for step in steps),
        low=labels[0],
        middle=labels[1] if not low < 0 < high else "0",
        high=labels[2] + unit,
    )
    return _picture(coloured, legend=legend, bar=bar)


def _picture(rgb: Image3, *, legend: str, bar: ColourBar | None) -> Picture:
    missing = ~np.isfinite(rgb).all(axis=0)
    pixels = np.rint(np.nan_to_num(rgb) * 255).astype(np.uint8).transpose(1, 2, 0)
    pixels[missing] = MISSING_RGB
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    enlarged = max(image.size) < LOSSLESS_PX
    kind = "png" if enlarged else "jpeg"
    image.save(buffer, kind, quality=JPEG_QUALITY, optimize=True)
    return Picture(
        uri=f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode(),
        width_px=image.width,
        height_px=image.height,
        enlarged=enlarged,
        legend=legend,
        bar=bar,
        missing_fraction=float(missing.mean()),
    )
