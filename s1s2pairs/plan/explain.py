"""Why an acquisition or orbit was used or not, in words. Reads a plan; decides nothing."""

from dataclasses import dataclass
from typing import Literal

from ..acquisitions import OpticalAcquisition
from ..recipe.settings import Settings
from .choices import Choices, PeriodPlan
from .optical import is_clear
from .radar import OrbitCandidate, reach_days


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """What became of a candidate."""

    kind: Literal["used", "spare", "rejected"]
    """`spare`: good enough, but another served better."""
    text: str


def explain_optical(acquisition: OpticalAcquisition, period: PeriodPlan, settings: Settings) -> Explanation:
    """Say what became of an optical acquisition that was considered for a period."""
    if acquisition in period.optical:
        return Explanation(kind="used", text="used")
    if is_clear(acquisition, settings):
        return Explanation(kind="spare", text="clear; a less cloudy one, or one nearer the middle, is used")
    if acquisition.coverage_fraction < settings.min_coverage_fraction:
        return _rejected("coverage", acquisition.coverage_fraction, "<", settings.min_coverage_fraction)
    if acquisition.cloud_fraction > settings.max_cloud_fraction:
        return _rejected("cloud", acquisition.cloud_fraction, ">", settings.max_cloud_fraction)
    return _rejected("snow", acquisition.snow_fraction, ">", settings.max_snow_fraction)


def _rejected(what: str, value: float, sign: str, limit: float) -> Explanation:
    # As many digits as it takes for the value not to look equal to the limit.
    tries = (f"{value:.{digits}f}" for digits in range(3, 18))
    shown = next((text for text in tries if float(text) != limit), repr(value))
    return Explanation(kind="rejected", text=f"{what} {shown} {sign} {limit:g}")


def explain_orbit(candidate: OrbitCandidate, choices: Choices, settings: Settings) -> Explanation:
    """Say what became of a relative orbit that was considered for a ROI."""
    if (candidate.relative_orbit, candidate.orbit_pass) == (choices.relative_orbit, choices.orbit_pass):
        named = settings.s1_orbit != "max_incidence"
        why = "the recipe names it" if named else "the highest mean incidence angle of those eligible"
        return Explanation(kind="used", text=f"used: {why}")
    if candidate.eligible:
        return Explanation(kind="spare", text="eligible, but at a lower angle")
    if candidate.coverage_fraction < settings.min_coverage_fraction:
        text = f"covers {candidate.coverage_fraction:.3f} of the ROI at best, {settings.min_coverage_fraction:g} wanted"
        return Explanation(kind="rejected", text=text)
    least = settings.s1_acquisitions[0]
    short = ", ".join(f"{count} in {label}" for label, count in candidate.counts.items() if count < least)
    return Explanation(
        kind="rejected", text=f"too few acquisitions within {reach_days(settings):g} days: {short}; {least} wanted"
    )
