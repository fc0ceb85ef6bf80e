"""The tables Earth Engine answers with, read into scenes and acquisitions. No I/O."""

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import shapely.geometry
from shapely.geometry.base import BaseGeometry

from ... import geometry
from ...acquisition import OpticalAcquisition, OpticalScene, SarScene, outline_wkt
from ...errors import SourceError
from ...recipe import OrbitPass
from .. import Place, SceneIds

_STRIP = re.compile(r"_S(\d{8}T\d{6})_")
_RESOLUTION_M = 10
"""IW scenes in Earth Engine have 10 m pixels; other modes are left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassCounts:
    """Pixels of a ROI in the mosaic of an acquisition."""

    scene_ids: frozenset[str]
    covered: int
    cloud: int
    snow: int


def sar_scenes(table: Any, place: Place) -> list[SarScene]:
    """Read the rows of `expressions.sar_table`.

    Raises:
        SourceError: A row lacks what is needed.
    """
    rows = [properties for properties in _rows(table) if properties.get("resolution_meters") in (None, _RESOLUTION_M)]
    return [_sar_scene(row, place) for row in rows]


def _sar_scene(row: Mapping[str, Any], place: Place) -> SarScene:
    orbit, direction = int(_needed(row, "relativeOrbitNumber_start")), _orbit_pass(row)
    weight = round(row.get("angle_count") or 0)
    # A scene whose footprint touches the ROI without a pixel in it has no angle there; the orbit model gives one, without weight.
    angle = float(_needed(row, "angle_mean")) if weight else _modelled_angle(orbit, direction, place)
    absolute = row.get("orbitNumber_start")
    return SarScene(
        id=str(_needed(row, "system:index")),
        acquired_at=_time(row),
        platform=f"sentinel-1{_needed(row, 'platform_number')}".lower(),
        relative_orbit=orbit,
        absolute_orbit=None if absolute is None else int(absolute),
        orbit_pass=direction,
        polarisations=tuple(row.get("transmitterReceiverPolarisation") or ()),
        footprint=_footprint(row),
        incidence_deg=angle,
        incidence_weight=weight,
        incidence_source="raster" if weight else "model",
    )


def _modelled_angle(orbit: int, direction: OrbitPass, place: Place) -> float:
    centre = place.polygon.centroid
    return float(geometry.incidence_deg(orbit, direction, centre.x, centre.y))


def optical_tables(table: Any) -> tuple[list[OpticalScene], list[ClassCounts]]:
    """Read the rows of `expressions.optical_table`: those of scenes, and those of datatakes.

    Raises:
        SourceError: A row lacks what is needed.
    """
    rows = list(_rows(table))
    scenes = [_optical_scene(row) for row in rows if "covered" not in row]
    return scenes, [_counts(row) for row in rows if "covered" in row]


def class_counts(table: Any) -> list[ClassCounts]:
    """Read the rows of `expressions.class_counts`."""
    return [_counts(row) for row in _rows(table)]


def optical_acquisition(scenes: Sequence[OpticalScene], counts: ClassCounts, *, roi_pixels: int) -> OpticalAcquisition:
    """Put an acquisition together from its scenes and what was counted in their mosaic."""
    first = min(scenes, key=lambda scene: (scene.acquired_at, scene.id))
    return OpticalAcquisition(
        scene_ids=ids_of(scenes),
        acquired_at=first.acquired_at,
        platform=first.platform,
        coverage_fraction=counts.covered / roi_pixels,
        cloud_fraction=counts.cloud / counts.covered if counts.covered else 1.0,
        snow_fraction=counts.snow / counts.covered if counts.covered else 0.0,
        footprint_wkt=outline_wkt(scene.footprint for scene in scenes),
    )


def ids_of(scenes: Sequence[OpticalScene]) -> SceneIds:
    """Return the ids of scenes, in their order."""
    return tuple(scene.id for scene in scenes)


def _optical_scene(row: Mapping[str, Any]) -> OpticalScene:
    orbit, baseline = row.get("SENSING_ORBIT_NUMBER"), row.get("PROCESSING_BASELINE")
    strip = _STRIP.search(str(row.get("DATASTRIP_ID") or ""))
    return OpticalScene(
        id=str(_needed(row, "system:index")),
        acquired_at=_time(row),
        platform=str(_needed(row, "SPACECRAFT_NAME")).lower(),
        relative_orbit=None if orbit is None else int(orbit),
        datatake_id=row.get("DATATAKE_IDENTIFIER"),
        tile=str(row.get("MGRS_TILE") or ""),
        strip=strip.group(1) if strip else "",
        # Milliseconds since 1970, of equal length since 2001.
        processed=f"{baseline or '00.00'} {int(row.get('GENERATION_TIME') or 0):015d}",
        footprint=_footprint(row),
    )


def _counts(row: Mapping[str, Any]) -> ClassCounts:
    return ClassCounts(
        scene_ids=frozenset(_needed(row, "scenes")),
        covered=round(row.get("covered") or 0),
        cloud=round(row.get("cloud") or 0),
        snow=round(row.get("snow") or 0),
    )


def _rows(table: Any) -> Iterable[dict[str, Any]]:
    try:
        for feature in table["features"]:
            yield {**feature["properties"], "footprint": feature.get("geometry")}
    except (TypeError, KeyError) as error:
        raise SourceError(f"Earth Engine answered with something that is no table of scenes ({error!r})") from error


def _needed(row: Mapping[str, Any], name: str) -> Any:
    value = row.get(name)
    if value is None:
        raise SourceError(f"Earth Engine: scene {row.get('system:index')} has no property `{name}`")
    return value


def _time(row: Mapping[str, Any]) -> dt.datetime:
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=_needed(row, "system:time_start"))


def _orbit_pass(row: Mapping[str, Any]) -> OrbitPass:
    direction = str(_needed(row, "orbitProperties_pass")).lower()
    if direction == "ascending":
        return "ascending"
    if direction == "descending":
        return "descending"
    raise SourceError(f"Earth Engine: scene {row.get('system:index')} has the pass {direction!r}")


def _footprint(row: Mapping[str, Any]) -> BaseGeometry:
    outline = _needed(row, "footprint")
    if outline["type"] == "LinearRing":  # Earth Engine gives some footprints as the ring around them
        outline = {"type": "Polygon", "coordinates": [outline["coordinates"]]}
    return shapely.geometry.shape(outline)
