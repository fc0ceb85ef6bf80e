"""Is a dataset what its plan and index say: every file, pixel, hash and row."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from ..errors import DatasetError
from ..plan.choices import Plan
from ..progress import Progress, Silence, stage
from ..s1_orbits import incidence_deg
from .card import CARD_RASTERS_KEY
from .contents import PatchRecord, Unit, UnitRecord, patch_record, units_of
from .dataset import locked_plan
from .index import COLUMNS, dataset_rows, read_rows
from .layout import CARD_FILE, INDEX_FILE, LOCK_FILE, PARTIAL, is_image, is_partial
from .left_out import LeftOut, left_out, left_out_of_card
from .patches import patch_grid, patch_id
from .rasters import DIGEST_TAG, mismatch, opened
from .storage import Storage

Row = Mapping[str, Any]
_MODEL_DRIFT_DEG: Final = 0.5
"""A modelled angle further than this from today's was made by an older model."""
_NOT_IN_CARD: Final = "its SHA-256 is not the one in the card"
_UNREADABLE = PatchRecord(sha256="", valid_fraction=-1.0)


ProblemKind = Literal["missing", "damaged", "hash", "pixels", "plan", "row", "surplus", "unfinished"]
"""A file is not there; it cannot be read or has another shape or type; its SHA-256 is not the one noted; its pixels are not
those of its raster; it was made from another plan; a row of the index is missing, surplus or wrong; no row names a file; the
build is not finished."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong."""

    kind: ProblemKind
    path: str
    """File, relative to the dataset."""
    detail: str
    """For people."""


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


def verify(dataset: str | Path, *, workers: int = 2, progress: Progress | None = None) -> VerifyReport:
    """Check a dataset: hashes, shapes, grids, pixels, rows, and that no file is missing or surplus.

    Every patch is compared with its window of the raster pixel by pixel, every row of the index with what the plan and
    the files say.

    Args:
        dataset: Folder or fsspec URL.
        workers: Threads.
        progress: Told how far it is.

    Raises:
        DatasetError: There is no dataset, it is not finished, or its lock cannot be read at all.
    """
    progress = progress if progress is not None else Silence()
    storage = Storage(str(dataset))
    plan = locked_plan(storage)
    if plan is None:
        raise DatasetError(f"{dataset}: no dataset here ({LOCK_FILE} is missing); build one with `s1s2 build`")
    present = storage.files()
    if INDEX_FILE not in present:
        raise DatasetError(f"{dataset}: the dataset is not finished ({INDEX_FILE} is missing); start the build again")
    problems, card = _check_card(storage)
    rows: list[dict[str, Any]] = []
    try:
        rows = read_rows(storage.read(INDEX_FILE), file=storage.where(INDEX_FILE))
    except DatasetError as error:
        problems.append(_unreadable(error, INDEX_FILE, storage))
    units = [unit for unit in units_of(plan) if unit.roi.name not in card.failures]
    checked = _check_units(units, card, storage, workers, progress)
    for found, _ in checked.values():
        problems.extend(found)
    records = {unit: record for unit, (_, record) in checked.items()}
    problems.extend(_check_left_out(card.left_out, records))
    if rows:
        problems.extend(_check_rows(rows, records, card.left_out))
    problems.extend(_check_surplus(plan, units, card.left_out, present))
    return VerifyReport(
        dataset=str(dataset),
        rasters=len(units),
        patches=sum(len(list(unit.patch_paths(left_out=card.left_out))) for unit in units),
        rows=len(rows),
        failed_rois=card.failures,
        problems=tuple(sorted(problems, key=lambda problem: (problem.path, problem.detail))),
        notes=tuple(_outdated_angles(plan)),
    )


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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Card:
    """What the card tells of the files."""

    failures: Mapping[str, str] = field(default_factory=dict)
    """ROI -> why it is not in the dataset."""
    rasters: Mapping[str, str] = field(default_factory=dict)
    """Raster path -> SHA-256."""
    left_out: LeftOut = field(default_factory=dict)


def _check_card(storage: Storage) -> tuple[list[Problem], _Card]:
    """Return what is wrong with the card, and what it tells."""
    content = storage.read_if_there(CARD_FILE)
    if content is None:
        return [Problem(kind="missing", path=CARD_FILE, detail="missing")], _Card()
    try:
        card = json.loads(content)
        files = {file["@id"]: file["sha256"] for file in card["distribution"] if file["@type"] == "cr:FileObject"}
        failures = {failure["roi"]: failure["reason"] for failure in card["s1s2:failures"]}
        told = _Card(failures=failures, rasters=dict(card[CARD_RASTERS_KEY]), left_out=left_out_of_card(card))
    except (ValueError, KeyError, TypeError, DatasetError) as error:
        return [Problem(kind="damaged", path=CARD_FILE, detail=f"damaged: {error!r}")], _Card()
    wrong = [p for p in (INDEX_FILE, LOCK_FILE) if files.get(p) != hashlib.sha256(storage.read(p)).hexdigest()]
    return [Problem(kind="hash", path=path, detail=_NOT_IN_CARD) for path in wrong], told


_Checked = dict[Unit, tuple[list[Problem], UnitRecord]]


def _check_units(units: list[Unit], card: _Card, storage: Storage, workers: int, progress: Progress) -> _Checked:
    checked: _Checked = {}
    with stage(progress, "checking rasters", len(units)), ThreadPoolExecutor(workers) as executor:
        results = executor.map(lambda unit: _check_unit(unit, card, storage), units)
        for unit, result in zip(units, results, strict=True):
            checked[unit] = result
            progress.step(unit.raster_path)
    return checked


