"""What Sentinel-1 and Sentinel-2 items mean: scenes to choose from and rasters to read, for the catalogues we know."""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pystac.utils import make_absolute_href

from ... import s1_orbits
from ...acquisitions import OpticalScene, SarScene
from ...errors import S1S2Error
from ...sensors import REFLECTANCE_SCALE, S1_POLARISATIONS, S2_NODATA, SCL_NO_DATA, OrbitPass, asset_names
from .items import ANNOTATION, Item, asset_of, band_fields, integer_of, number_of, platform, raster_of
from .raster import Raster

OFFSET_BASELINE = (4, 0)
"""From this processing baseline on, L2A values are stored 1000 too high."""
OFFSET_DATE = dt.datetime(2022, 1, 25, tzinfo=dt.UTC)
"""No image taken before had that baseline unless it was processed again."""
_OFFSET = -0.1
_OFFSET_APPLIED = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
"""Set where a catalogue's files have had the offset taken off, whatever it lists."""
_BASELINE_NAMES = (
    "s2:processing_baseline",
    "processing:version",
    "sentinel:processing_baseline",
    "s2:datatake_id",
    "eopf:datatake_id",
)

_STRIP = re.compile(r"_S(\d{8}T\d{6})(?:_|/|$)")
"""Sensing start in the name of a datastrip ..."""
_GRANULE = re.compile(r"/L2A_T\w{5}_A\d{6}_(\d{8}T\d{6})/")
"""... and in the name of a granule's folder."""

# --- Sentinel-2 ---------------------------------------------------------------------------------------------------------


def optical_scene(item: Item) -> OpticalScene:
    """Read what decides about a Sentinel-2 item.

    Raises:
        SourceError: It lacks what is needed.
    """
    properties = item.properties
    return OpticalScene(
        id=item.id,
        acquired_at=item.acquired_at,
        platform=platform(item),
        relative_orbit=integer_of(item, "sat:relative_orbit"),
        datatake_id=properties.get("s2:datatake_id") or properties.get("eopf:datatake_id"),
        tile=_tile(properties),
        strip=_strip(item),
        processed=_processed(properties),
        footprint=item.footprint,
    )


def _strip(item: Item) -> str:
    """Return the sensing start of an item's datastrip, from what is named after it; empty where nothing is."""
    named = (*(str(item.properties.get(name, "")) for name in ("s2:datastrip_id", "eopf:datastrip_id")), item.id)
    hrefs = [str(asset.get("href", "")) for asset in item.assets.values()]
    found = [m.group(1) for text in (*named, *hrefs) if (m := _STRIP.search(text) or _GRANULE.search(text))]
    return found[0] if found else ""


def _tile(properties: Mapping[str, Any]) -> str:
    if tile := properties.get("s2:mgrs_tile"):
        return str(tile)
    if code := properties.get("grid:code"):
        return str(code).removeprefix("MGRS-")
    for prefix in ("mgrs", "sentinel"):
        parts = [properties.get(f"{prefix}:{part}", "") for part in ("utm_zone", "latitude_band", "grid_square")]
        if tile := "".join(str(part) for part in parts):
            return tile
    return ""


def _processed(properties: Mapping[str, Any]) -> str:
    major, minor = _baseline(properties) or (0, 0)
    made = ("s2:generation_time", "processing:datetime", "created", "updated")
    time = next((str(properties[name]) for name in made if properties.get(name)), "")
    sequence = properties.get("s2:sequence") or properties.get("sentinel:sequence", "")
    return f"{major:02d}.{minor:02d} {time} {sequence}".rstrip()


def _baseline(properties: Mapping[str, Any]) -> tuple[int, int] | None:
    for name in _BASELINE_NAMES:
        # A datatake's id (GS2A_20190601T105621_020580_N02.12) ends in the baseline.
        if found := re.fullmatch(r"(?:.*_N)?(\d+)\.(\d+)", str(properties.get(name, ""))):
            return int(found.group(1)), int(found.group(2))
    return None


def reflectance_raster(item: Item, band: str) -> Raster:
    """Return the raster of a Sentinel-2 band with the scale and offset that turn its values into reflectance.

    The catalogue's own scale and offset count. Two traps are known: Earth Search lists an offset which has been taken off its
    files already, as another property says; the Planetary Computer lists none, and the processing baseline tells.

    Raises:
        SourceError: The asset is missing, or nothing tells its offset.
    """
    key, asset = asset_of(item, band)
    fields = band_fields(asset)
    scale, offset = fields.get("scale"), fields.get("offset")
    if any(item.properties.get(name) is True for name in _OFFSET_APPLIED):
        offset = 0.0
    elif offset is None:
        offset = 0.0 if scale is not None else _offset_by_baseline(item)
    return raster_of(
        item,
        key,
        nodata=number_of(item, key, fields.get("nodata"), S2_NODATA),
        scale=number_of(item, key, scale, 1 / REFLECTANCE_SCALE),
        offset=number_of(item, key, offset, 0.0),
    )


def _offset_by_baseline(item: Item) -> float:
    baseline = _baseline(item.properties)
    if baseline is not None:
        return _OFFSET if baseline >= OFFSET_BASELINE else 0.0
    if item.acquired_at < OFFSET_DATE:
        return 0.0
    raise item.fault(
        "neither `raster:bands` nor `s2:processing_baseline` tell whether its values are stored 1000 too high; add one of them"
    )


