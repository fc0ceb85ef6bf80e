"""Plan a ROI: ask the source what there is, and let the rules choose."""

import logging

from ..acquisitions import RoiGrids
from ..errors import NoAcquisitions
from ..recipe.settings import Roi
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
            return plan
        log.warning("%s: chosen again without %s, whose files are missing", roi.name, ", ".join(sorted(missing)))
        lost |= missing


def _plan_without(lost: frozenset[str], source: Source, roi: Roi) -> RoiPlan:
    here = place(roi)
    try:
        backscatter = source.backscatter()  # without radar there is no pair, and no need to read optical scenes
        optical = _optical(lost, source, here, roi)
        centres = {label: choice.mean_time for label, choice in optical.items()}
        spans = [search_span(span_of(choice.start, choice.end), roi.settings) for choice in optical.values()]
        found = source.find_sar(here, spans, polarisations=roi.settings.s1_polarisations)
        there = [acquisition for acquisition in found if lost.isdisjoint(acquisition.scene_ids)]
        orbit = choose_orbit(there, centres=centres, settings=roi.settings)
    except NoAcquisitions as error:
        reason = f"{error}; left out because their files are missing: {', '.join(sorted(lost))}" if lost else str(error)
        log.info("%s: %s", roi.name, reason)
        return RoiPlan(roi=roi, choices=None, failure=reason)
    return assemble(roi, grid=here.grid, optical=optical, orbit=orbit, backscatter=backscatter)


def _optical(lost: frozenset[str], source: Source, here: RoiGrids, roi: Roi) -> dict[str, OpticalChoice]:
    # The unmoved windows first: most places have a clear scene there, and a look at every month within reach costs ten
    # times as much.
    for reach in (0, roi.settings.max_shift_months):
        spans = search_spans(roi.settings.periods, reach=reach)
        there = [found for found in source.find_optical(here, spans) if lost.isdisjoint(found.scene_ids)]
        choices = choose_optical(there, settings=roi.settings, reach=reach)
        if choices is not None:
            return dict(choices)
    raise AssertionError("a search at full reach either chooses or raises NoAcquisitions")
