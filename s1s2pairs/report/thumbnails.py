"""Small pictures of a dataset's rasters, as data URIs with what their colours mean."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import matplotlib.colors
import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling

from ..dataset.rasters import check_fits, opened_in
from ..dataset.storage import Storage
from ..sensors import REFLECTANCE_SCALE, S2_NODATA
from .colours import (
    CO_DB,
    CROSS_DB,
    RATIO_DB,
    Bands,
    Stretch,
    optical_colours,
    polarisation_pair,
    radar_colours,
    scaled,
    single_range,
)
from .inline import LOSSLESS_PX, MISSING_RGB, data_uri

JPEG_QUALITY = 80
DIFFERENCE_DB = 6.0
DIFFERENCE_NDVI = 0.6
DIFFERENCE_REFLECTANCE = 0.15


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


def read_small(storage: Storage, path: str, *, grid: GeoBox, bands: int, most_px: int) -> Bands:
    """Read the first bands of a raster, decimated by nearest neighbour.

    Args:
        storage: The dataset.
        path: Of a raster in it.
        grid: Where the plan lays it.
        bands: How many.
        most_px: Most rows and columns returned.

    Returns:
        (band, y, x) float32, values as stored, NaN where missing.

    Raises:
        DatasetError: The file is missing or damaged, has fewer bands, or lies elsewhere.
    """
    with opened_in(storage, path) as raster:
        check_fits(raster, grid, bands=bands, name=storage.where(path))
        factor = max(1.0, max(raster.shape) / most_px)
        shape = tuple(max(1, int(side / factor)) for side in raster.shape)
        values = raster.read(list(range(1, bands + 1)), out_shape=(bands, *shape), resampling=Resampling.nearest)
    small: Bands = values.astype(np.float32)
    if values.dtype == np.uint16:
        small[values == S2_NODATA] = np.nan
    return small


def radar_picture(decibels: Bands, *, polarisations: Sequence[str], backscatter: str) -> Picture:
    """Draw a radar image: colours from co- and cross-polarised power and their ratio, else the first band in grey.

    Args:
        decibels: (band, y, x) float32, dB, NaN where missing.
        polarisations: Names of the bands.
        backscatter: `sigma0` or `gamma0`.
    """
    colours = radar_colours(decibels, polarisations=polarisations)
    pair = polarisation_pair(polarisations)
    if pair is None:
        only = "; the only polarisation" if len(polarisations) == 1 else ""
        bar = _bar("gray", *single_range(polarisations[0]), unit="dB")
        return _picture(colours, legend=f"{polarisations[0]} {backscatter}{only}", bar=bar)
    legend = (
        f"{backscatter}, dB: red {pair[0]} {_range(CO_DB)}, green {pair[1]} {_range(CROSS_DB)}, "
        f"blue {pair[0]} − {pair[1]} {_range(RATIO_DB)}"
    )
    return _picture(colours, legend=legend, bar=None)


def optical_picture(shown: Bands, *, names: Sequence[str], stretch: Stretch) -> Picture:
    """Draw an optical image in true colour, or its one band in grey.

    Args:
        shown: (band, y, x) float32, reflectance x 10000, NaN where missing; three bands or one.
        names: Of those bands.
        stretch: Range shown of each.
    """
    colours = optical_colours(shown, stretch=stretch)
    fractions = [(low / REFLECTANCE_SCALE, high / REFLECTANCE_SCALE) for low, high in stretch]
    if len(names) == 1:
        legend = f"{names[0]}; no true colour: the dataset lacks some of B4, B3, B2"
        return _picture(colours, legend=legend, bar=_bar("gray", *fractions[0], unit="reflectance"))
    parts = (
        f"{colour} {name} {low:.3f} … {high:.3f}"
        for colour, name, (low, high) in zip(("red", "green", "blue"), names, fractions, strict=True)
    )
    return _picture(colours, legend="reflectance: " + ", ".join(parts), bar=None)


def radar_change(before: Bands, after: Bands, *, polarisations: Sequence[str]) -> Picture:
    """Draw the difference of two radar images in their first co-polarised band, else their first, in dB."""
    name = next((p for p in ("VV", "HH") if p in polarisations), polarisations[0])
    band = list(polarisations).index(name)
    return _difference(
        after[band] - before[band], "RdBu_r", most=DIFFERENCE_DB, unit="dB", legend=f"{name} later − earlier"
    )


def optical_change(before: Bands, after: Bands, *, bands: Sequence[str]) -> Picture:
    """Draw the difference of two optical images: of NDVI where B8 and B4 are there, else of the mean reflectance."""
    if {"B4", "B8"} <= set(bands):
        change = _ndvi(after, bands) - _ndvi(before, bands)
        return _difference(change, "BrBG", most=DIFFERENCE_NDVI, unit="", legend="NDVI later − earlier")
    change = (after.mean(axis=0) - before.mean(axis=0)) / REFLECTANCE_SCALE
    legend = "mean of all bands, later − earlier; no NDVI: the dataset lacks B4 or B8"
    return _difference(change, "PuOr", most=DIFFERENCE_REFLECTANCE, unit="reflectance", legend=legend)


def _ndvi(image: Bands, bands: Sequence[str]) -> NDArray[np.float32]:
    red, nir = (image[list(bands).index(name)] for name in ("B4", "B8"))
    # Stored values are at least 1, so the sum is never 0.
    ndvi: NDArray[np.float32] = (nir - red) / (nir + red)
    return ndvi


def _range(limits: tuple[float, float]) -> str:
    return f"{limits[0]:g} … {limits[1]:g}".replace("-", "−")


def _difference(change: NDArray[np.float32], cmap: str, *, most: float, unit: str, legend: str) -> Picture:
    coloured = matplotlib.colormaps[cmap](np.nan_to_num(scaled(change, -most, most)))[..., :3]
    colours = np.moveaxis(coloured, -1, 0).astype(np.float32)
    colours[:, ~np.isfinite(change)] = np.nan
    return _picture(colours, legend=legend, bar=_bar(cmap, -most, most, unit=unit))


def _bar(cmap: str, low: float, high: float, *, unit: str) -> ColourBar:
    form = "%.0f" if high - low > 8 else "%.2f"
    labels = [(form % value).replace("-", "−") for value in (low, (low + high) / 2, high)]
    if low == -high:
        labels[1:] = ["0", f"+{labels[2]}"]
    steps = matplotlib.colormaps[cmap](np.linspace(0, 1, 9))
    colours = tuple(matplotlib.colors.to_hex(step) for step in steps)
    return ColourBar(colours=colours, low=labels[0], middle=labels[1], high=f"{labels[2]} {unit}".rstrip())


def _picture(rgb: Bands, *, legend: str, bar: ColourBar | None) -> Picture:
    missing = ~np.isfinite(rgb).all(axis=0)
    pixels = np.rint(np.nan_to_num(rgb) * 255).astype(np.uint8).transpose(1, 2, 0)
    pixels[missing] = MISSING_RGB
    height_px, width_px = missing.shape
    return Picture(
        uri=data_uri(pixels, quality=JPEG_QUALITY),
        width_px=width_px,
        height_px=height_px,
        enlarged=max(missing.shape) < LOSSLESS_PX,
        legend=legend,
        bar=bar,
        missing_fraction=float(missing.mean()),
    )
