"""From a recipe, or a locked plan, to a dataset on disk."""

import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from ..dataset.contents import Contents
from ..dataset.derived import derived_paths, dump_derived
from ..dataset.layout import INDEX_FILE, LOCK_FILE, PARTIAL, PLANS, is_made
from ..dataset.left_out import LeftOut, left_out
from ..dataset.patches import patch_id
from ..dataset.storage import Storage
from ..dataset.units import Unit, UnitRecord, load_record, units_of
from ..errors import S1S2Error
from ..plan.choices import Plan
from ..progress import Progress, Silence, stage
from ..recipe.settings import Recipe
from .opener import Opener, Session, source_of
from .planning import BuildContext, Planned, fails_one_roi, make_plan
from .raster import RasterTask, run_raster
from .resume import check_folder, finished_units
from .workers import open_pool

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class RoiOutcome:
    """What became of one ROI."""

    roi: str
    fetched: int
    """Rasters fetched now."""
    kept: int
    """Rasters that were there."""
    patches: int
    """Pairs of patches in the index."""
    left_out: int
    """Pairs of patches that hold too few valid pixels."""
    failure: str | None
    """Why it is not in the dataset."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildReport:
    """What a build did."""

    out: str
    plan: Plan
    rois: tuple[RoiOutcome, ...]
    """In the plan's order."""

    @property
    def failed(self) -> tuple[RoiOutcome, ...]:
        """The ROIs that are not in the dataset."""
        return tuple(outcome for outcome in self.rois if outcome.failure is not None)


def build(
    subject: Recipe | Plan,
    *,
    opener: Opener,
    out: str,
    workers: int = 2,
    dask: str | None = None,
    progress: Progress | None = None,
) -> BuildReport:
    """Build a dataset, or finish one that was begun.

    Killed at any moment and called again, it goes on where it was and ends with the same bytes. A ROI that fails is
    reported and leaves the others alone; calling again tries it anew.

    Args:
        subject: A recipe, or a plan that is carried out as it is, without searching.
        opener: How to get at the source.
        out: Folder or fsspec URL of the dataset.
        workers: Threads, without Dask.
        dask: Address of a Dask scheduler whose workers do the work instead.
        progress: Told how far it is.

    Raises:
        NotAuthenticated: The source refuses the credentials.
        SourceError: The source cannot be used at all.
        RecipeError: A given plan was made from another source, or there is no cluster at `dask`.
        DatasetError: The folder cannot be written to, or holds something else.
    """
    with _begun(Storage(out), opener, workers, dask, progress) as context:
        planned = make_plan(context, subject)
        made = _make_rasters(context, planned)
        _finish(made, context.storage)
    return _report(made, out)


