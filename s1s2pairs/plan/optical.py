"""Which optical acquisitions a ROI's periods are made from: the clear ones, with the window moved when it must be."""

import calendar
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..acquisitions import CompositeMethod, OpticalAcquisition, Span, joined
from ..errors import NoAcquisitions
from ..recipe.settings import Period, Settings

MEDIAN_FROM = 3
"""`auto` composites take the median from this many clear acquisitions on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpticalChoice:
    """What one period's optical image is made from."""

    start: dt.date
    end: dt.date
    """The window searched in the end, `end` excluded."""
    month_shift: int
    """Whole months the window was moved."""
    method: CompositeMethod
    used: tuple[OpticalAcquisition, ...]
    """By time."""
    considered: tuple[OpticalAcquisition, ...]
    """Every acquisition in the window, by time."""
    mean_time: dt.datetime
    """Mean acquisition time of those used."""


def shifts(most: int) -> Iterator[int]:
    """Yield 0, +1, -1, +2, -2 ... up to `most` months: the order in which moved windows are tried."""
    yield 0
    for months in range(1, most + 1):
        yield months
        yield -months


def moved(period: Period, months: int) -> tuple[dt.date, dt.date]:
    """Return the period's window moved by whole months; a day the month lacks becomes its last day."""
    return _add_months(period.start, months), _add_months(period.end, months)


def span_of(start: dt.date, end: dt.date) -> Span:
    """Return the stretch of time of a window of days, `end` excluded."""
    return Span(start=midnight(start), end=midnight(end))


def _add_months(day: dt.date, months: int) -> dt.date:
    year, month0 = divmod(day.year * 12 + day.month - 1 + months, 12)
    return dt.date(year, month0 + 1, min(day.day, calendar.monthrange(year, month0 + 1)[1]))


def search_spans(periods: Sequence[Period], *, reach: int) -> tuple[Span, ...]:
    """Return the stretches of time that the windows moved by up to `reach` months make up, overlapping ones joined."""
    return joined([span_of(*moved(p, months)) for months in shifts(reach) for p in periods])


def midnight(day: dt.date) -> dt.datetime:
    """Return the beginning of a day, UTC."""
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)


def is_clear(acquisition: OpticalAcquisition, settings: Settings) -> bool:
    """Tell whether an acquisition keeps all three thresholds; a value equal to its threshold passes."""
    return (
        acquisition.coverage_fraction >= settings.min_coverage_fraction
        and acquisition.cloud_fraction <= settings.max_cloud_fraction
        and acquisition.snow_fraction <= settings.max_snow_fraction
    )


def choose_optical(
    acquisitions: Sequence[OpticalAcquisition], *, settings: Settings, reach: int
) -> Mapping[str, OpticalChoice] | None:
    """Choose every period's optical acquisitions.

    No clear acquisition in a window: it moves by whole months, nearest first. With `season_lock` the smallest shift
    that serves every period wins; only when none within `max_shift_months` does is each period shifted alone.

    Args:
        acquisitions: All there are within `reach` months of every window, in any order.
        settings: The ROI's settings.
        reach: How many months the search has covered; nothing beyond is decided.

    Returns:
        Period label -> choice; None when `reach` is less than `max_shift_months` and a farther look is needed.

    Raises:
        NoAcquisitions: A period has no clear acquisition even at the largest shift.
    """
    if settings.season_lock:
        for shift in shifts(reach):
            together = {p.label: _choose(acquisitions, p, shift, settings) for p in settings.periods}
            if all(together.values()):
                return {label: choice for label, choice in together.items() if choice}
        if reach < settings.max_shift_months:
            return None
    alone = {p.label: _first(acquisitions, p, settings, reach) for p in settings.periods}
    if all(alone.values()):
        return {label: choice for label, choice in alone.items() if choice}
    if reach < settings.max_shift_months:
        return None
    raise NoAcquisitions(_why_none(acquisitions, [p for p in settings.periods if not alone[p.label]], settings, reach))


def is_locked(choices: Mapping[str, OpticalChoice]) -> bool:
    """Tell whether all periods were moved by the same number of months."""
    return len({choice.month_shift for choice in choices.values()}) == 1