def scl_raster(item: Item) -> Raster:
    """Return the raster of a Sentinel-2 item's scene classes.

    Raises:
        SourceError: The asset is missing.
    """
    return raster_of(item, asset_of(item, "SCL")[0], nodata=SCL_NO_DATA)


# --- Sentinel-1 ---------------------------------------------------------------------------------------------------------


def is_wanted_sar(item: Item, polarisations: Sequence[str]) -> bool:
    """Tell whether an item is an IW image with all wanted polarisations.

    Raises:
        SourceError: It does not say.
    """
    held = item.properties.get("sar:polarizations")
    if held is None:
        held = [name for name in S1_POLARISATIONS if holds(item, name)]
    return item.required("sar:instrument_mode") == "IW" and set(polarisations) <= set(held)


def sar_scene(item: Item) -> SarScene:
    """Read what decides about a Sentinel-1 item.

    Raises:
        SourceError: It lacks what is needed.
    """
    stated_incidence_deg(item)  # raises now, though perhaps another scene of the orbit gives the angle
    return SarScene(
        id=item.id,
        acquired_at=item.started_at,
        platform=platform(item),
        relative_orbit=relative_orbit(item),
        absolute_orbit=absolute_orbit(item),
        orbit_pass=orbit_pass(item),
        polarisations=tuple(item.properties.get("sar:polarizations", ())),
        footprint=item.footprint,
    )


def orbit_pass(item: Item) -> OrbitPass:
    """Return whether an item was taken northbound or southbound.

    Raises:
        SourceError: It does not say.
    """
    state = str(item.required("sat:orbit_state")).lower()
    if state == "ascending":
        return "ascending"
    if state == "descending":
        return "descending"
    raise item.fault(f"`sat:orbit_state` is {state!r}; allowed are ascending, descending")


def relative_orbit(item: Item) -> int:
    """Return the relative orbit, worked out from the absolute one where it is not given.

    Raises:
        SourceError: Neither is given.
    """
    given = integer_of(item, "sat:relative_orbit")
    if given is not None:
        return given
    absolute = absolute_orbit(item)
    if absolute is None:
        raise item.fault("the property `sat:relative_orbit` is missing")
    try:
        return s1_orbits.relative_orbit(absolute, platform(item))
    except S1S2Error as error:
        raise item.fault(f"no `sat:relative_orbit`, and {error}") from error


def absolute_orbit(item: Item) -> int | None:
    """Return the absolute orbit where it is known."""
    return integer_of(item, "sat:absolute_orbit")


def backscatter_raster(item: Item, polarisation: str) -> Raster:
    """Return the raster of one polarisation.

    Raises:
        SourceError: The asset is missing, or its values are uncalibrated.
    """
    key, asset = asset_of(item, polarisation)
    fields = band_fields(asset)
    decibel = str(fields.get("unit", "")).lower() == "db"
    if str(fields.get("data_type", "")).startswith(("uint", "int")) and not decibel and fields.get("scale") is None:
        raise item.fault(
            f"asset {key} holds {fields['data_type']} without unit or scale: uncalibrated amplitudes; wanted is backscatter, "
            "linear or in dB"
        )
    return raster_of(
        item,
        key,
        nodata=number_of(item, key, fields.get("nodata"), None),
        scale=number_of(item, key, fields.get("scale"), 1.0),
        offset=number_of(item, key, fields.get("offset"), 0.0),
        decibel=decibel,
    )


def stated_incidence_deg(item: Item) -> float | None:
    """Return the incidence angle that an item states as a property, None where it states none.

    Raises:
        SourceError: What it states is no angle.
    """
    stated = item.properties.get("view:incidence_angle")
    if stated is None:
        return None
    if isinstance(stated, bool) or not isinstance(stated, int | float) or not 0 < stated < 90:
        raise item.fault(f"`view:incidence_angle` is {stated!r}; wanted are degrees between 0 and 90")
    return float(stated)


def holds(item: Item, band: str) -> bool:
    """Tell whether an item has an asset for a band."""
    return any(key in item.assets for key in asset_names(band))


LOCAL_ANGLES = ("s1_rtc",)
"""Collections whose asset `angle` is the angle to the slope and not to the ellipsoid, without saying so."""


def angle_raster(item: Item) -> Raster | None:
    """Return the raster of incidence angles from the ellipsoid normal, None where the item has none."""
    if not holds(item, "angle") or item.collection in LOCAL_ANGLES:
        return None
    key, asset = asset_of(item, "angle")
    if any("local" in str(role) for role in asset.get("roles") or ()):
        return None
    return raster_of(item, key, nodata=number_of(item, key, band_fields(asset).get("nodata"), None))


def annotation_hrefs(item: Item) -> list[str]:
    """Return where the product's annotations lie, VV first.

    What real catalogues list under the same names but is a report on radio interference, without a grid, is left out.
    """
    listed = [
        str(asset.get("href")) for key, asset in sorted(item.assets.items(), reverse=True) if key.startswith(ANNOTATION)
    ]
    return [make_absolute_href(href, item.href) for href in listed if "/rfi/" not in href]
