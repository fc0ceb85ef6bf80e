"""Make what is broken in a dataset again, to the very bytes it had, and nothing else."""

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from ..dataset.card import dump_card
from ..dataset.index import dataset_rows, dump_index
from ..dataset.layout import CARD_FILE, INDEX_FILE, LOCK_FILE, PARTIAL, is_partial
from ..dataset.rasters import decode
from ..dataset.seal import is_the_same_card
from ..dataset.storage import Storage
from ..dataset.unit_files import patch_file
from ..dataset.units import Unit
from ..dataset.verify import Inspection, VerifyReport, inspect, report_of, verify
from ..errors import DatasetError, RecipeError
from ..plan.choices import Plan
from ..plan.lock import sources_for
from ..progress import Progress, Silence, stage
from .opener import Opener, Session, SourceOpener, source_of
from .planning import check_sources, fails_one_roi
from .raster import MendTask, run_mend
from .workers import open_pool

_ROUNDS: Final = 4
"""Files; patches of rasters fetched just before; index and card; a last look."""
_BUILD_AGAIN: Final = f"build again from {LOCK_FILE} into the same folder to renew it"

Remedy = Literal["fetched", "cut", "written", "removed"]
"""A raster from its source; a patch from its raster; index or card from plan and files; a file that belongs to nothing."""


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
    opened. Where card or index are whole, a file is written only with the bytes that they note of it.

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
    work = _Repair(storage=storage, opener=opener, workers=workers, progress=progress or Silence())
    found = inspect(storage, progress=work.progress)
    _check_finished(found, storage)
    for _ in range(_ROUNDS):
        if not found.problems:
            break
        with storage.exclusive():
            storage.sweep()
            changed = work.round(found)
            storage.sweep()
        if not changed:
            break
        found = inspect(storage, progress=work.progress)
    if INDEX_FILE not in storage.files():
        raise DatasetError(f"{storage.where(INDEX_FILE)}: {work.given_up.get(INDEX_FILE, _BUILD_AGAIN)}")
    wrong = {problem.path for problem in found.problems}
    return RepairReport(
        repaired=dict(sorted(work.repaired.items())),
        given_up={path: why for path, why in sorted(work.given_up.items()) if path in wrong},
        after=report_of(str(dataset), found),
    )


def _check_finished(found: Inspection, storage: Storage) -> None:
    """Tell an index that was lost from one that was not yet written."""
    present = storage.files()
    lost = found.card.sure and found.plan is not None and not any(is_partial(path) for path in present)
    if INDEX_FILE not in present and not lost:
        raise DatasetError(
            f"{storage.url}: the dataset is not finished ({INDEX_FILE} is missing); start the build again"
        )


