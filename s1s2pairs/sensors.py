"""All that is true of the two sensors, as data: their bands here and in the public catalogues, and what files of them hold."""

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Sensor = Literal["s1", "s2"]
SENSORS: Final[tuple[Sensor, ...]] = ("s1", "s2")
OrbitPass = Literal["ascending", "descending"]
Backscatter = Literal["sigma0", "gamma0"]


@dataclass(frozen=True, kw_only=True, slots=True)
class OpticalBand:
    """One Sentinel-2 L2A band."""

    name: str
    """ESA's name without padding, `B2` ... `B12`: the word used in recipes, files and the index."""
    common_name: str
    """Asset name in Earth Search v1 and in catalogues that follow it."""
    padded_name: str
    """Asset name in the Planetary Computer and in ESA's own products."""
    resolution_m: int
    centre_um: float
    """Centre wavelength, micrometres."""


def _band(name: str, common_name: str, padded_name: str, resolution_m: int, centre_um: float) -> OpticalBand:
    return OpticalBand(
        name=name, common_name=common_name, padded_name=padded_name, resolution_m=resolution_m, centre_um=centre_um
    )


S2_BANDS: Final = {
    band.name: band
    for band in (
        _band("B1", "coastal", "B01", 60, 0.443),
        _band("B2", "blue", "B02", 10, 0.490),
        _band("B3", "green", "B03", 10, 0.560),
        _band("B4", "red", "B04", 10, 0.665),
        _band("B5", "rededge1", "B05", 20, 0.704),
        _band("B6", "rededge2", "B06", 20, 0.740),
        _band("B7", "rededge3", "B07", 20, 0.783),
        _band("B8", "nir", "B08", 10, 0.842),
        _band("B8A", "nir08", "B8A", 20, 0.865),
        _band("B9", "nir09", "B09", 60, 0.945),
        _band("B11", "swir16", "B11", 20, 1.610),
        _band("B12", "swir22", "B12", 20, 2.190),
    )
}
"""Every surface reflectance band of Sentinel-2 L2A, in ESA's order. (L2A has no B10.)"""

DEFAULT_S2_BANDS: Final = ("B2", "B3", "B4", "B8", "B11", "B12")
S1_POLARISATIONS: Final = ("VV", "VH", "HH", "HV")
DEFAULT_S1_POLARISATIONS: Final = ("VV", "VH")

S1_COUNT_BAND: Final = "count"
"""Last band of every s1.tif: how many acquisitions were averaged in the pixel."""
S2_CLEAR_BAND: Final = "clear"
"""Last band of every s2.tif: how many clear acquisitions the pixel was made from."""

REFLECTANCE_SCALE: Final = 10_000
"""Stored Sentinel-2 value of reflectance 1.0."""
S2_NODATA: Final = 0
"""Stored Sentinel-2 value that means missing."""

BRIGHTEST_REFLECTANCE: Final = 2.0
"""Fresh snow and glint stay below; more than half of a raster above this has the wrong scale."""
DARKEST_DB: Final = -50.0
"""Sentinel-1's noise floor lies at -22 dB and lower; a whole raster below this has the wrong scale."""

SCL_NO_DATA: Final = 0
SCL_SNOW: Final = 11
SCL_LAST: Final = 11
"""Highest scene class."""
SCL_CLOUD: Final = (3, 8, 9, 10)
"""Scene classes that count as cloud: shadow, cloud of medium and high probability, cirrus."""
SCL_RESOLUTION_M: Final = 20


def asset_names(band: str) -> tuple[str, ...]:
    """Return the names a catalogue may use for `band`'s asset, most common first.

    Args:
        band: A Sentinel-2 band (`B2`), an S1 polarisation (`VV`), `SCL` or `angle`.
    """
    if band in S2_BANDS:
        known = S2_BANDS[band]
        # The last is CDSE's, which lists every band at every resolution: only the native one counts.
        return (known.common_name, known.padded_name, known.name, f"{known.padded_name}_{known.resolution_m}m")
    if band == "SCL":
        return ("scl", "SCL", f"SCL_{SCL_RESOLUTION_M}m")
    if band in S1_POLARISATIONS:
        return (band.lower(), band, f"gamma0_{band.lower()}")  # the last in RTC tiles of AWS (Indigo)
    return (band.lower(), band.upper())


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """What one band of a file holds."""

    name: str
    meaning: str
    unit: str
    scale: float = 1.0
    """Physical value = stored value x scale."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The bands of one kind of file."""

    bands: tuple[Band, ...]
    dtype: Literal["float32", "uint16"]
    nodata: float
    """Stored value that means missing."""


def s1_layout(polarisations: tuple[str, ...], backscatter: Backscatter) -> Layout:
    """Return the bands of an `s1.tif`: the polarisations in dB, then how many acquisitions were averaged."""
    named = (Band(name=p, meaning=f"{backscatter} {p}, mean of the acquisitions", unit="dB") for p in polarisations)
    count = Band(name=S1_COUNT_BAND, meaning="acquisitions averaged in the pixel, 0 where missing", unit="1")
    return Layout(bands=(*named, count), dtype="float32", nodata=float("nan"))


def s2_layout(bands: tuple[str, ...]) -> Layout:
    """Return the bands of an `s2.tif`: surface reflectance x 10000, then how many clear acquisitions were used."""
    named = (
        Band(
            name=name,
            meaning=f"surface reflectance {name}, {S2_BANDS[name].centre_um:.3f} um",
            unit="reflectance",
            scale=1 / REFLECTANCE_SCALE,
        )
        for name in bands
    )
    clear = Band(name=S2_CLEAR_BAND, meaning="clear acquisitions the pixel was made from, 0 where missing", unit="1")
    return Layout(bands=(*named, clear), dtype="uint16", nodata=S2_NODATA)


def valid_pixels(pixels: NDArray[Any], sensor: Sensor) -> NDArray[np.bool_]:
    """Tell which pixels of a raster or patch hold values, (y, x) bool: its last band is a count above 0."""
    valid: NDArray[np.bool_] = pixels[-1] > 0
    if sensor == "s1":
        valid = valid & np.isfinite(pixels[:-1]).all(axis=0)
    return valid


def can_be_backscatter(low_db: float, high_db: float) -> bool:
    """Tell whether a raster whose values reach from `low_db` to `high_db` can be backscatter in dB.

    Some ground always lies below 0 dB: a raster that is nowhere below holds linear power.
    """
    return low_db < 0 and high_db >= DARKEST_DB


def can_be_reflectance(bright: float) -> bool:
    """Tell whether a raster can be reflectance, `bright` being the fraction of values above `BRIGHTEST_REFLECTANCE`."""
    return bright <= 0.5
