"""What Sentinel-1 and Sentinel-2 items mean: scenes to choose from and rasters to read, for the catalogues we know."""

import datetime as dt
import re
from collections.abc import Sequence

from ... import s1_orbits
from ...acquisitions import OpticalScene, SarScene
from ...errors import S1S2Error
from ...sensors import REFLECTANCE_SCALE, S1_POLARISATIONS, S2_NODATA, SCL_NO_DATA, OrbitPass, asset_names
from ...untrusted import shown
from .items import ANNOTATION, Item, asset_of, platform, raster_of
from .properties import Properties
from .raster import Raster

OFFSET_BASELINE = (4, 0)
"""From this processing baseline on, L2A values are stored 1000 too high."""
OFFSET_DATE = dt.datetime(2022, 1, 25, tzinfo=dt.UTC)
"""No image taken before had that baseline unless it was processed again."""
_OFFSET = -0.1
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
        relative_orbit=properties.relative_orbit,
        datatake_id=properties.s2_datatake_id or properties.eopf_datatake_id or None,
        tile=_tile(properties),
        strip=_strip(item),
        processed=_processed(properties),
        footprint=item.footprint,
    )


def _strip(item: Item) -> str:
    """Return the sensing start of an item's datastrip, from what is named after it; empty where nothing is."""
    named = (item.properties.s2_datastrip_id, item.properties.eopf_datastrip_id, item.id)
    hrefs = (item.asset(key).href for key in item.stated)
    for text in (*named, *hrefs):
        if text and (found := _STRIP.search(text) or _GRANULE.search(text)):
            return found.group(1)
    return ""


def _tile(properties: Properties) -> str:
    if properties.s2_mgrs_tile:
        return properties.s2_mgrs_tile
    if properties.grid_code:
        return properties.grid_code.removeprefix("MGRS-")
    for parts in (
        (properties.mgrs_utm_zone, properties.mgrs_latitude_band, properties.mgrs_grid_square),
        (properties.sentinel_utm_zone, properties.sentinel_latitude_band, properties.sentinel_grid_square),
    ):
        if tile := "".join(part or "" for part in parts):
            return tile
    return ""


def _processed(properties: Properties) -> str:
    major, minor = _baseline(properties) or (0, 0)
    made = (properties.s2_generation_time, properties.processing_datetime, properties.created, properties.updated)
    time = next((text for text in made if text), "")
    sequence = properties.s2_sequence or properties.sentinel_sequence or ""
    return f"{major:02d}.{minor:02d} {time} {sequence}".rstrip()


def _baseline(properties: Properties) -> tuple[int, int] | None:
    for text in (
        properties.s2_processing_baseline,
        properties.processing_version,
        properties.sentinel_processing_baseline,
        properties.s2_datatake_id,
        properties.eopf_datatake_id,
    ):
        # A datatake's id (GS2A_20190601T105621_020580_N02.12) ends in the baseline.
        if text and (found := re.fullmatch(r"(?:.*_N)?(\d{1,4})\.(\d{1,4})", text)):
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
    offset = asset.offset
    # Set where a catalogue's files have had the offset taken off, whatever it lists.
    if item.properties.earthsearch_boa_offset_applied or item.properties.sentinel_boa_offset_applied:
        offset = 0.0
    elif offset is None:
        offset = 0.0 if asset.scale is not None else _offset_by_baseline(item)
    return raster_of(
        item,
        key,
        asset,
        nodata=S2_NODATA if asset.nodata is None else asset.nodata,
        scale=1 / REFLECTANCE_SCALE if asset.scale is None else asset.scale,
        offset=offset,
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
    return raster_of(item, *asset_of(item, "SCL"), nodata=SCL_NO_DATA)


# --- Sentinel-1 ---------------------------------------------------------------------------------------------------------


def is_wanted_sar(item: Item, polarisations: Sequence[str]) -> bool:
    """Tell whether an item is an IW image with all wanted polarisations.

    Raises:
        SourceError: It does not say.
    """
    if item.properties.instrument_mode is None:
        raise item.missing("sar:instrument_mode")
    held = item.properties.polarizations
    if held is None:
        held = tuple(name for name in S1_POLARISATIONS if holds(item, name))
    return item.properties.instrument_mode == "IW" and set(polarisations) <= set(held)


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
        polarisations=item.properties.polarizations or (),
        footprint=item.footprint,
    )


