"""Make what is broken in a dataset again, to the very bytes it had, and nothing else."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..dataset.contents import Contents
from ..dataset.derived import derived_paths
from ..dataset.layout import CARD_FILE, INDEX_FILE, LOCK_FILE, PARTIAL, is_partial
from ..dataset.storage import Storage
from ..dataset.verify import Inspection, VerifyReport, inspect, report_of, verify
from ..errors import DatasetError, RecipeError
from ..plan.choices import Plan
from ..plan.lock import sources_for
from ..progress import Progress, Silence
from .opener import Opener, SourceOpener
from .repair_derived import write_derived
from .repair_images import cut_patches, fetch_rasters
from .repair_state import BUILD_AGAIN, Remedy, Repairs

_ROUNDS: Final = 4
"""Files; patches of rasters fetched just before; derived files; a last look."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairReport:
    """What a repair did."""

    repaired: Mapping[str, Remedy]
    """File -> what was done, by path."""
    given_up: Mapping[str, str]
    """File -> why it could not be repaired, and what to do; by path."""
    after: VerifyReport
    """What a check finds now."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong any more."""
        return self.after.ok


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """What a user says of the sources that the lock of a dataset names."""

    source: str | None = None
    """Where it lies, for a dataset built from a catalogue on disk."""
    radar_source: str | None = None
    """The same for another source of its radar images."""
    project: str | None = None
    """Google Cloud project, for Earth Engine only."""
    allow_hosts: tuple[str, ...] = ()
    """Hosts, buckets and folders from which a STAC catalogue's files may be read, beside its own."""

    def opener(self, plan: Plan) -> SourceOpener:
        """Say how to get at the sources of a plan.

        Raises:
            RecipeError: One is a catalogue whose place is not given.
        """
        name, radar = sources_for(plan, self.source, self.radar_source)
        return SourceOpener(name=name, radar=radar, project=self.project, allow_hosts=self.allow_hosts)


def check(dataset: str | Path, means: Means, *, repair: bool = False, progress: Progress | None = None) -> RepairReport:
    """Check a dataset, and repair it if asked to: `s1s2 verify`.

    Args:
        dataset: Folder or fsspec URL.
        means: How to get at its sources, for a repair.
        repair: Whether to make again what is broken.
        progress: Told how far it is.

    Raises:
        RecipeError: Sources are given for nothing to repair.
        S1S2Error: As for `mend` and `verify`.
    """
    if repair:
        return mend(dataset, opener=means.opener, progress=progress)
    if means != Means():
        raise RecipeError(f"{dataset}: a check needs no source; give --source and the like together with --repair")
    return RepairReport(repaired={}, given_up={}, after=verify(dataset, progress=progress))


def repair_dataset(
    dataset: str | Path,
    *,
    source: str | None = None,
    radar_source: str | None = None,
    allow_hosts: Sequence[str] = (),
) -> RepairReport:
    """Repair a dataset: `s1s2 verify --repair` from Python.

    Args:
        dataset: Folder or fsspec URL.
        source: Where the source lies, for a dataset built from a catalogue on disk.
        radar_source: The same for another source of its radar images.
        allow_hosts: Hosts, buckets and folders from which a STAC catalogue's files may be read, beside its own.

    Raises:
        S1S2Error: As for `mend`.
    """
    means = Means(source=source, radar_source=radar_source, allow_hosts=tuple(allow_hosts))
    return mend(dataset, opener=means.opener)


def mend(
    dataset: str | Path, *, opener: Callable[[Plan], Opener], workers: int = 4, progress: Progress | None = None
) -> RepairReport:
    """Check a dataset, make again what is broken, and check it once more.

    A patch is cut from its raster. A raster is fetched from the source that the lock names, and only then is a source
    opened. Where card or index is whole, a file is written only with the bytes that they note of it.

    Args:
        dataset: Folder or fsspec URL.
        opener: Says how to get at the sources of a plan.
        workers: Rasters fetched at once.
        progress: Told how far it is.

    Raises:
        DatasetError: There is no dataset, its build is not finished, its lock cannot be read, or it cannot be written to.
        NotAuthenticated: The source refuses the credentials.
        SourceError: The source cannot be used at all.
        RecipeError: The source is another one than the plan's, or it is not said where it lies.
    """
    storage = Storage(str(dataset))
    told = progress or Silence()
    repairs = Repairs(storage=storage)
    found = inspect(storage, progress=told)
    _check_finished(found, storage)
    for _ in range(_ROUNDS):
        if not found.problems or found.contents is None or _lock_may_be_wrong(found, found.contents.lock, repairs):
            break
        before = len(repairs.repaired)
        with storage.exclusive():
            storage.sweep()
            _round(repairs, found, found.contents, opener=opener, workers=workers, progress=told)
            storage.sweep()
        if len(repairs.repaired) == before:
            break
        found = inspect(storage, progress=told)
    if INDEX_FILE not in storage.files():
        raise DatasetError(f"{storage.where(INDEX_FILE)}: {repairs.given_up.get(INDEX_FILE, BUILD_AGAIN)}")
    wrong = {problem.path for problem in found.problems}
    return RepairReport(
        repaired=dict(sorted(repairs.repaired.items())),
        given_up={path: why for path, why in sorted(repairs.given_up.items()) if path in wrong},
        after=report_of(str(dataset), found),
    )


def _check_finished(found: Inspection, storage: Storage) -> None:
    """Tell an index that was lost from one that was not yet written."""
    present = storage.files()
    lost = found.card.sure and found.contents is not None and not any(is_partial(path) for path in present)
    if INDEX_FILE not in present and not lost:
        raise DatasetError(
            f"{storage.url}: the dataset is not finished ({INDEX_FILE} is missing); start the build again"
        )


def _lock_may_be_wrong(found: Inspection, lock: bytes, repairs: Repairs) -> bool:
    """Tell whether rasters of another plan may mean that the lock is; then nothing may be fetched by it."""
    others = [problem.path for problem in found.problems if problem.kind == "plan"]
    if found.card.sha256.get(LOCK_FILE) == hashlib.sha256(lock).hexdigest() or not others:
        return False
    repairs.given_up[others[0]] = (
        f"the raster or {LOCK_FILE} is of another plan, and {CARD_FILE}, which would tell, is damaged: put the lock that the "
        "dataset was built from in its place and repair again"
    )
    return True


def _round(
    repairs: Repairs,
    found: Inspection,
    contents: Contents,
    *,
    opener: Callable[[Plan], Opener],
    workers: int,
    progress: Progress,
) -> None:
    """Mend what can be mended of what a check found."""
    for problem in found.problems:
        if problem.kind == "surplus":
            repairs.storage.remove(problem.path)
        elif problem.kind == "unfinished":
            repairs.storage.remove_tree(PARTIAL)
        else:
            continue
        repairs.repaired[problem.path] = "removed"
    wrong = {problem.path for problem in found.problems} - repairs.repaired.keys()
    cut_patches(repairs, contents, found.index, wrong)
    units = [u for u in contents.records if u.raster_path in wrong and u.raster_path not in repairs.given_up]
    if units:
        plan = contents.plan
        fetch_rasters(repairs, units, plan, found.card, opener=opener(plan), workers=workers, progress=progress)
    if wrong <= set(derived_paths()):
        write_derived(repairs, contents, found.card, wrong)
