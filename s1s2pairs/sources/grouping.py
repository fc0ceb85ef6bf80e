"""How the scenes of one overflight are put together; every source uses the same rules. No I/O."""

import datetime as dt
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar

import shapely
from shapely.geometry.base import BaseGeometry

from ..acquisitions import Incidence, OpticalScene, SarAcquisition, SarScene
from ..grid import covered_fraction
from ..sensors import OrbitPass

_BASELINE = re.compile(r"_N\d\d\.\d\d$")
"""End of a datatake id: the processing baseline, which is no part of when the image was taken."""
INCIDENCE_DECIMALS = 4
"""Kept of an incidence angle, degrees."""
PASS_GAP = dt.timedelta(minutes=10)
"""Scenes of one platform and orbit closer in time than this belong to one overflight."""


_FARTHEST_LON = 540.0
"""Footprints across the 180th meridian may go on beyond it."""


def is_on_earth(footprint: BaseGeometry) -> bool:
    """Tell whether a footprint in lon/lat lies where there is ground; GEOS takes for ever over coordinates of 1e308."""
    west, south, east, north = footprint.bounds
    return -_FARTHEST_LON <= west <= east <= _FARTHEST_LON and -90 <= south <= north <= 90


def outline_wkt(footprints: Iterable[BaseGeometry]) -> str:
    """Return the union of footprints as WKT rounded to 1e-4 degrees (10 m), for maps."""
    return str(shapely.to_wkt(shapely.normalize(shapely.simplify(_union(footprints), 1e-4)), rounding_precision=4))


SarPass = tuple[SarScene, ...]
"""The scenes of one overflight, by id."""


def sar_passes(scenes: Iterable[SarScene]) -> tuple[SarPass, ...]:
    """Put the slices of each pass together.

    One pass is one absolute orbit where that is known, else one platform and relative orbit with gaps under 10
    minutes. (A UTC date would cut a pass at midnight.)

    Args:
        scenes: In any order; a scene listed twice counts once.

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
    ordered = (tuple(sorted(group, key=lambda scene: scene.id)) for group in passes)
    return tuple(sorted(ordered, key=lambda group: (_start(group), group[0].relative_orbit, group[0].id)))


def measured_passes(passes: Iterable[SarPass], *, roi: BaseGeometry) -> dict[tuple[int, OrbitPass], SarPass]:
    """Name for each relative orbit the pass on which its incidence angle is measured: most coverage, then the earliest.

    The satellites keep to a tube of some hundred metres, so that the angle of one pass is that of all of its orbit.

    Args:
        passes: Of one stretch of time.
        roi: Polygon in lon/lat.
    """
    best: dict[tuple[int, OrbitPass], SarPass] = {}
    for group in sorted(passes, key=lambda group: (-_coverage(group, roi), _start(group), group[0].id)):
        best.setdefault((group[0].relative_orbit, group[0].orbit_pass), group)
    return best


def sar_acquisitions(
    spans: Sequence[Sequence[SarPass]],
    measure: Callable[[Sequence[SarPass]], Mapping[str, Incidence]],
    *,
    roi: BaseGeometry,
) -> tuple[SarAcquisition, ...]:
    """Turn the passes of each span into acquisitions, the incidence angle measured once per span and orbit.

    Args:
        spans: For each stretch of time its passes. A pass in two of them takes its angle from the first.
        measure: Gives the angles of passes, by scene id.
        roi: Polygon in lon/lat.

    Returns:
        By time, then relative orbit.
    """
    chosen = [measured_passes(passes, roi=roi) for passes in spans]
    angles = measure([group for orbits in chosen for group in orbits.values()])
    found: dict[tuple[str, ...], SarAcquisition] = {}
    for passes, orbits in zip(spans, chosen, strict=True):
        measured = {orbit: _mean_incidence([angles[scene.id] for scene in group]) for orbit, group in orbits.items()}
        for group in passes:
            acquisition = _sar_acquisition(group, measured[group[0].relative_orbit, group[0].orbit_pass], roi)
            found.setdefault(acquisition.scene_ids, acquisition)
    return tuple(sorted(found.values(), key=lambda a: (a.acquired_at, a.relative_orbit, a.scene_ids)))


_Scene = TypeVar("_Scene", SarScene, OpticalScene)


def _split_at_gaps(scenes: Sequence[_Scene]) -> list[list[_Scene]]:
    ordered = sorted(scenes, key=lambda scene: (scene.acquired_at, scene.id))
    groups = [[ordered[0]]]
    for before, scene in pairwise(ordered):
        if scene.acquired_at - before.acquired_at > PASS_GAP:
            groups.append([])
        groups[-1].append(scene)
    return groups


def _start(scenes: Sequence[SarScene]) -> dt.datetime:
    return min(scene.acquired_at for scene in scenes)


def _coverage(scenes: Sequence[SarScene], roi: BaseGeometry) -> float:
    return _covered(tuple(scene.footprint for scene in scenes), roi)


@lru_cache(maxsize=2048)  # the windows of a search share most of their passes
def _covered(footprints: tuple[BaseGeometry, ...], roi: BaseGeometry) -> float:
    return covered_fraction(roi, _union(footprints))


def _union(footprints: Iterable[BaseGeometry]) -> BaseGeometry:
    return shapely.union_all([shapely.make_valid(footprint) for footprint in footprints])


def _mean_incidence(angles: Sequence[Incidence]) -> Incidence:
    """Return the angle of scenes side by side: the mean over their points."""
    # A slice that touches the ROI without a point of its own has no say.
    told = [angle for angle in angles if angle.points] or angles[:1]
    points = sum(angle.points for angle in told)
    mean_deg = sum(angle.mean_deg * angle.points for angle in told) / points if points else told[0].mean_deg
    return Incidence(
        mean_deg=mean_deg, points=points, source=max((a.source for a in told), key=lambda source: source != "raster")
    )


def _sar_acquisition(scenes: SarPass, incidence: Incidence, roi: BaseGeometry) -> SarAcquisition:
    first = min(scenes, key=lambda scene: (scene.acquired_at, scene.id))
    return SarAcquisition(
        scene_ids=tuple(scene.id for scene in scenes),
        acquired_at=first.acquired_at,
        platform=first.platform,
        relative_orbit=first.relative_orbit,
        orbit_pass=first.orbit_pass,
        coverage_fraction=_coverage(scenes, roi),
        incidence_deg=round(incidence.mean_deg, INCIDENCE_DECIMALS),
        incidence_source=incidence.source,
        footprint_wkt=outline_wkt(scene.footprint for scene in scenes),
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
