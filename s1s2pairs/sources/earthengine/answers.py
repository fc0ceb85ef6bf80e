"""What Earth Engine answers, read into scenes and measurements. No I/O."""

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import shapely.geometry
from shapely.geometry.base import BaseGeometry

from ... import s1_orbits
from ...acquisitions import Incidence, OpticalAcquisition, OpticalScene, RoiGrids, SarScene
from ...errors import SourceError
from ...grid import incidence_points
from ...sensors import OrbitPass
from ..grouping import outline_wkt
from .expressions import CLASSES, SENSOR, angle_band, counted_band
from .geodesic import along_geodesics

_STRIP = re.compile(r"_S(\d{8}T\d{6})_")
_RESOLUTION_M = 10
"""IW scenes in Earth Engine have 10 m pixels; other modes are left out."""

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassCounts:
    """Pixels of a ROI in the mosaic of an acquisition."""

    covered: int
    cloud: int
    snow: int


def scenes(table: Any) -> tuple[list[SarScene], list[OpticalScene]]:
    """Read the rows of `expressions.listing`.

    Raises:
        SourceError: It is no table, or a row lacks what is needed.
    """
    sar: list[SarScene] = []
    optical: list[OpticalScene] = []
    for row, footprint in _rows(table):
        if _needed(row, SENSOR) == "optical":
            optical.append(_optical_scene(row, footprint))
        elif row.get("resolution_m") in (None, _RESOLUTION_M):
            sar.append(_sar_scene(row, footprint))
    return sar, optical


def _sar_scene(row: Row, footprint: BaseGeometry) -> SarScene:
    absolute = row.get("absolute_orbit")
    return SarScene(
        id=str(_needed(row, "scene")),
        acquired_at=_time(row),
        platform=f"sentinel-1{_needed(row, 'platform')}".lower(),
        relative_orbit=int(_needed(row, "relative_orbit")),
        absolute_orbit=None if absolute is None else int(absolute),
        orbit_pass=_orbit_pass(row),
        polarisations=tuple(row.get("polarisations") or ()),
        footprint=footprint,
    )


def _optical_scene(row: Row, footprint: BaseGeometry) -> OpticalScene:
    orbit, baseline = row.get("relative_orbit"), row.get("baseline")
    strip = _STRIP.search(str(row.get("datastrip") or ""))
    return OpticalScene(
        id=str(_needed(row, "scene")),
        acquired_at=_time(row),
        platform=str(_needed(row, "platform")).lower(),
        relative_orbit=None if orbit is None else int(orbit),
        datatake_id=row.get("datatake"),
        tile=str(row.get("tile") or ""),
        strip=strip.group(1) if strip else "",
        # Milliseconds since 1970, of equal length since 2001.
        processed=f"{baseline or '00.00'} {int(row.get('generated_ms') or 0):015d}",
        footprint=footprint,
    )


def class_counts(reply: Any, number: int) -> list[ClassCounts]:
    """Read what `expressions.class_counts` counted of so many acquisitions.

    Raises:
        SourceError: A count is missing.
    """
    return [
        ClassCounts(**{name: round(_measured(reply, counted_band(n, name))) for name in CLASSES}) for n in range(number)
    ]


def incidence(reply: Any, measured: Sequence[SarScene], place: RoiGrids) -> list[Incidence]:
    """Read what `expressions.incidence_angles` measured of scenes.

    A scene that touches the ROI without a point of its own has no angle there; the orbit model gives one, which counts only
    where no other scene of the acquisition has any.

    Raises:
        SourceError: A count is missing, or there is one without a mean.
    """
    return [_incidence(reply, angle_band(n), scene, place) for n, scene in enumerate(measured)]


def _incidence(reply: Any, band: str, scene: SarScene, place: RoiGrids) -> Incidence:
    points = round(_measured(reply, f"{band}_count"))
    if points:
        return Incidence(mean_deg=float(_measured(reply, f"{band}_mean")), points=points, source="raster")
    where = incidence_points(place.polygon, place.analysis_grid)
    angle = float(s1_orbits.incidence_deg(scene.relative_orbit, scene.orbit_pass, *where).mean())
    return Incidence(mean_deg=angle, points=0, source="model")


def optical_acquisition(
    acquired: Sequence[OpticalScene], counts: ClassCounts, *, roi_pixels: int
) -> OpticalAcquisition:
    """Put an acquisition together from its scenes and what was counted in their mosaic."""
    first = min(acquired, key=lambda scene: (scene.acquired_at, scene.id))
    return OpticalAcquisition(
        scene_ids=tuple(scene.id for scene in acquired),
        acquired_at=first.acquired_at,
        platform=first.platform,
        coverage_fraction=counts.covered / roi_pixels,
        cloud_fraction=counts.cloud / counts.covered if counts.covered else 1.0,
        snow_fraction=counts.snow / counts.covered if counts.covered else 0.0,
        footprint_wkt=outline_wkt(scene.footprint for scene in acquired),
    )


def _rows(table: Any) -> Iterator[tuple[Row, BaseGeometry]]:
    try:
        features = [(feature["properties"], feature.get("geometry")) for feature in table["features"]]
    except (TypeError, KeyError) as error:
        raise SourceError(f"expected a table of scenes of Earth Engine, found something else ({error!r})") from error
    for row, outline in features:
        if outline is None:
            raise SourceError(f"Earth Engine: scene {row.get('scene')} has no footprint")
        yield row, along_geodesics(_shape(outline)) if outline.get("geodesic", True) else _shape(outline)


def _shape(outline: Row) -> BaseGeometry:
    if outline["type"] == "LinearRing":  # Earth Engine gives some footprints as the ring around them
        return shapely.geometry.Polygon(outline["coordinates"])
    return shapely.geometry.shape(dict(outline))


def _needed(row: Row, column: str) -> Any:
    value = row.get(column)
    if value is None:
        raise SourceError(f"Earth Engine: scene {row.get('scene')} has no value for `{column}`")
    return value


def _measured(reply: Any, name: str) -> float:
    value = reply.get(name) if isinstance(reply, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SourceError(f"Earth Engine's measurements hold {value!r} for {name!r}; expected a number")
    return value


def _time(row: Row) -> dt.datetime:
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=_needed(row, "time_ms"))


def _orbit_pass(row: Row) -> OrbitPass:
    direction = str(_needed(row, "orbit_pass")).lower()
    if direction == "ascending":
        return "ascending"
    if direction == "descending":
        return "descending"
    raise SourceError(f"Earth Engine: scene {row.get('scene')} has the pass {direction!r}")
