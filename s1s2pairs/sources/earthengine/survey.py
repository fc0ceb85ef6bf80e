"""What Earth Engine holds of one ROI: listed in one request, measured as far as a search asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import ee

from ...acquisitions import (
    Incidence,
    OpticalAcquisition,
    OpticalScene,
    RoiGrids,
    SarAcquisition,
    SarScene,
    SceneIds,
    Span,
    joined,
)
from ...errors import SourceError
from ...grid import inside
from ..grouping import SarPass, group_optical, measured_passes, sar_acquisitions, sar_passes
from . import answers, expressions
from .answers import ClassCounts
from .limits import ACQUISITIONS_AT_ONCE, ANGLES_AT_ONCE, MAX_AGGREGATIONS, MAX_TILE_SCALE, halves
from .retry import TooLarge


class Ask(Protocol):
    """Gets a value computed."""

    def __call__(self, expression: Any, *, what: str, smaller: int, reduces: bool) -> Any:
        """Compute an expression.

        Args:
            expression: What to compute.
            what: For messages.
            smaller: How often it has been made smaller.
            reduces: Whether it reduces images over a region, of which few may be computed at once.

        Raises:
            TooLarge: It has to be made smaller.
            SourceError: Earth Engine cannot answer.
        """


T = TypeVar("T")


class Survey:
    """The search of one ROI: at most three requests in all, unless one is too much for Earth Engine and has to be parted.

    The first lists both sensors' scenes in every window that the search may come to. The second measures the unmoved windows:
    classes of the optical acquisitions, angles of the radar orbits around them. Only where no window serves does a third
    measure the rest.
    """

    def __init__(self, place: RoiGrids, ask: Ask) -> None:
        self._place = place
        self._ask = ask
        self._listed: tuple[list[Span], list[Span]] = ([], [])
        """Of the radar and of the optical scenes."""
        self._sar: dict[str, SarScene] = {}
        self._optical: dict[str, OpticalScene] = {}
        self._counts: dict[SceneIds, ClassCounts] = {}
        self._angles: dict[str, Incidence] = {}

    def optical(self, spans: Sequence[Span]) -> tuple[OpticalAcquisition, ...]:
        """List the acquisitions within any of the spans, with their fractions over the ROI.

        Raises:
            SourceError: Earth Engine cannot answer.
        """
        self._list(optical=spans)
        groups = group_optical(s for s in self._optical.values() if any(_holds(span, s) for span in spans))
        ahead = [window.sar for window in self._place.windows if _is_within(window.optical, spans)]
        self._measure(groups, self._measured_ahead(ahead))
        roi_pixels = int(inside(self._place.polygon, self._place.analysis_grid).sum())
        return tuple(
            answers.optical_acquisition(group, self._counts[_ids(group)], roi_pixels=roi_pixels) for group in groups
        )

    def sar(self, spans: Sequence[Span], polarisations: Sequence[str]) -> tuple[SarAcquisition, ...]:
        """List the acquisitions with all wanted polarisations within any of the spans.

        Raises:
            SourceError: Earth Engine cannot answer.
        """
        self._list(sar=spans)

        def measure(passes: Sequence[SarPass]) -> dict[str, Incidence]:
            self._measure((), (scene for group in passes for scene in group))
            return self._angles

        spanned = [self._passes(span, polarisations) for span in spans]
        return sar_acquisitions(spanned, measure, roi=self._place.polygon)

    def _passes(self, span: Span, polarisations: Sequence[str]) -> tuple[SarPass, ...]:
        return sar_passes(
            s for s in self._sar.values() if _holds(span, s) and set(polarisations) <= set(s.polarisations)
        )

    def _measured_ahead(self, spans: Sequence[Span]) -> Iterator[SarScene]:
        """Yield the scenes whose angle will be wanted if the windows asked about now serve."""
        for span in spans:
            passes = self._passes(span, self._place.polarisations)
            for group in measured_passes(passes, roi=self._place.polygon).values():
                yield from group

    def _list(self, *, sar: Sequence[Span] = (), optical: Sequence[Span] = ()) -> None:
        known_sar, known_optical = self._listed
        if not known_sar and not known_optical:
            sar = [*sar, *(window.sar for window in self._place.windows)]
            optical = [*optical, *(window.optical for window in self._place.windows)]
        new_sar = joined([span for span in sar if not _is_within(span, known_sar)])
        new_optical = joined([span for span in optical if not _is_within(span, known_optical)])
        for table in self._tables(new_sar, new_optical) if new_sar or new_optical else ():
            found_sar, found_optical = answers.scenes(table)
            self._sar |= {scene.id: scene for scene in found_sar}
            self._optical |= {scene.id: scene for scene in found_optical}
        known_sar += new_sar
        known_optical += new_optical

    def _tables(self, sar: Sequence[Span], optical: Sequence[Span], *, smaller: int = 0) -> Iterator[Any]:
        """Get the listing, in parts where it is too much for one request: sensor by sensor, then stretch by stretch."""
        what = f"the scenes of ROI {self._place.name}"
        try:
            listing = expressions.listing(self._place.polygon, sar=sar, optical=optical)
            yield self._ask(listing, what=what, smaller=smaller, reduces=False)
        except TooLarge as error:
            cause = error
        else:
            return
        if sar and optical:
            parts: list[tuple[Sequence[Span], Sequence[Span]]] = [(sar, ()), ((), optical)]
        else:
            cut = halves(sar or optical, longitude=self._place.polygon.centroid.x)
            if cut is None:
                raise SourceError(f"Earth Engine cannot list {what}, even for a single day ({cause})") from cause
            parts = [(half, ()) if sar else ((), half) for half in cut]
        for part in parts:
            yield from self._tables(*part, smaller=smaller + 1)

    def _measure(self, groups: Sequence[Sequence[OpticalScene]], scenes: Iterable[SarScene]) -> None:
        """Measure what has not been measured yet."""
        angles = dict.fromkeys(scene.id for scene in scenes if scene.id not in self._angles)
        counts = [ids for group in groups if (ids := _ids(group)) not in self._counts]
        parts: list[_Part] = [
            *(
                _Part(ask=expressions.incidence_angles, keep=self._keep_angles, items=some)
                for some in _chunks(list(angles), ANGLES_AT_ONCE)
            ),
            *(
                _Part(ask=expressions.class_counts, keep=self._keep_counts, items=some)
                for some in _chunks(counts, ACQUISITIONS_AT_ONCE)
            ),
        ]
        for some in _chunks(parts, MAX_AGGREGATIONS):
            self._measure_at_once(some)

    def _measure_at_once(self, parts: Sequence[_Part], *, smaller: int = 0) -> None:
        what = f"the measurements of ROI {self._place.name}"
        try:
            asked = [part.ask(self._place, part.items, tile_scale=part.tile_scale) for part in parts]
            replies = self._ask(ee.List(asked), what=what, smaller=smaller, reduces=True)
        except TooLarge as error:
            for less in _less(parts, what=what, error=error):
                self._measure_at_once(less, smaller=smaller + 1)
            return
        if not isinstance(replies, list) or len(replies) != len(parts):
            raise SourceError(f"Earth Engine answered {what} with something else than {len(parts)} measurements")
        for part, reply in zip(parts, replies, strict=True):
            part.keep(part.items, reply)

    def _keep_counts(self, acquisitions: Sequence[SceneIds], reply: Any) -> None:
        counted = answers.class_counts(reply, len(acquisitions))
        self._counts |= zip(acquisitions, counted, strict=True)

    def _keep_angles(self, scene_ids: Sequence[str], reply: Any) -> None:
        measured = answers.incidence(reply, [self._sar[id_] for id_ in scene_ids], self._place)
        self._angles |= zip(scene_ids, measured, strict=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """One aggregation, of some acquisitions or scenes."""

    ask: Callable[..., Any]
    """Function of `expressions` that asks for it."""
    keep: Callable[[Sequence[Any], Any], None]
    """Reads what comes back for the items."""
    items: Sequence[Any]
    tile_scale: int = 1


def _less(parts: Sequence[_Part], *, what: str, error: TooLarge) -> list[list[_Part]]:
    """Part what was too much for one request in two, or let Earth Engine work in smaller pieces where nothing is left to part."""
    if len(parts) > 1:
        half = len(parts) // 2
        return [list(parts[:half]), list(parts[half:])]
    (part,) = parts
    if len(part.items) > 1:
        half = len(part.items) // 2
        return [[replace(part, items=part.items[:half])], [replace(part, items=part.items[half:])]]
    if part.tile_scale < MAX_TILE_SCALE:
        return [[replace(part, tile_scale=2 * part.tile_scale)]]
    raise SourceError(
        f"Earth Engine cannot compute {what}, not even of one acquisition ({error}): cut the ROI in two"
    ) from error


def _ids(group: Sequence[OpticalScene]) -> SceneIds:
    return tuple(scene.id for scene in group)


def _holds(span: Span, scene: SarScene | OpticalScene) -> bool:
    return span.start <= scene.acquired_at < span.end


def _is_within(span: Span, spans: Sequence[Span]) -> bool:
    return any(other.start <= span.start and span.end <= other.end for other in spans)


def _chunks(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), most):
        yield items[start : start + most]
