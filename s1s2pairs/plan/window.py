"""Which SAR acquisitions of one orbit are averaged: a window in time that grows until it holds enough."""

import datetime as dt
from collections.abc import Iterator, Sequence

from ..acquisitions import SarAcquisition
from ..recipe.settings import Settings

FIRST_HALF_DAYS = 30.0
STEP_DAYS = 8.0


def reach_days(settings: Settings) -> float:
    """Return how far from its centre a window may reach, days: half the longest span, or the largest lag if that is less."""
    half = settings.s1_max_span_days / 2
    return half if settings.s1_max_lag_days is None else min(half, settings.s1_max_lag_days)


def half_widths(reach: float) -> Iterator[float]:
    """Yield the half widths tried, days: 30, 38, 46 ... the last cut to `reach`."""
    half = FIRST_HALF_DAYS
    while half < reach:
        yield half
        half += STEP_DAYS
    yield reach


def choose_dates(
    acquisitions: Sequence[SarAcquisition], *, centre: dt.datetime, settings: Settings
) -> tuple[SarAcquisition, ...] | None:
    """Choose the acquisitions averaged around `centre`, of one orbit's.

    The window grows until it holds the least number wanted; of more than the most, the nearest in time stay (ties:
    the earlier). Times are compared to the second.

    Returns:
        By time; None when even the widest window holds too few.
    """
    least, most = settings.s1_acquisitions
    nearest = sorted(acquisitions, key=lambda a: (abs(a.acquired_at - centre), a.acquired_at, a.scene_ids))
    for half in half_widths(reach_days(settings)):
        inside = [a for a in nearest if abs(a.acquired_at - centre) <= dt.timedelta(days=half)]
        if len(inside) >= least:
            return tuple(sorted(inside[:most], key=lambda a: (a.acquired_at, a.scene_ids)))
    return None