def _first(
    acquisitions: Sequence[OpticalAcquisition], period: Period, settings: Settings, reach: int
) -> OpticalChoice | None:
    tries = (_choose(acquisitions, period, shift, settings) for shift in shifts(reach))
    return next((choice for choice in tries if choice), None)


def _within(acquisitions: Sequence[OpticalAcquisition], start: dt.date, end: dt.date) -> tuple[OpticalAcquisition, ...]:
    inside = (a for a in acquisitions if midnight(start) <= a.acquired_at < midnight(end))
    return tuple(sorted(inside, key=lambda a: (a.acquired_at, a.scene_ids)))


def _choose(
    acquisitions: Sequence[OpticalAcquisition], period: Period, shift: int, settings: Settings
) -> OpticalChoice | None:
    start, end = moved(period, shift)
    considered = _within(acquisitions, start, end)
    clear = tuple(a for a in considered if is_clear(a, settings))
    if not clear:
        return None
    median = settings.s2_composite == "median" or (settings.s2_composite == "auto" and len(clear) >= MEDIAN_FROM)
    used = clear if median else (_least_cloudy(clear, midnight(start), midnight(end)),)
    return OpticalChoice(
        start=start,
        end=end,
        month_shift=shift,
        method="median" if median else "least_cloudy",
        used=used,
        considered=considered,
        mean_time=mean_time([a.acquired_at for a in used]),
    )


def _least_cloudy(clear: Sequence[OpticalAcquisition], start: dt.datetime, end: dt.datetime) -> OpticalAcquisition:
    centre = start + (end - start) / 2
    return min(clear, key=lambda a: (a.cloud_fraction, abs(a.acquired_at - centre), a.acquired_at, a.scene_ids))


def mean_time(times: Sequence[dt.datetime]) -> dt.datetime:
    """Return the mean of times, to the whole second (half seconds to the later)."""
    first = min(times)
    seconds = sum((time - first).total_seconds() for time in times) / len(times)
    mean = first + dt.timedelta(seconds=seconds)
    return (mean + dt.timedelta(microseconds=500_000)).replace(microsecond=0)


def _why_none(
    acquisitions: Sequence[OpticalAcquisition], periods: Sequence[Period], settings: Settings, reach: int
) -> str:
    reasons = [_why_not(acquisitions, period, settings, reach) for period in periods]
    parts = "; ".join(f"period {period.label}: {why}" for period, (why, _) in zip(periods, reasons, strict=True))
    advice = " or ".join(dict.fromkeys(step for _, step in reasons))
    return (
        f"no clear optical acquisition ({parts}); allowed are cloud <= {settings.max_cloud_fraction:g}, "
        f"snow <= {settings.max_snow_fraction:g}, coverage >= {settings.min_coverage_fraction:g}: {advice}, or raise "
        "max_shift_months"
    )


def _why_not(
    acquisitions: Sequence[OpticalAcquisition], period: Period, settings: Settings, reach: int
) -> tuple[str, str]:
    """Return which threshold a period fails at, and what could be done."""
    windows = [moved(period, shift) for shift in shifts(reach)]
    # Short windows leave days between them: what was seen then is of no use, however clear.
    seen = {one for start, end in windows for one in _within(acquisitions, start, end)}
    if not seen:
        return f"no acquisition within {reach} months", "choose a source that holds this place and time"
    whole = [a for a in seen if a.coverage_fraction >= settings.min_coverage_fraction]
    told = f"{len(seen)} acquisitions within {reach} months"
    if not whole:
        most = max(a.coverage_fraction for a in seen)
        return f"{told}, none covers the ROI, at best {most:.3f} of it", "lower min_coverage_fraction"
    cloudless = [a for a in whole if a.cloud_fraction <= settings.max_cloud_fraction]
    if not cloudless:
        least = min(a.cloud_fraction for a in whole)
        return f"{told}, the least cloudy of {len(whole)} that cover it has {least:.3f}", "raise max_cloud_fraction"
    least = min(a.snow_fraction for a in cloudless)
    return f"{told}, the least snowy of {len(cloudless)} without cloud has {least:.3f}", "raise max_snow_fraction"
