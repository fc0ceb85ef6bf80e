"""Scenes and acquisitions: what a source reports, and how the scenes of one overflight are put together.

Everything here is a plain frozen value or a pure function; both sources use the same grouping.
"""

import datetime as dt
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeVar

import shapely
from shapely.geometry.base import BaseGeometry

from .grid import covered_fraction
from .recipe import OrbitPass

IncidenceSource = Literal["raster", "property", "annotation", "model"]
"""Where a mean incidence angle is from: the scene's angle raster, its catalogue property `view:incidence_angle`, the product's
annotation grid, or the orbit geometry model."""
Backscatter = Literal["sigma0", "gamma0"]

_BASELINE = re.compile(r"_N\d\d\.\d\d$")
"""End of a datatake id: the processing baseline, which is no part of when the image was taken."""
PASS_GAP = dt.timedelta(minutes=10)
"""Scenes of one platform and orbit closer in time than this belong to one overflight."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SarScene:
    """One catalogued Sentinel-1 image as a source found it over a ROI."""

    id: str
    acquired_at: dt.datetime
    platform: str
    """`sentinel-1a`, `sentinel-1b`, ..."""
    relative_orbit: int
    absolute_orbit: int | None
    orbit_pass: OrbitPass
    polarisations: tuple[str, ...]
    footprint: BaseGeometry
    """Ground it holds data for, lon/lat."""
    incidence_deg: float
    """Mean over the ROI's pixels that the scene covers; see `incidence_source`."""
    incidence_weight: int
    """How many pixels of the analysis grid that mean was taken over; 1 where it is not from a raster."""
    incidence_source: IncidenceSource


@dataclass(frozen=True, kw_only=True, slots=True)
class SarAcquisition:
    """One Sentinel-1 overflight of a ROI: its scenes side by side."""

    scene_ids: tuple[str, ...]
    acquired_at: dt.datetime
    """Start of the first scene, UTC."""
    platform: str
    relative_orbit: int
    orbit_pass: OrbitPass
    coverage_fraction: float
    """Part of the ROI's area inside the scenes' footprints."""
    incidence_deg: float
    incidence_source: IncidenceSource
    footprint_wkt: str
    """Outline of the scenes together, lon/lat, for maps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpticalScene:
    """One catalogued Sentinel-2 image."""

    id: str
    acquired_at: dt.datetime
    platform: str
    relative_orbit: int | None
    datatake_id: str | None
    tile: str
    """MGRS tile, or whatever tells the scenes of one datatake apart; empty where unknown."""
    strip: str
    """Sensing start of the datastrip (`20190601T105621`): two strips of one tile are no duplicates. Empty where unknown:
    then only images of the same second are."""
    processed: str
    """Sorts the processings of one image, newest last: baseline, then time of generation."""
    footprint: BaseGeometry


@dataclass(frozen=True, kw_only=True, slots=True)
class OpticalAcquisition:
    """One Sentinel-2 overflight of a ROI (datatake), measured over the ROI at 20 m."""

    scene_ids: tuple[str, ...]
    acquired_at: dt.datetime
    """Time of the first scene, UTC."""
    platform: str
    coverage_fraction: float
    """Pixels with SCL other than 0, of the ROI's."""
    cloud_fraction: float
    """SCL 3, 8, 9, 10, of the covered pixels; 1 where nothing is covered."""
    snow_fraction: float
    """SCL 11, of the covered pixels."""
    footprint_wkt: str


def outline_wkt(footprints: Iterable[BaseGeometry]) -> str:
    """Return the union of footprints as WKT rounded to 1e-4 degrees (10 m), for maps."""
    union = shapely.union_all([shapely.make_valid(f) for f in footprints])
    return str(shapely.to_wkt(shapely.normalize(shapely.simplify(union, 1e-4)), rounding_precision=4))