def orbit_pass(item: Item) -> OrbitPass:
    """Return whether an item was taken northbound or southbound.

    Raises:
        SourceError: It does not say.
    """
    stated = item.properties.orbit_state
    if stated is None:
        raise item.missing("sat:orbit_state")
    state = stated.lower()
    if state == "ascending":
        return "ascending"
    if state == "descending":
        return "descending"
    raise item.fault(f"`sat:orbit_state` is {shown(stated)}; expected ascending or descending")


def relative_orbit(item: Item) -> int:
    """Return the relative orbit, worked out from the absolute one where it is not given.

    Raises:
        SourceError: Neither is given.
    """
    given = item.properties.relative_orbit
    if given is not None:
        if not 1 <= given <= s1_orbits.ORBITS_PER_CYCLE:
            raise item.fault(f"`sat:relative_orbit` is {given}; allowed are 1 to {s1_orbits.ORBITS_PER_CYCLE}")
        return given
    absolute = absolute_orbit(item)
    if absolute is None:
        raise item.missing("sat:relative_orbit")
    try:
        return s1_orbits.relative_orbit(absolute, platform(item))
    except S1S2Error as error:
        raise item.fault(f"no `sat:relative_orbit`, and {error}") from error


def absolute_orbit(item: Item) -> int | None:
    """Return the absolute orbit where it is known."""
    return item.properties.absolute_orbit


def backscatter_raster(item: Item, polarisation: str) -> Raster:
    """Return the raster of one polarisation.

    Raises:
        SourceError: The asset is missing, or its values are uncalibrated.
    """
    key, asset = asset_of(item, polarisation)
    decibel = (asset.unit or "").lower() == "db"
    if (asset.data_type or "").startswith(("uint", "int")) and not decibel and asset.scale is None:
        raise item.fault(
            f"asset {key} holds {asset.data_type} without unit or scale: uncalibrated amplitudes; expected "
            "backscatter, linear or in dB"
        )
    return raster_of(
        item,
        key,
        asset,
        nodata=asset.nodata,
        scale=1.0 if asset.scale is None else asset.scale,
        offset=asset.offset or 0.0,
        decibel=decibel,
    )


def stated_incidence_deg(item: Item) -> float | None:
    """Return the incidence angle that an item states as a property, None where it states none.

    Raises:
        SourceError: What it states is no angle.
    """
    stated = item.properties.incidence_angle
    if stated is None:
        return None
    if not 0 < stated < 90:
        raise item.fault(f"`view:incidence_angle` is {stated:g}; expected degrees between 0 and 90")
    return float(stated)


def holds(item: Item, band: str) -> bool:
    """Tell whether an item has an asset for a band."""
    return any(key in item.stated for key in asset_names(band))


LOCAL_ANGLES = ("s1_rtc",)
"""Collections whose asset `angle` is the angle to the slope and not to the ellipsoid, without saying so."""


def angle_raster(item: Item) -> Raster | None:
    """Return the raster of incidence angles from the ellipsoid normal, None where the item has none."""
    if not holds(item, "angle") or item.collection in LOCAL_ANGLES:
        return None
    key, asset = asset_of(item, "angle")
    if any("local" in role for role in asset.roles or ()):
        return None
    scale = 1.0 if asset.scale is None else asset.scale
    return raster_of(item, key, asset, nodata=asset.nodata, scale=scale, offset=asset.offset or 0.0)


def annotation_hrefs(item: Item) -> list[str]:
    """Return where the product's annotations lie, VV first.

    What real catalogues list under the same names but is a report on radio interference, without a grid, is left out.
    """
    listed = [item.asset(key).href for key in sorted(item.stated, reverse=True) if key.startswith(ANNOTATION)]
    return [item.address(href) for href in listed if href and "/rfi/" not in href]
