"""Plan a ROI: ask the source what there is, and let the rules choose."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..acquisitions import RoiGrids, SarAcquisition, Span
from ..errors import NoAcquisitions
from ..recipe.settings import Roi, Settings
from ..sources import Source
from .choices import RoiPlan, assemble, needed, place
from .optical import OpticalChoice, choose_optical, search_spans, span_of
from .radar import choose_orbit, search_span

log = logging.getLogger(__name__)


def plan_roi(source: Source, roi: Roi) -> RoiPlan:
    """Choose orbit, scenes and dates of one ROI. No pixels of the composites are fetched.

    A ROI for which the rules find nothing is a plan too: one with the reason in `failure`.

    Raises:
        GridError: The ROI lies outside UTM.
        SourceError: The source cannot be used; worth another try later.
    """
    lost: frozenset[str] = frozenset()
    while True:
        plan = _plan_without(lost, source, roi)
        missing = source.unreadable(needed(plan)) if plan.choices else frozenset()
        if not missing:
            return _with_versions(plan, source)
        log.warning("%s: chosen again without %s, whose files are missing", roi.name, ", ".join(sorted(missing)))
        lost |= missing


def _with_versions(plan: RoiPlan, source: Source) -> RoiPlan:
    if plan.choices is None:
        return plan
    return replace(plan, choices=replace(plan.choices, scene_versions=source.versions(needed(plan))))


def _plan_without(lost: frozenset[str], source: Source, roi: Roi) -> RoiPlan:
    here = place(roi)
    try:
        backscatter = source.backscatter()  # without radar there is no pair, and no need to read optical scenes
        optical = _optical(lost, source, here, roi)
        centres = {label: choice.mean_time for label, choice in optical.items()}
        orbit = choose_orbit(_radar(lost, source, here, roi, optical), centres=centres, settings=roi.settings)
    except NoAcquisitions as error:
        reason = f"{error}; left out because their files are missing: {', '.join(sorted(lost))}" if lost else str(error)
        log.info("%s: %s", roi.name, reason)
        return RoiPlan(roi=roi, choices=None, failure=reason)
    return assemble(roi, grid=here.grid, optical=optical, orbit=orbit, backscatter=backscatter)


def _nothing_there(roi: Roi, spans: Sequence[Span]) -> str:
    middle = roi.polygon.centroid
    return (
        f"no optical image from {min(s.start for s in spans):%Y-%m-%d} to {max(s.end for s in spans):%Y-%m-%d} touches the ROI, "
        f"whose middle lies at lon {middle.x:.3f} lat {middle.y:.3f}: is that in the sea, are lon and lat exchanged (GeoJSON has "
        "lon first), or has the source nothing there?"
    )


def _radar(
    lost: frozenset[str], source: Source, here: RoiGrids, roi: Roi, optical: Mapping[str, OpticalChoice]
) -> list[SarAcquisition]:
    def find(settings: Settings) -> list[SarAcquisition]:
        spans = [search_span(span_of(choice.start, choice.end), settings) for choice in optical.values()]
        found = source.find_sar(here, spans, polarisations=settings.s1_polarisations)
        return [acquisition for acquisition in found if lost.isdisjoint(acquisition.scene_ids)]

    found = find(roi.settings)
    if not found and roi.settings.s1_max_lag_days is not None:
        found = find(replace(roi.settings, s1_max_lag_days=None))  # too far away, but it shows which orbits there are
    return found


def _optical(lost: frozenset[str], source: Source, here: RoiGrids, roi: Roi) -> dict[str, OpticalChoice]:
    # The unmoved windows first: most places have a clear scene there, and a look at every month within reach costs ten
    # times as much.
    for reach in (0, roi.settings.max_shift_months):
        spans = search_spans(roi.settings.periods, reach=reach)
        found = source.find_optical(here, spans)
        there = [acquisition for acquisition in found if lost.isdisjoint(acquisition.scene_ids)]
        if not found and reach == roi.settings.max_shift_months:
            raise NoAcquisitions(_nothing_there(roi, spans))
        choices = choose_optical(there, settings=roi.settings, reach=reach)
        if choices is not None:
            return dict(choices)
    raise AssertionError("a search at full reach either chooses or raises NoAcquisitions")