@dataclass(frozen=True, kw_only=True)
class _Repair:
    """One repair under way."""

    storage: Storage
    opener: Callable[[Plan], Opener]
    workers: int
    progress: Progress
    repaired: dict[str, Remedy] = field(default_factory=dict)
    given_up: dict[str, str] = field(default_factory=dict)

    def round(self, found: Inspection) -> bool:
        """Mend what can be mended of what a check found; tell whether anything was changed."""
        if found.plan is None or self._lock_may_be_wrong(found):
            return False
        before = len(self.repaired)
        for problem in found.problems:
            if problem.kind == "surplus":
                self.storage.remove(problem.path)
            elif problem.kind == "unfinished":
                self.storage.remove_tree(PARTIAL)
            else:
                continue
            self.repaired[problem.path] = "removed"
        wrong = {problem.path for problem in found.problems} - self.repaired.keys()
        for unit in found.whole:
            if unit.raster_path not in wrong:
                self._cut(unit, wrong, found)
        broken = [unit for unit in found.records if unit.raster_path in wrong and unit.raster_path not in self.given_up]
        if broken:
            self._fetch(broken, found, found.plan)
        if wrong and wrong <= {INDEX_FILE, CARD_FILE}:
            self._write_tables(found, wrong, found.plan)
        return len(self.repaired) > before

    def _lock_may_be_wrong(self, found: Inspection) -> bool:
        """Tell whether rasters of another plan may mean that the lock is; then nothing may be fetched by it."""
        sha256 = hashlib.sha256(self.storage.read(LOCK_FILE)).hexdigest()
        others = [problem.path for problem in found.problems if problem.kind == "plan"]
        if found.card.sha256.get(LOCK_FILE) == sha256 or not others:
            return False
        self.given_up[others[0]] = (
            f"the raster or {LOCK_FILE} is of another plan, and {CARD_FILE}, which would tell, is damaged: put the lock that the "
            "dataset was built from in its place and repair again"
        )
        return True

    def _cut(self, unit: Unit, wrong: set[str], found: Inspection) -> None:
        """Cut the broken patches of a whole raster again."""
        windows = [(window, path) for window, path in unit.patch_paths(left_out=found.left_out) if path in wrong]
        if not windows:
            return
        pixels = decode(self.storage.read(unit.raster_path), name=self.storage.where(unit.raster_path))
        for window, path in windows:
            rows, columns = window.slices
            content = patch_file(unit, window, pixels[:, rows, columns])
            if found.index.sure and found.index.sha256.get(path) != hashlib.sha256(content).hexdigest():
                self.given_up[path] = (
                    "cut again it has other bytes than the index notes, as another version of GDAL may write it; "
                    f"delete it and {_BUILD_AGAIN}"
                )
            elif self.storage.read_if_there(path) != content:
                self.storage.write(path, content)
                self.repaired[path] = "cut"

    def _fetch(self, units: Sequence[Unit], found: Inspection, plan: Plan) -> None:
        """Fetch rasters again."""
        opener = self.opener(plan)
        card = found.card
        with (
            open_pool(workers=self.workers, most_processes=opener.most_processes) as pool,
            stage(self.progress, "fetching rasters", len(units)),
        ):
            session = Session(opener=opener.share(pool.processes), token=uuid.uuid4().hex)
            source = source_of(session)
            check_sources(plan, (source.name, source.radar_name))
            tasks = [
                MendTask(
                    session=session,
                    storage=self.storage,
                    unit=unit,
                    sha256=card.sha256.get(unit.raster_path) if card.sure else None,
                )
                for unit in units
            ]
            for done in pool.run(run_mend, tasks):
                path = done.task.unit.raster_path
                if done.error is None:
                    self.repaired[path] = "fetched"
                elif fails_one_roi(done.error):
                    self.given_up[path] = str(done.error)
                else:
                    raise done.error
                self.progress.step(path)

    def _write_tables(self, found: Inspection, wrong: set[str], plan: Plan) -> None:
        """Write index and card again, once every raster and patch is whole."""
        rows = list(dataset_rows(found.whole, found.left_out))
        kept = found.index.sure and INDEX_FILE not in wrong
        index = self.storage.read(INDEX_FILE) if kept else dump_index(rows) if rows else b""
        if found.card.sure:
            self._write_index(index, found, wrong)
            return
        card = self._card(rows, index, found, plan) if rows else None
        if card is None:
            self.given_up[CARD_FILE] = (
                f"it cannot be written again from the other files alone: a ROI failed for a reason that only the card noted, or "
                f"{LOCK_FILE} is not the one it noted; {_BUILD_AGAIN}"
            )
            return
        if self.storage.read_if_there(INDEX_FILE) != index:
            self.storage.remove(INDEX_FILE)  # never a new card beside an old index
            self.storage.write(CARD_FILE, card)
            self.storage.write(INDEX_FILE, index)
            self.repaired[INDEX_FILE] = "written"
        else:
            self.storage.write(CARD_FILE, card)
        self.repaired[CARD_FILE] = "written"

    def _write_index(self, index: bytes, found: Inspection, wrong: set[str]) -> None:
        """Write the index again, if it gets the hash that the card notes."""
        if found.card.sha256.get(INDEX_FILE) != hashlib.sha256(index).hexdigest():
            self.given_up[INDEX_FILE] = (
                "written again it has other bytes than the card notes, as another version of a library may write it; "
                f"{_BUILD_AGAIN}"
            )
        elif INDEX_FILE in wrong and self.storage.read_if_there(INDEX_FILE) != index:
            self.storage.write(INDEX_FILE, index)
            self.repaired[INDEX_FILE] = "written"
        if CARD_FILE in wrong:
            self.given_up[CARD_FILE] = f"it was changed together with its own SHA-256; {_BUILD_AGAIN}"

    def _card(self, rows: list[dict[str, Any]], index: bytes, found: Inspection, plan: Plan) -> bytes | None:
        """Return the card, None where what is left of it must tell something and cannot be shown to be right."""
        damaged, lock = found.card, self.storage.read(LOCK_FILE)
        planned = {roi.roi.name: roi.failure for roi in plan.rois}
        failures = {roi: planned[roi] or damaged.failures.get(roi, "") for roi in found.failures}
        card = dump_card(
            plan,
            rows=rows,
            rasters={unit.raster_path: record.sha256 for unit, record in found.records.items()},
            failures=failures,
            left_out=found.left_out,
            index=index,
            lock=lock,
        )
        told = all(planned[roi] for roi in found.failures)
        same_lock = damaged.sha256.get(LOCK_FILE, hashlib.sha256(lock).hexdigest()) == hashlib.sha256(lock).hexdigest()
        return card if (told and same_lock) or is_the_same_card(card, damaged.content) else None
