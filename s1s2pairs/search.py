"""Plan a ROI: ask the source what there is, and let the rules choose."""

import logging

from .errors import NoAcquisitions
from .optical import OpticalChoice, choose_optical, search_spans, span_of
from .orbit import choose_orbit, search_span
from .plan import RoiPlan, assemble, place
from .recipe import Roi
from .sources import Place, Source

log = logging.getLogger(__name__)


def plan_roi(source: Source, roi: Roi) -> RoiPlan:
    """Choose orbit, scenes and dates of one ROI. No pixels of the composites are fetched.

    A ROI for which the rules find nothing is a plan too: one with the reason in `failure`.

    Raises:
        GridError: The ROI lies outside UTM.
        SourceError: The source cannot be used; worth another try later.
    """
    here = place(roi)
    try:
        backscatter = source.backscatter()  # without radar there is no pair, and no need to read optical scenes
        optical = _optical(source, here, roi)
        centres = {label: choice.mean_time for label, choice in optical.items()}
        spans = [search_span(span_of(choice.start, choice.end), roi.settings) for choice in optical.values()]
        found = source.find_sar(here, spans, polarisations=roi.settings.s1_polarisations)
        orbit = choose_orbit(found, centres=centres, settings=roi.settings)
    except NoAcquisitions as error:
        log.info("%s: %s", roi.name, error)
        return RoiPlan(roi=roi, choices=None, failure=str(error))
    return assemble(roi, grid=here.grid, optical=optical, orbit=orbit, backscatter=backscatter)


def _optical(source: Source, here: Place, roi: Roi) -> dict[str, OpticalChoice]:
    # The unmoved windows first: most places have a clear scene there, and a look at every month within reach costs ten
    # times as much.
    for reach in (0, roi.settings.max_shift_months):
        spans = search_spans(roi.settings.periods, reach=reach)
        choices = choose_optical(source.find_optical(here, spans), settings=roi.settings, reach=reach)
        if choices is not None:
            return dict(choices)
    raise AssertionError("a search at full reach either chooses or raises NoAcquisitions")