def _check_unit(unit: Unit, card: _Card, storage: Storage) -> tuple[list[Problem], UnitRecord]:
    """Check a raster, against its hash in the card where that is known, and its patches; return what the index should say."""
    problems: list[Problem] = []
    raster, found, wrong = _check_raster(unit, card.rasters.get(unit.raster_path), storage)
    if wrong is not None:
        problems.append(wrong)
    records = []
    for window, path in unit.patch_paths():
        if patch_id(unit.roi.name, window) in card.left_out:
            rows, columns = window.slices
            part = None if raster is None else raster[:, rows, columns]
            records.append(_UNREADABLE if part is None else patch_record(part, b"", unit))
            continue
        try:
            content = storage.read(path)
            pixels, _ = _decoded(content, path, unit, patch_grid(unit.choices.grid, window))
        except DatasetError as error:
            problems.append(_unreadable(error, path, storage))
            records.append(_UNREADABLE)
            continue
        rows, columns = window.slices
        if raster is not None and not np.array_equal(
            pixels, raster[:, rows, columns], equal_nan=unit.layout.dtype == "float32"
        ):
            detail = f"its pixels are not those of its window of {unit.raster_path}"
            problems.append(Problem(kind="pixels", path=path, detail=detail))
        records.append(patch_record(pixels, content, unit))
    return problems, UnitRecord(sha256=found, patches=tuple(records))


def _check_raster(unit: Unit, sha256: str | None, storage: Storage) -> tuple[NDArray[Any] | None, str, Problem | None]:
    """Return a raster's pixels if nothing is wrong with it, its hash, and what is wrong."""
    path, found = unit.raster_path, ""
    try:
        content = storage.read(path)
        found = hashlib.sha256(content).hexdigest()
        raster, tags = _decoded(content, path, unit, unit.choices.grid)
    except DatasetError as error:
        return None, found, _unreadable(error, path, storage)
    if tags.get(DIGEST_TAG) != unit.digest:
        return None, found, Problem(kind="plan", path=path, detail="made from another plan")
    if sha256 is not None and found != sha256:
        return None, found, Problem(kind="hash", path=path, detail=_NOT_IN_CARD)
    return raster, found, None


def _decoded(content: bytes, path: str, unit: Unit, grid: Any) -> tuple[NDArray[Any], Mapping[str, str]]:
    with opened(content, name=path) as file:
        wrong = mismatch(file, grid=grid, layout=unit.layout)
        if wrong:
            raise DatasetError(f"{path}: {wrong}")
        return file.read(), file.tags()


def _unreadable(error: DatasetError, path: str, storage: Storage) -> Problem:
    if isinstance(error.__cause__, FileNotFoundError):
        return Problem(kind="missing", path=path, detail="missing")
    detail = str(error).removeprefix(f"{storage.where(path)}: ").removeprefix(f"{path}: ")
    return Problem(kind="damaged", path=path, detail=detail)


def _check_left_out(claimed: LeftOut, records: Mapping[Unit, UnitRecord]) -> Iterator[Problem]:
    """Compare the patches that the card says were left out with what the rasters hold."""
    unread = {unit.raster_path for unit, record in records.items() if _UNREADABLE in record.patches}
    due = left_out(records)
    for name in sorted({*claimed, *due}):
        if claimed.get(name) != due.get(name) and unread.isdisjoint([*claimed.get(name, ()), *due.get(name, ())]):
            detail = f"patch {name} is left out with the valid fractions {claimed.get(name)}, should be {due.get(name)}"
            yield Problem(kind="row", path=CARD_FILE, detail=detail)


def _check_rows(rows: list[dict[str, Any]], records: Mapping[Unit, UnitRecord], without: LeftOut) -> Iterator[Problem]:
    """Compare the index with what the plan and the files say, row by row and column by column."""
    found = {(row["patch_id"], row["period"]): row for row in rows}
    if len(found) != len(rows):
        yield _row(f"{len(rows) - len(found)} rows are there twice")
    for wanted in dataset_rows(records, without):
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
    unreadable = {sensor for sensor in ("s1", "s2") if wanted[f"{sensor}_sha256"] == _UNREADABLE.sha256}
    for column in COLUMNS:
        sensor, _, what = column.partition("_")
        if sensor in unreadable and what in ("sha256", "valid_fraction"):
            continue  # the file itself has been named already
        if _same(row[column], wanted[column]):
            continue
        if what == "sha256":
            detail = "its SHA-256 is not the one in the index"
            yield Problem(kind="hash", path=wanted[f"{sensor}_path"], detail=detail)
        else:
            where = f"patch {row['patch_id']} of period {row['period']}"
            yield _row(f"{where}: {column} is {row[column]!r}, should be {wanted[column]!r}")


def _same(got: object, wanted: object) -> bool:
    if isinstance(wanted, BaseGeometry):
        # Versions of PROJ differ in the last digits; a tenth of a millimetre is no difference.
        return isinstance(got, BaseGeometry) and bool(got.equals_exact(wanted, tolerance=1e-9))
    return got == wanted


def _check_surplus(plan: Plan, units: list[Unit], without: LeftOut, present: frozenset[str]) -> Iterator[Problem]:
    expected = {unit.raster_path for unit in units_of(plan)}  # a ROI that failed may keep rasters for the next try
    expected.update(path for unit in units for _, path in unit.patch_paths(left_out=without))
    for path in present:
        if is_image(path) and path not in expected:
            yield Problem(kind="surplus", path=path, detail="not in the index")
    whole = {unit.roi.name for unit in units} == {roi.roi.name for roi in plan.rois}
    if whole and any(is_partial(path) for path in present):
        yield Problem(kind="unfinished", path=PARTIAL, detail="the build is not finished; start it again")