def plan_only(
    subject: Recipe | Plan,
    *,
    opener: Opener,
    out: str,
    workers: int = 2,
    dask: str | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Make all choices and write the lock file, fetching no pixels; a later build starts from there.

    Arguments and errors as for `build`.
    """
    with _begun(Storage(out), opener, workers, dask, progress) as context:
        plan = make_plan(context, subject).plan
        context.storage.remove_tree(PLANS)  # the lock has them all now
        context.storage.sweep()
        return plan


@contextmanager
def _begun(
    storage: Storage, opener: Opener, workers: int, dask: str | None, progress: Progress | None
) -> Iterator[BuildContext]:
    with open_pool(workers=workers, dask=dask, most_processes=opener.most_processes) as pool:
        session = Session(opener=opener.share(pool.processes), token=uuid.uuid4().hex)
        source_of(session)  # a source that cannot be used is found out before anything is written
        check_folder(storage)
        storage.prepare()
        with storage.exclusive():
            storage.sweep()
            yield BuildContext(session=session, storage=storage, pool=pool, progress=progress or Silence())


@dataclass(frozen=True, kw_only=True, slots=True)
class _Made:
    contents: Contents
    fetched: frozenset[Unit]
    worth_another_try: bool
    """Whether a ROI failed for a reason that may pass."""


def _make_rasters(context: BuildContext, planned: Planned) -> _Made:
    plan, storage = planned.plan, context.storage
    units = units_of(plan)
    records = finished_units(units, existing=planned.existing, storage=storage)
    fetched: set[Unit] = set()
    errors: dict[Unit, S1S2Error] = {}
    failing: set[str] = set()
    with stage(context.progress, "building rasters", len(units)):
        for unit in records:
            context.progress.step(unit.raster_path)
        missing = (unit for unit in units if unit not in records)
        tasks = (RasterTask(session=context.session, storage=storage, unit=unit) for unit in missing)
        for done in context.pool.run(run_raster, (task for task in tasks if task.unit.roi.name not in failing)):
            unit = done.task.unit
            if done.error is None:
                records[unit] = done.value or load_record(storage.read(unit.record_path))
                if records[unit].fetched:
                    fetched.add(unit)
            elif fails_one_roi(done.error):
                log.info("%s: %s", unit.raster_path, done.error)
                errors[unit] = done.error
                failing.add(unit.roi.name)
            else:
                raise done.error
            context.progress.step(unit.raster_path)
    broken: dict[str, str] = {}
    for unit in units:  # of all that fail, the first in this order is always tried: so the reason is the same each time
        if unit in errors:
            broken.setdefault(unit.roi.name, f"{unit.period.label} {unit.sensor}: {errors[unit]}")
    built = {unit: records[unit] for unit in units if unit in records and unit.roi.name not in broken}
    short = left_out(built)
    empty = _without_patches(built, short)
    dropped = {patch_id(unit.roi.name, window) for unit in built if unit.roi.name in empty for window in unit.windows}
    unplanned = {roi.roi.name: roi.failure for roi in plan.rois if roi.choices is None}
    failed = unplanned | broken | empty
    contents = Contents(
        plan=plan,
        lock=storage.read(LOCK_FILE),
        records={unit: records[unit] for unit in units if unit in records},
        failures={roi.roi.name: str(failed[roi.roi.name]) for roi in plan.rois if roi.roi.name in failed},
        left_out={name: fractions for name, fractions in short.items() if name not in dropped},
    )
    return _Made(
        contents=contents, fetched=frozenset(fetched), worth_another_try=bool(broken) or bool(planned.unsearched)
    )


def _without_patches(built: Mapping[Unit, UnitRecord], short: LeftOut) -> dict[str, str]:
    """Return ROI -> reason for those of which every patch would be left out."""
    named = {unit.roi.name: {patch_id(unit.roi.name, window) for window in unit.windows} for unit in built}
    least = {unit.roi.name: unit.roi.settings.min_valid_fraction for unit in built}
    return {
        roi: f"none of its {len(names)} patches holds min_valid_fraction {least[roi]:g} of valid pixels in both sensors and all "
        f"periods (at best {max(min(short[name].values()) for name in names):.3f})"
        for roi, names in named.items()
        if names <= short.keys()
    }


def _finish(made: _Made, storage: Storage) -> None:
    """Write what follows from rasters and patches, and clear away what does not belong to the dataset."""
    contents = made.contents
    expected = {unit.raster_path for unit in contents.records}
    expected |= {path for unit in contents.whole for _, path in unit.patch_paths(left_out=contents.left_out)}
    for path in sorted(storage.files()):
        if is_made(path) and path not in expected:
            storage.remove(path)
    if contents.rows:
        files = dump_derived(contents)
        if any(storage.read_if_there(path) != content for path, content in files.items()):
            # Without an index there is no dataset: never a new card beside an old index.
            storage.remove(INDEX_FILE)
            for path, content in files.items():
                storage.write(path, content)
    else:
        for path in reversed(derived_paths()):
            storage.remove(path)
    if not made.worth_another_try:
        storage.remove_tree(PARTIAL)


def _report(made: _Made, out: str) -> BuildReport:
    contents = made.contents

    def outcome(roi: str) -> RoiOutcome:
        done = [unit for unit in contents.records if unit.roi.name == roi]
        fetched = sum(unit in made.fetched for unit in done)
        failure = contents.failures.get(roi)
        radar = [unit for unit in done if unit.sensor == "s1"] if failure is None else []
        patches = sum(len(list(unit.patch_paths(left_out=contents.left_out))) for unit in radar)
        return RoiOutcome(
            roi=roi,
            fetched=fetched,
            kept=len(done) - fetched,
            patches=patches,
            left_out=sum(len(unit.windows) for unit in radar) - patches,
            failure=failure,
        )

    plan = contents.plan
    return BuildReport(out=out, plan=plan, rois=tuple(outcome(roi.roi.name) for roi in plan.rois))
