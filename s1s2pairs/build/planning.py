"""The first half of a build: every choice made and locked before the first pixel is fetched."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ..dataset.dataset import locked_plan
from ..dataset.layout import LOCK_FILE
from ..dataset.storage import Storage
from ..errors import GridError, NotAuthenticated, RecipeError, S1S2Error, SourceError, SourceUnreachable
from ..plan.choices import Plan, RoiPlan, rois_of
from ..plan.lock import dump_lock
from ..progress import Progress, stage
from ..recipe.settings import Recipe, Roi
from .opener import Session, source_of
from .raster import PlanTask, run_plan
from .resume import CachedPlans, Sources, check_same_dataset, quoted
from .workers import Pool

log = logging.getLogger(__name__)


def fails_one_roi(error: S1S2Error) -> bool:
    """Tell whether an error concerns one ROI and leaves the others alone."""
    return isinstance(error, SourceError | GridError) and not isinstance(error, NotAuthenticated | SourceUnreachable)


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildContext:
    """What every step of a build works with."""

    session: Session
    storage: Storage
    pool: Pool
    progress: Progress


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A plan, and what there was before it."""

    plan: Plan
    existing: Plan | None
    """The plan that the folder held."""
    unsearched: frozenset[str]
    """ROIs that failed because the source did; a later start tries them again."""


def make_plan(context: BuildContext, subject: Recipe | Plan) -> Planned:
    """Plan every ROI, or take over a plan that is given, and write the lock file.

    Raises:
        RecipeError: A given plan was made from another source.
        SourceError: No ROI could be searched.
        DatasetError: The folder holds another dataset.
    """
    source = source_of(context.session)
    names = (source.name, source.radar_name)
    existing = locked_plan(context.storage)
    rois = rois_of(subject)
    check_same_dataset(existing, name=subject.name, sources=names, rois=rois, storage=context.storage)
    unsearched: frozenset[str] = frozenset()
    if isinstance(subject, Plan):
        check_sources(subject, names)
        plan = subject
    else:
        kept = CachedPlans(context.storage, names, existing)
        plans, unsearched = _search(context, rois, kept)
        plan = Plan(name=subject.name, source=source.name, rois=plans, radar_source=source.radar_name)
    lock = dump_lock(plan)
    if context.storage.read_if_there(LOCK_FILE) != lock:
        context.storage.write(LOCK_FILE, lock)
    return Planned(plan=plan, existing=existing, unsearched=unsearched)


def check_sources(plan: Plan, names: Sources) -> None:
    """Refuse to carry out a plan with other sources than its own.

    Raises:
        RecipeError: They are others.
    """
    if plan.sources != names:
        raise RecipeError(
            f"the locked recipe {plan.name!r} was made from {quoted(plan.sources)}, not {quoted(names)}: "
            f"name that source with --source{'' if plan.radar_source is None else ' and --radar-source'}"
        )


def _search(
    context: BuildContext, rois: Sequence[Roi], kept: CachedPlans
) -> tuple[tuple[RoiPlan, ...], frozenset[str]]:
    plans = {roi.name: plan for roi in rois if (plan := kept.get(roi)) is not None}
    unsearched: dict[str, S1S2Error] = {}
    with stage(context.progress, "choosing scenes", len(rois)):
        for name in plans:
            context.progress.step(name)
        todo = [roi for roi in rois if roi.name not in plans]
        tasks = [
            PlanTask(session=context.session, storage=context.storage, roi=roi, path=kept.path(roi)) for roi in todo
        ]
        for done in context.pool.run(run_plan, tasks):
            name = done.task.roi.name
            if done.error is None:
                plans[name] = done.value or kept.made(done.task.roi)
            elif fails_one_roi(done.error):
                log.info("%s: %s", name, done.error)
                unsearched[name] = done.error
                plans[name] = RoiPlan(roi=done.task.roi, choices=None, failure=str(done.error))
            else:
                raise done.error
            context.progress.step(name)
    if len(unsearched) == len(rois) and all(isinstance(error, SourceError) for error in unsearched.values()):
        raise unsearched[rois[0].name]
    return tuple(plans[roi.name] for roi in rois), frozenset(unsearched)
