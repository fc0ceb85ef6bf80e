"""Is a dataset what its plan and index say: every file, byte, pixel, hash and row."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shapely.geometry.base import BaseGeometry

from ..errors import DatasetError
from ..plan.choices import Plan
from ..progress import Progress, Silence
from ..s1_orbits import incidence_deg
from .columns import COLUMNS
from .contents import Contents
from .dataset import plan_of
from .layout import CARD_FILE, INDEX_FILE, LOCK_FILE, PARTIAL, is_image, is_partial
from .left_out import LeftOut, left_out
from .noted import CardNotes, IndexNotes, check_derived, check_lock, read_card, read_index
from .problems import Problem
from .storage import Storage
from .units import Unit, UnitRecord, units_of
from .verify_files import UNREADABLE, FileCheck

Row = Mapping[str, Any]
_MODEL_DRIFT_DEG: Final = 0.5
"""A modelled angle further than this from today's was made by an older model."""
_LOST: Final = "why is not known, as the card is damaged or missing"


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyReport:
    """What a check of a dataset found."""

    dataset: str
    rasters: int
    """Checked."""
    patches: int
    """Files checked."""
    rows: int
    """Of the index."""
    failed_rois: Mapping[str, str]
    """ROI -> why the build left it out: no fault of the files."""
    problems: tuple[Problem, ...]
    """By path."""
    notes: tuple[str, ...] = ()
    """What is worth knowing and no fault of the files."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """Everything that a check of a dataset learns."""

    card: CardNotes
    index: IndexNotes
    problems: tuple[Problem, ...]
    """By path."""
    contents: Contents | None
    """None where the lock is not the one that the card notes: nothing else can then be checked."""


def verify(dataset: str | Path, *, workers: int = 2, progress: Progress | None = None) -> VerifyReport:
    """Check a dataset: every byte of every file, shapes, grids, pixels, rows, and that no file is missing or surplus.

    Every patch is compared with its window of the raster pixel by pixel, every row of the index with what the plan and
    the files say, the card with its own hash.

    Args:
        dataset: Folder or fsspec URL.
        workers: Threads.
        progress: Told how far it is.

    Raises:
        DatasetError: There is no dataset, it is not finished, or its lock cannot be read at all.
    """
    storage = Storage(str(dataset))
    present = storage.files()
    if LOCK_FILE in present and INDEX_FILE not in present:
        raise DatasetError(f"{dataset}: the dataset is not finished ({INDEX_FILE} is missing); start the build again")
    return report_of(str(dataset), inspect(storage, workers=workers, progress=progress))


def report_of(dataset: str, found: Inspection) -> VerifyReport:
    """Return what a check found, for people."""
    contents = found.contents
    if contents is None:
        note = _other_lock(found.card)
        return VerifyReport(
            dataset=dataset, rasters=0, patches=0, rows=0, failed_rois={}, problems=found.problems, notes=(note,)
        )
    return VerifyReport(
        dataset=dataset,
        rasters=len(contents.records),
        patches=sum(len(list(unit.patch_paths(left_out=contents.left_out))) for unit in contents.whole),
        rows=len(found.index.rows),
        failed_rois=contents.failures,
        problems=found.problems,
        notes=tuple(_notes(found.card, contents.plan)),
    )


def inspect(storage: Storage, *, workers: int = 2, progress: Progress | None = None) -> Inspection:
    """Check a dataset as `verify` does, also one without an index, and tell all that was learnt.

    Args:
        storage: Where it is.
        workers: Threads.
        progress: Told how far it is.

    Raises:
        DatasetError: There is no dataset, or its lock cannot be read at all.
    """
    present = storage.files()
    if LOCK_FILE not in present:
        raise DatasetError(f"{storage.url}: no dataset here ({LOCK_FILE} is missing); build one with `s1s2 build`")
    card, problems = read_card(storage)
    lock = storage.read(LOCK_FILE)
    wrong = check_lock(lock, card)
    if wrong is not None:
        return Inspection(card=card, index=IndexNotes(), problems=(wrong,), contents=None)
    plan = plan_of(lock, file=storage.where(LOCK_FILE))
    index, in_index = read_index(storage, card)
    problems.extend([*in_index, *check_derived(storage, card)])
    failures = dict(card.failures) if card.sure else _absent(plan, index, present)
    units = [unit for unit in units_of(plan) if unit.roi.name not in failures or _is_kept(unit, card, present)]
    rois = frozenset(plan.roi.name for plan in plan.rois) - failures.keys()
    check = FileCheck(storage=storage, card=card, index=index, in_dataset=rois)
    checked = check.all(units, workers, progress if progress is not None else Silence())
    found = [problem for result in checked.values() for problem in result.problems]
    records = {unit: result.record for unit, result in checked.items()}
    whole = {unit: record for unit, record in records.items() if unit.roi.name in rois}
    if card.sure:
        without = card.left_out
        problems.extend(_check_left_out(without, whole))
    else:
        without = {name: held for name, held in left_out(whole).items() if min(held.values()) >= 0}
        due = {path for unit in whole for _, path in unit.patch_paths()}
        due.difference_update(path for unit in whole for _, path in unit.patch_paths(left_out=without))
        found = [problem for problem in found if problem.path not in due]
    problems.extend(found)
    contents = Contents(plan=plan, lock=lock, records=records, failures=failures, left_out=without)
    if index.rows:
        problems.extend(_check_rows(index.rows, contents.rows))
    problems.extend(_check_surplus(contents, present))
    return Inspection(
        card=card,
        index=index,
        problems=tuple(sorted(problems, key=lambda problem: (problem.path, problem.detail))),
        contents=contents,
    )


def _absent(plan: Plan, index: IndexNotes, present: frozenset[str]) -> dict[str, str]:
    """Return ROI -> reason for those without any row or patch, where no card tells of them."""
    there = {row["roi"] for row in index.rows}
    there.update(u.roi.name for u in units_of(plan) if any(path in present for _, path in u.patch_paths()))
    return {roi.roi.name: roi.failure or _LOST for roi in plan.rois if roi.roi.name not in there}


def _is_kept(unit: Unit, card: CardNotes, present: frozenset[str]) -> bool:
    """Tell whether the raster of a ROI that is not in the dataset should be there all the same."""
    return unit.raster_path in (card.sha256 if card.sure else present)


def _other_lock(card: CardNotes) -> str:
    return (
        f"nothing else was checked, as {LOCK_FILE} says what the dataset should hold: put the lock that it was built from "
        f"(SHA-256 {card.sha256.get(LOCK_FILE)}) in its place"
    )


def _notes(card: CardNotes, plan: Plan) -> Iterator[str]:
    if not card.sealed:
        yield (
            f"{CARD_FILE} is of an earlier version and does not note its own SHA-256, so only what it says of other files was "
            "checked; the next build writes it anew"
        )
    yield from _outdated_angles(plan)


def _outdated_angles(plan: Plan) -> Iterator[str]:
    """Tell of ROIs whose orbit was chosen by an angle that the orbit model no longer gives."""
    for planned in plan.rois:
        chosen = planned.choices
        if chosen is None or chosen.incidence_source != "model":
            continue
        middle = planned.roi.polygon.centroid
        today = float(incidence_deg(chosen.relative_orbit, chosen.orbit_pass, middle.x, middle.y))
        if not abs(today - chosen.incidence_deg) <= _MODEL_DRIFT_DEG:
            yield (
                f"{planned.roi.name}: its orbit was chosen by a modelled angle of {chosen.incidence_deg:.1f} degrees, which is "
                f"{today:.1f} by today's model; a new build may choose another orbit"
            )


def _check_left_out(claimed: LeftOut, records: Mapping[Unit, UnitRecord]) -> Iterator[Problem]:
    """Compare the patches that the card says were left out with what the rasters hold."""
    unread = {unit.raster_path for unit, record in records.items() if UNREADABLE in record.patches}
    due = left_out(records)
    for name in sorted({*claimed, *due}):
        if claimed.get(name) != due.get(name) and unread.isdisjoint([*claimed.get(name, ()), *due.get(name, ())]):
            detail = f"patch {name} is left out with the valid fractions {claimed.get(name)}, should be {due.get(name)}"
            yield Problem(kind="row", path=CARD_FILE, detail=detail)


def _check_rows(rows: Sequence[Row], due: Iterable[Row]) -> Iterator[Problem]:
    """Compare the index with what the plan and the files say, row by row and column by column."""
    found = {(row["patch_id"], row["period"]): row for row in rows}
    if len(found) != len(rows):
        yield _row(f"{len(rows) - len(found)} rows are there twice")
    for wanted in due:
        key = (wanted["patch_id"], wanted["period"])
        row = found.pop(key, None)
        if row is None:
            yield _row(f"no row for patch {key[0]} of period {key[1]}")
            continue
        yield from _compare(row, wanted)
    for patch, period in found:
        yield _row(f"a row for patch {patch} of period {period}, which the plan does not have")


def _row(detail: str) -> Problem:
    return Problem(kind="row", path=INDEX_FILE, detail=detail)


def _compare(row: Row, wanted: Row) -> Iterator[Problem]:
    unreadable = {sensor for sensor in ("s1", "s2") if wanted[f"{sensor}_sha256"] == UNREADABLE.sha256}
    for column in COLUMNS:
        sensor, _, what = column.partition("_")
        if what == "sha256" or (sensor in unreadable and what == "valid_fraction"):
            continue  # the file itself has been named already
        if not _same(row[column], wanted[column]):
            where = f"patch {row['patch_id']} of period {row['period']}"
            yield _row(f"{where}: {column} is {row[column]!r}, should be {wanted[column]!r}")


def _same(got: object, wanted: object) -> bool:
    if isinstance(wanted, BaseGeometry):
        # Versions of PROJ differ in the last digits; a tenth of a millimetre is no difference.
        return isinstance(got, BaseGeometry) and bool(got.equals_exact(wanted, tolerance=1e-9))
    return got == wanted


def _check_surplus(contents: Contents, present: frozenset[str]) -> Iterator[Problem]:
    expected = {
        unit.raster_path for unit in units_of(contents.plan)
    }  # a ROI that failed may keep rasters for the next try
    expected.update(path for unit in contents.whole for _, path in unit.patch_paths(left_out=contents.left_out))
    for path in present:
        if is_image(path) and path not in expected:
            yield Problem(kind="surplus", path=path, detail="not in the index")
    if not contents.failures and any(is_partial(path) for path in present):
        yield Problem(kind="unfinished", path=PARTIAL, detail="the build is not finished; start it again")
