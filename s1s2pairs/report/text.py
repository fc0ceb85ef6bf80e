"""What commands print: the gist of a plan, a build and a check, as lines or as plain JSON."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from ..dataset.verify import VerifyReport
from ..plan.choices import Choices, Plan, RoiPlan, needed
from ..sources import Cost
from ..sources.registry import cost_of


@dataclass(frozen=True, kw_only=True, slots=True)
class PeriodSummary:
    """One period of one ROI."""

    label: str
    optical_dates: tuple[str, ...]
    month_shift: int
    composite: str
    sar_dates: tuple[str, ...]
    lag_days: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RoiSummary:
    """One ROI: what was chosen and what fetching it takes, or why nothing was."""

    roi: str
    split: str
    failure: str | None
    orbit: str | None = None
    incidence_deg: float | None = None
    incidence_source: str | None = None
    grid: tuple[int, int] | None = None
    """Rows, columns."""
    periods: tuple[PeriodSummary, ...] = ()
    cost: Cost | None = None


def summarise(plan: Plan) -> tuple[RoiSummary, ...]:
    """Return the gist of a plan, ROI by ROI."""
    return tuple(_roi(roi, plan) for roi in plan.rois)


def plan_json(plan: Plan) -> dict[str, object]:
    """Return the gist of a plan as plain JSON."""
    return {"name": plan.name, **plan.sources_json(), "rois": [asdict(roi) for roi in summarise(plan)]}


def plan_lines(plan: Plan) -> Iterator[str]:
    """Yield the gist of a plan as lines of text, totals last."""
    rois = summarise(plan)
    for roi in rois:
        yield from _lines(roi)
    costs = [roi.cost for roi in rois if roi.cost]
    failed = sum(roi.failure is not None for roi in rois)
    total = _cost(Cost.total(costs))
    origin = plan.source if plan.radar_source is None else f"{plan.source}, radar from {plan.radar_source}"
    yield f"{plan.name} from {origin}: {len(rois) - failed} ROIs, {failed} failed; {total}"


def _roi(plan: RoiPlan, whole: Plan) -> RoiSummary:
    if plan.choices is None:
        return RoiSummary(roi=plan.roi.name, split=plan.roi.split, failure=plan.failure)
    chosen = plan.choices
    return RoiSummary(
        roi=plan.roi.name,
        split=plan.roi.split,
        failure=None,
        orbit=f"{chosen.relative_orbit} {chosen.orbit_pass}",
        incidence_deg=chosen.incidence_deg,
        incidence_source=chosen.incidence_source,
        grid=(chosen.grid.shape[0], chosen.grid.shape[1]),
        periods=_periods(chosen),
        cost=cost_of(*whole.sources, needed(plan), chosen.grid, periods=len(chosen.periods)),
    )


def _periods(chosen: Choices) -> tuple[PeriodSummary, ...]:
    return tuple(
        PeriodSummary(
            label=period.label,
            optical_dates=tuple(f"{a.acquired_at:%Y-%m-%d}" for a in period.optical),
            month_shift=period.month_shift,
            composite=period.composite,
            sar_dates=tuple(f"{a.acquired_at:%Y-%m-%d}" for a in period.sar),
            lag_days=round(period.lag_days, 2),
        )
        for period in chosen.periods
    )


def _lines(roi: RoiSummary) -> Iterator[str]:
    if roi.failure is not None or roi.cost is None or roi.grid is None:
        yield f"{roi.roi} ({roi.split}): FAILED: {roi.failure}"
        return
    rows, columns = roi.grid
    angle = f"{roi.incidence_deg:.2f} degrees ({roi.incidence_source})"
    yield f"{roi.roi} ({roi.split}): {rows} x {columns} px, orbit {roi.orbit}, {angle}, {_cost(roi.cost)}"
    for p in roi.periods:
        shift = f", moved {p.month_shift:+d} months" if p.month_shift else ""
        yield f"  {p.label} optical: {p.composite} of {' '.join(p.optical_dates)}{shift}"
        yield f"  {p.label} radar: mean of {len(p.sar_dates)}, lag {p.lag_days:+.1f} days: {' '.join(p.sar_dates)}"


def _cost(cost: Cost) -> str:
    compute = "" if cost.eecu_seconds is None else f", about {cost.eecu_seconds:,.0f} EECU seconds"
    return f"{cost.requests:,} requests, {cost.bytes / 1e6:,.1f} MB{compute}"


def verify_lines(report: VerifyReport) -> Iterator[str]:
    """Yield what is wrong with a dataset, then notes, the verdict last."""
    for problem in report.problems:
        yield f"{problem.path}: {problem.detail}"
    for roi, reason in report.failed_rois.items():
        yield f"{roi} is not in the dataset: {reason}"
    yield from report.notes
    checked = f"{report.rasters} rasters, {report.patches} patches, {report.rows} rows checked"
    yield f"{report.dataset}: {checked}, {len(report.problems)} problems"


def verify_json(report: VerifyReport) -> dict[str, object]:
    """Return what is wrong with a dataset as plain JSON."""
    return {"ok": report.ok, **asdict(report)}
