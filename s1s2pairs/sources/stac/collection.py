"""Which collections of a catalogue hold images that can be used."""

import re
from collections.abc import Mapping

from ...errors import SourceError
from ...sensors import S1_POLARISATIONS, Backscatter, asset_names
from .catalogue import Catalogue
from .properties import asset_of_json

SAR_COLLECTIONS: dict[str, Backscatter] = {
    "sentinel-1-grd": "sigma0",
    "sentinel-1-rtc": "gamma0",
    "s1_rtc": "gamma0",  # Digital Earth Africa
    "sentinel1-rtc-aws": "gamma0",  # tiles of the USA by Indigo Ag on AWS
}
"""Collections with radar images and the coefficient they hold, the preferred first. A source uses one of them only."""
OPTICAL_COLLECTIONS = ("sentinel-2-l2a", "sentinel-2-c1-l2a", "s2_l2a")
"""Collections with optical images, the preferred first."""
_AMPLITUDE = re.compile(r"\b(amplitudes?|DN|digital numbers?)\b", re.IGNORECASE)
"""As the descriptions of uncalibrated assets read."""


def sar_collection(catalogue: Catalogue) -> str:
    """Return the collection that radar images are taken from.

    Raises:
        SourceError: There is none that can be used.
    """
    uncalibrated = ""
    for collection in SAR_COLLECTIONS:
        if not catalogue.has_collection(collection):
            continue
        if not catalogue.is_uncalibrated(collection):
            return collection
        uncalibrated = f", and this one's {collection} holds uncalibrated amplitudes in radar geometry"
    raise SourceError(
        f"{catalogue.name}: no usable radar collection; expected sentinel-1-grd (calibrated, on a map grid) or sentinel-1-rtc"
        f"{uncalibrated}: take radar images from another source with --radar-source"
    )


def optical_collection(catalogue: Catalogue) -> str:
    """Return the collection that optical images are taken from.

    Raises:
        SourceError: There is none.
    """
    for collection in OPTICAL_COLLECTIONS:
        if catalogue.has_collection(collection):
            return collection
    raise SourceError(f"{catalogue.name}: no optical collection; expected {' or '.join(OPTICAL_COLLECTIONS)}")


def lists_amplitudes(item_assets: object) -> bool:
    """Tell from the `item_assets` of a collection whether its radar images are uncalibrated.

    They are integers without unit or scale, or their description says so. No CRS is no sign: real items carry an invented one.
    """
    if not isinstance(item_assets, Mapping):
        return False
    return any(
        _is_amplitude(item_assets[key]) for p in S1_POLARISATIONS for key in asset_names(p) if key in item_assets
    )


def _is_amplitude(stated: object) -> bool:
    try:
        asset = asset_of_json(stated)
    except ValueError:
        return False  # the items themselves will tell
    if asset.unit is not None or asset.scale is not None:
        return False
    kind = asset.data_type or ""
    return kind.startswith(("uint", "int")) or (
        not kind.startswith("float") and bool(_AMPLITUDE.search(asset.description or ""))
    )
