"""Which bands of a file are those of a stack: by the names that catalogues and programs give them."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from s1s2pairs.errors import RunError
from s1s2pairs.sensors import S1_POLARISATIONS, S2_BANDS, asset_names

from ..task import Stack

_RADAR_FORMS: Final = ("{}", "s1_{}", "sigma0_{}", "gamma0_{}", "{}_sigma0", "{}_gamma0")
_DECIBELS: Final = "db"
_NOT_DECIBELS: Final = frozenset(("linear", "lin", "power", "pow", "intensity", "amplitude", "amp"))
"""Words in a name that say that radar is not in dB."""


def _names() -> Iterator[tuple[str, str]]:
    for polarisation in S1_POLARISATIONS:
        for form in _RADAR_FORMS:
            name = form.format(polarisation).lower()
            yield from ((name, polarisation), (f"{name}_{_DECIBELS}", polarisation))
    for band in S2_BANDS:
        yield from ((name.lower(), band) for name in asset_names(band))
    yield from (("swir1", "B11"), ("swir2", "B12"))


BAND_OF_NAME: Final = dict(_names())
"""Name in a file -> band. Names are compared in lower case, with `_` for whatever is neither letter nor digit."""


def find_bands(stack: Stack, names: Sequence[str | None], where: str) -> tuple[int, ...]:
    """Find the bands of a stack in a file.

    Args:
        stack: Says which bands, in which order.
        names: Descriptions of the file's bands, in its order.
        where: Stack and file, for messages.

    Returns:
        Number of each band in the file, from 1.

    Raises:
        RunError: A band is not there, or only in linear power, or two could be it.
    """
    plain = [_plain(name or "") for name in names]
    found = {band: [i for i, name in enumerate(plain) if BAND_OF_NAME.get(name) == band] for band in stack.bands}
    missing = [band for band in stack.bands if not found[band]]
    if missing:
        _refuse_linear(missing, names, where)
        known = "; ".join(f"{band} is also {_also(band)}" for band in missing)
        raise RunError(
            f"{where} has no band {', '.join(missing)}; it has {', '.join(name or 'unnamed' for name in names)}; "
            f"bands are found by their description, wanted are {', '.join(stack.bands)} ({known}); name them, for "
            "instance with rasterio's `descriptions`, or give another file"
        )
    for band, numbers in found.items():
        if len(numbers) > 1:
            raise RunError(
                f"{where} has {len(numbers)} bands that could be {band}: "
                f"{', '.join(f'{names[i]} (band {i + 1})' for i in numbers)}; leave the one that is meant, and rename "
                "the others or take them out (gdal_translate -b)"
            )
    return tuple(found[band][0] + 1 for band in stack.bands)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _also(band: str) -> str:
    return ", ".join(name for name, meant in BAND_OF_NAME.items() if meant == band and name != band.lower())


def _refuse_linear(missing: Sequence[str], names: Sequence[str | None], where: str) -> None:
    """Refuse a band whose name says that it would be the one, were it in dB."""
    for name in names:
        words = _plain(name or "").split("_")
        band = BAND_OF_NAME.get("_".join(word for word in words if word not in _NOT_DECIBELS))
        if band in missing and _DECIBELS not in words:
            said = ", ".join(word for word in words if word in _NOT_DECIBELS)
            raise RunError(
                f"{where}: the name of band {name} says {said}; radar must be in dB; give 10 * log10 of the calibrated "
                f"linear power, in a band named {band} with the unit dB"
            )