def group_sar(scenes: Iterable[SarScene], *, roi: BaseGeometry) -> tuple[SarAcquisition, ...]:
    """Put the slices of each pass together.

    One pass is one absolute orbit where that is known, else one platform and relative orbit with gaps under 10
    minutes. (A UTC date would cut a pass at midnight.)

    Args:
        scenes: In any order; a scene listed twice counts once.
        roi: Polygon in lon/lat, for the coverage.

    Returns:
        By time, then relative orbit.
    """
    known: dict[tuple[object, ...], list[SarScene]] = defaultdict(list)
    unknown: dict[tuple[object, ...], list[SarScene]] = defaultdict(list)
    for scene in {scene.id: scene for scene in scenes}.values():
        key = (scene.platform, scene.relative_orbit, scene.orbit_pass)
        if scene.absolute_orbit is None:
            unknown[key].append(scene)
        else:
            known[(*key, scene.absolute_orbit)].append(scene)
    passes = list(known.values())
    for group in unknown.values():
        passes.extend(_split_at_gaps(group))
    acquisitions = [_sar_acquisition(group, roi) for group in passes]
    return tuple(sorted(acquisitions, key=lambda a: (a.acquired_at, a.relative_orbit, a.scene_ids)))


_Scene = TypeVar("_Scene", SarScene, OpticalScene)


def _split_at_gaps(scenes: Sequence[_Scene]) -> list[list[_Scene]]:
    ordered = sorted(scenes, key=lambda scene: (scene.acquired_at, scene.id))
    groups = [[ordered[0]]]
    for before, scene in pairwise(ordered):
        if scene.acquired_at - before.acquired_at > PASS_GAP:
            groups.append([])
        groups[-1].append(scene)
    return groups


def _sar_acquisition(scenes: Sequence[SarScene], roi: BaseGeometry) -> SarAcquisition:
    scenes = sorted(scenes, key=lambda scene: scene.id)
    first = min(scenes, key=lambda scene: (scene.acquired_at, scene.id))
    weight = sum(scene.incidence_weight for scene in scenes)
    if weight:
        angle = sum(scene.incidence_deg * scene.incidence_weight for scene in scenes if scene.incidence_weight) / weight
    else:
        angle = first.incidence_deg
    footprint = shapely.union_all([shapely.make_valid(scene.footprint) for scene in scenes])
    return SarAcquisition(
        scene_ids=tuple(scene.id for scene in scenes),
        acquired_at=first.acquired_at,
        platform=first.platform,
        relative_orbit=first.relative_orbit,
        orbit_pass=first.orbit_pass,
        coverage_fraction=covered_fraction(roi, footprint),
        incidence_deg=round(angle, 4),
        # A slice that touches the ROI without a pixel of its own has no say in where the angle is from.
        incidence_source=max(
            (s.incidence_source for s in scenes if s.incidence_weight or not weight),
            key=lambda source: source != "raster",
        ),
        footprint_wkt=outline_wkt([footprint]),
    )


def group_optical(scenes: Iterable[OpticalScene]) -> tuple[tuple[OpticalScene, ...], ...]:
    """Put the granules of each datatake together, keeping only the newest processing of each.

    Scenes without a datatake id go by platform, relative orbit and gaps under 10 minutes.

    Returns:
        One tuple of scenes per acquisition, each by id, the acquisitions by time.
    """
    known: dict[tuple[object, ...], list[OpticalScene]] = defaultdict(list)
    unknown: dict[tuple[object, ...], list[OpticalScene]] = defaultdict(list)
    for scene in {scene.id: scene for scene in scenes}.values():
        if scene.datatake_id:
            known[(_BASELINE.sub("", scene.datatake_id),)].append(scene)
        else:
            unknown[(scene.platform, scene.relative_orbit)].append(scene)
    datatakes = list(known.values())
    for group in unknown.values():
        datatakes.extend(_split_at_gaps(group))
    acquisitions = [tuple(sorted(_newest(group), key=lambda scene: scene.id)) for group in datatakes]
    return tuple(sorted(acquisitions, key=lambda group: (min(s.acquired_at for s in group), group[0].id)))


def _newest(scenes: Iterable[OpticalScene]) -> list[OpticalScene]:
    newest: dict[tuple[str, str], OpticalScene] = {}
    for scene in sorted(scenes, key=lambda scene: (scene.processed, scene.id)):
        # Without a tile there is nothing to tell a duplicate by; the scene stands for itself.
        # Without a datastrip two images of a tile are one only if they were taken in the same second.
        strip = scene.strip or scene.acquired_at.isoformat(timespec="seconds")
        newest[(scene.tile or scene.id, strip)] = scene
    return list(newest.values())
