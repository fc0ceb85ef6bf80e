"""What Earth Engine answers, read into scenes and measurements. No I/O."""

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import shapely
import shapely.geometry
from shapely.geometry.base import BaseGeometry

from ... import s1_orbits
from ...acquisitions import Incidence, OpticalAcquisition, OpticalScene, RoiGrids, SarScene
from ...errors import SourceError
from ...grid import incidence_points
from ...sensors import OrbitPass
from ...untrusted import Unusable, check_depth, cut, shown
from ..grouping import is_on_earth, outline_wkt
from .expressions import CLASSES, SENSOR, angle_band, counted_band
from .geodesic import along_geodesics

_STRIP = re.compile(r"_S(\d{8}T\d{6})_")
_RESOLUTION_M = 10
"""IW scenes in Earth Engine have 10 m pixels; other modes are left out."""

_MOST = 1e15
"""No number that is answered is larger: times of processing, milliseconds, have 13 digits."""
_MOST_CHARACTERS = 1000
_LAST_MS = 4_102_444_800_000

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
    orbit = _needed_whole(row, "relative_orbit")
    if not 1 <= orbit <= s1_orbits.ORBITS_PER_CYCLE:
        raise _fault(row, "relative_orbit", f"an orbit of 1 to {s1_orbits.ORBITS_PER_CYCLE}")
    held = row.get("polarisations") or []
    if not isinstance(held, list) or not all(isinstance(name, str) for name in held):
        raise _fault(row, "polarisations", "a list of texts")
    return SarScene(
        id=_needed_text(row, "scene"),
        acquired_at=_time(row),
        platform=f"sentinel-1{_needed_text(row, 'platform')}".lower(),
        relative_orbit=orbit,
        absolute_orbit=_whole(row, "absolute_orbit"),
        orbit_pass=_orbit_pass(row),
        polarisations=tuple(held),
        footprint=footprint,
    )


def _optical_scene(row: Row, footprint: BaseGeometry) -> OpticalScene:
    strip = _STRIP.search(_text(row, "datastrip") or "")
    return OpticalScene(
        id=_needed_text(row, "scene"),
        acquired_at=_time(row),
        platform=_needed_text(row, "platform").lower(),
        relative_orbit=_whole(row, "relative_orbit"),
        datatake_id=_text(row, "datatake"),
        tile=_text(row, "tile") or "",
        strip=strip.group(1) if strip else "",
        # Milliseconds since 1970, of equal length since 2001.
        processed=f"{_text(row, 'baseline') or '00.00'} {_whole(row, 'generated_ms') or 0:015d}",
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
        check_depth(table)
    except Unusable as error:
        raise SourceError(f"expected a table of scenes of Earth Engine, found one that is {error}") from error
    features = table.get("features") if isinstance(table, dict) else None
    if not isinstance(features, list) or not all(
        isinstance(feature, dict) and isinstance(feature.get("properties"), dict) for feature in features
    ):
        raise SourceError(f"expected a table of scenes of Earth Engine with a list `features`, found {shown(table)}")
    for feature in features:
        row, outline = feature["properties"], feature.get("geometry")
        if outline is None:
            raise SourceError(f"Earth Engine: scene {shown(row.get('scene'))} has no footprint")
        yield row, _footprint(row, outline)


def _footprint(row: Row, outline: object) -> BaseGeometry:
    """Return a footprint as GeoJSON has it, its edges as Earth Engine means them."""
    problem = "no footprint can be made of it"
    try:
        shape = _shape(outline)
        if shape.is_empty or is_on_earth(shape):
            return along_geodesics(shape) if outline.get("geodesic", True) and not shape.is_empty else shape  # type: ignore[attr-defined]
        problem = "it lies outside longitudes and latitudes"
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError, shapely.errors.ShapelyError) as error:
        problem = f"{problem} ({cut(str(error))})"
    raise SourceError(f"Earth Engine: scene {shown(row.get('scene'))} has the footprint {shown(outline)}: {problem}")


def _shape(outline: Any) -> BaseGeometry:
    if outline["type"] == "LinearRing":  # Earth Engine gives some footprints as the ring around them
        return shapely.geometry.Polygon(outline["coordinates"])
    return shapely.geometry.shape(dict(outline))


def _fault(row: Row, column: str, wanted: str) -> SourceError:
    return SourceError(
        f"Earth Engine: scene {shown(row.get('scene'))} has {shown(row.get(column))} for `{column}`; expected {wanted}"
    )


def _needed(row: Row, column: str) -> Any:
    value = row.get(column)
    if value is None:
        raise SourceError(f"Earth Engine: scene {shown(row.get('scene'))} has no value for `{column}`")
    return value


def _text(row: Row, column: str) -> str | None:
    value = row.get(column)
    if value is None or (isinstance(value, str) and len(value) <= _MOST_CHARACTERS):
        return value
    raise _fault(row, column, f"text of at most {_MOST_CHARACTERS} characters")


def _needed_text(row: Row, column: str) -> str:
    _needed(row, column)
    return _text(row, column) or ""


def _whole(row: Row, column: str) -> int | None:
    value = row.get(column)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MOST or value != int(value):
        raise _fault(row, column, "a whole number")
    return int(value)


def _needed_whole(row: Row, column: str) -> int:
    _needed(row, column)
    return _whole(row, column) or 0


def _measured(reply: Any, name: str) -> float:
    value = reply.get(name) if isinstance(reply, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST:
        raise SourceError(f"Earth Engine's measurements hold {shown(value)} for {name!r}; expected a number from 0")
    return value


def _time(row: Row) -> dt.datetime:
    time_ms = _needed(row, "time_ms")
    if isinstance(time_ms, bool) or not isinstance(time_ms, int | float) or not 0 <= time_ms <= _LAST_MS:
        raise _fault(row, "time_ms", "milliseconds since 1970, of a year before 2100")
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=time_ms)


def _orbit_pass(row: Row) -> OrbitPass:
    direction = _needed_text(row, "orbit_pass").lower()
    if direction == "ascending":
        return "ascending"
    if direction == "descending":
        return "descending"
    raise _fault(row, "orbit_pass", "ascending or descending")
