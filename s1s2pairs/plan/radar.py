"""Which relative orbit a ROI's radar images are from: the one with the highest mean incidence angle that serves all periods."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..acquisitions import IncidenceSource, SarAcquisition, Span
from ..errors import NoAcquisitions
from ..recipe.settings import Settings
from ..sensors import OrbitPass

FIRST_HALF_DAYS = 30.0
STEP_DAYS = 8.0


@dataclass(frozen=True, kw_only=True, slots=True)
class OrbitCandidate:
    """One relative orbit that sees the ROI, and whether it can serve."""

    relative_orbit: int
    orbit_pass: OrbitPass
    incidence_deg: float
    """Mean over the ROI and over its acquisitions that cover the ROI; over all of them when none does."""
    incidence_source: IncidenceSource
    counts: Mapping[str, int]
    """Period label -> acquisitions within reach of its centre that cover the ROI."""
    coverage_fraction: float
    """The largest of any one acquisition."""
    eligible: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class OrbitChoice:
    """The orbit used in all periods, and its acquisitions."""

    relative_orbit: int
    orbit_pass: OrbitPass
    incidence_deg: float
    incidence_source: IncidenceSource
    dates: Mapping[str, tuple[SarAcquisition, ...]]
    """Period label -> acquisitions averaged, by time."""
    candidates: tuple[OrbitCandidate, ...]
    """Every orbit considered, the highest angle first."""


def search_span(window: Span, settings: Settings) -> Span:
    """Return the stretch of time in which a period's acquisitions may lie, wherever in `window` its optical ones do.

    It depends on the window alone, so that a source can be asked for radar before the optical images are chosen.
    """
    reach = dt.timedelta(days=reach_days(settings))
    return Span(start=window.start - reach, end=window.end + reach)


def choose_orbit(
    acquisitions: Sequence[SarAcquisition], *, centres: Mapping[str, dt.datetime], settings: Settings
) -> OrbitChoice:
    """Choose the relative orbit and its dates.

    An orbit is eligible if in EVERY period it can give the least number of acquisitions that cover the ROI. Of those
    the one with the highest mean incidence angle is used in all periods (equal angles: the lower number).

    Args:
        acquisitions: All that touch the ROI around the periods, in any order.
        centres: Period label -> mean time of its optical acquisitions.
        settings: The ROI's settings.

    Raises:
        NoAcquisitions: No orbit is eligible; the text gives the count of each.
    """
    orbits: dict[tuple[int, OrbitPass], list[SarAcquisition]] = defaultdict(list)
    for acquisition in acquisitions:
        if settings.s1_pass in ("any", acquisition.orbit_pass) and settings.s1_orbit in (
            "max_incidence",
            acquisition.relative_orbit,
        ):
            orbits[(acquisition.relative_orbit, acquisition.orbit_pass)].append(acquisition)
    dates = {key: _dates(group, centres, settings) for key, group in orbits.items()}
    candidates = sorted(
        (_candidate(group, centres, settings, eligible=all(dates[key].values())) for key, group in orbits.items()),
        key=lambda c: (-c.incidence_deg, c.relative_orbit, c.orbit_pass),
    )
    best = next((candidate for candidate in candidates if candidate.eligible), None)
    if best is None:
        raise NoAcquisitions(_why_none(candidates, acquisitions, settings))
    chosen = dates[(best.relative_orbit, best.orbit_pass)]
    return OrbitChoice(
        relative_orbit=best.relative_orbit,
        orbit_pass=best.orbit_pass,
        incidence_deg=best.incidence_deg,
        incidence_source=best.incidence_source,
        dates={label: group for label, group in chosen.items() if group},
        candidates=tuple(candidates),
    )


def _covering(acquisitions: Sequence[SarAcquisition], settings: Settings) -> list[SarAcquisition]:
    return [a for a in acquisitions if a.coverage_fraction >= settings.min_coverage_fraction]


def _dates(
    acquisitions: Sequence[SarAcquisition], centres: Mapping[str, dt.datetime], settings: Settings
) -> dict[str, tuple[SarAcquisition, ...] | None]:
    covering = _covering(acquisitions, settings)
    return {label: choose_dates(covering, centre=centre, settings=settings) for label, centre in centres.items()}


def _candidate(
    acquisitions: Sequence[SarAcquisition],
    centres: Mapping[str, dt.datetime],
    settings: Settings,
    *,
    eligible: bool,
) -> OrbitCandidate:
    covering = _covering(acquisitions, settings)
    # Sorted, so that the sum (and with it the last bit of the mean) does not depend on the order of the scenes.
    measured = sorted(covering or acquisitions, key=lambda a: (a.acquired_at, a.scene_ids))
    reach = dt.timedelta(days=reach_days(settings))
    return OrbitCandidate(
        relative_orbit=measured[0].relative_orbit,
        orbit_pass=measured[0].orbit_pass,
        incidence_deg=round(sum(a.incidence_deg for a in measured) / len(measured), 4),
        incidence_source=max((a.incidence_source for a in measured), key=lambda s: (s != "raster", s)),
        counts={
            label: sum(abs(a.acquired_at - centre) <= reach for a in covering) for label, centre in centres.items()
        },
        coverage_fraction=max(a.coverage_fraction for a in acquisitions),
        eligible=eligible,
    )


def _why_none(candidates: Sequence[OrbitCandidate], acquisitions: Sequence[SarAcquisition], settings: Settings) -> str:
    least = settings.s1_acquisitions[0]
    wanted = f"{least} acquisition{'s' if least > 1 else ''} in every period within {reach_days(settings):g} days"
    more = "lower s1_acquisitions or raise s1_max_span_days"
    if settings.s1_max_lag_days is not None:
        more = "raise s1_max_lag_days"
    if not candidates:
        limits = (
            f"pass {settings.s1_pass}, orbit {settings.s1_orbit}, polarisations {' '.join(settings.s1_polarisations)}"
        )
        others = sorted({(a.relative_orbit, a.orbit_pass) for a in acquisitions})
        there = ", ".join(f"{orbit} {orbit_pass}" for orbit, orbit_pass in others)
        step = f"there are {there}: change s1_orbit or s1_pass" if others else f"{more}, or choose another source"
        return f"no radar acquisition at all ({limits}); wanted {wanted}; {step}"
    if all(c.coverage_fraction < settings.min_coverage_fraction for c in candidates):
        more = "lower min_coverage_fraction"
    rows = "; ".join(
        f"orbit {c.relative_orbit} {c.orbit_pass}: "
        + ", ".join(f"{count} in {label}" for label, count in c.counts.items())
        + (f", covers {c.coverage_fraction:.2f}" if c.coverage_fraction < settings.min_coverage_fraction else "")
        for c in candidates
    )
    return f"no orbit serves all periods ({rows}); wanted {wanted}: {more}"


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
