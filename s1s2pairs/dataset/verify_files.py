"""Rasters and patches: whether each has the bytes, the shape and the pixels that it should have."""

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from ..progress import Progress, stage
from .noted import NOT_IN_CARD, CardNotes, IndexNotes
from .patches import Window, patch_grid, patch_id
from .problems import Problem, unreadable
from .rasters import DIGEST_TAG, mismatch, opened
from .storage import Storage
from .unit_files import patch_file, raster_file
from .units import PatchRecord, Unit, UnitRecord, patch_record

UNREADABLE: Final = PatchRecord(sha256="", valid_fraction=-1.0)
"""Stands for a patch that is not there or not whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """What was found of one unit."""

    problems: tuple[Problem, ...]
    record: UnitRecord
    """What the index should say of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileCheck:
    """What the files of a dataset are compared with."""

    storage: Storage
    card: CardNotes
    index: IndexNotes
    in_dataset: frozenset[str]
    """ROIs that have patches."""

    def all(self, units: Sequence[Unit], workers: int, progress: Progress) -> dict[Unit, Checked]:
        """Check rasters with their patches.

        Args:
            units: Of ROIs that are in the dataset, and of rasters that are kept of others.
            workers: Threads.
            progress: Told how far it is.
        """
        checked: dict[Unit, Checked] = {}
        with stage(progress, "checking rasters", len(units)), ThreadPoolExecutor(workers) as executor:
            for unit, result in zip(units, executor.map(self.unit, units), strict=True):
                checked[unit] = result
                progress.step(unit.raster_path)
        return checked

    def unit(self, unit: Unit) -> Checked:
        """Check one raster with its patches."""
        raster, sha256, wrong = self._raster(unit)
        problems = [] if wrong is None else [wrong]
        records = []
        for window, path in unit.patch_paths() if unit.roi.name in self.in_dataset else ():
            rows, columns = window.slices
            part = None if raster is None else raster[:, rows, columns]
            if patch_id(unit.roi.name, window) in self.card.left_out and self.card.sure:
                records.append(UNREADABLE if part is None else patch_record(part, b"", unit))
                continue
            found, record = self._patch(unit, window, path, part)
            problems.extend(found)
            records.append(record)
        return Checked(problems=tuple(problems), record=UnitRecord(sha256=sha256, patches=tuple(records)))

    def _raster(self, unit: Unit) -> tuple[NDArray[Any] | None, str, Problem | None]:
        """Return a raster's pixels if nothing is wrong with it, its hash, and what is wrong."""
        path, sha256 = unit.raster_path, ""
        try:
            content = self.storage.read(path)
            sha256 = hashlib.sha256(content).hexdigest()
            raster, tags = _decoded(content, path, unit, unit.choices.grid)
        except DatasetError as error:
            return None, sha256, unreadable(error, path, self.storage)
        if tags.get(DIGEST_TAG) != unit.digest:
            return None, sha256, Problem(kind="plan", path=path, detail="made from another plan")
        if not self.card.fit(path, content, lambda: raster_file(unit, raster)):
            detail = NOT_IN_CARD if self.card.sure else "its bytes are not those that its pixels give"
            return None, sha256, Problem(kind="hash", path=path, detail=detail)
        return raster, sha256, None

    def _patch(
        self, unit: Unit, window: Window, path: str, part: NDArray[Any] | None
    ) -> tuple[list[Problem], PatchRecord]:
        """Check a patch against its window of the raster where that is whole."""
        try:
            content = self.storage.read(path)
            pixels, _ = _decoded(content, path, unit, patch_grid(unit.choices.grid, window))
        except DatasetError as error:
            # Where no card says which patches are left out, the raster's pixels will.
            known = part is not None and not self.card.sure
            record = patch_record(part, b"", unit) if known and part is not None else UNREADABLE
            return [unreadable(error, path, self.storage)], record
        problems = []
        if not self.index.fit(path, content, lambda: patch_file(unit, window, pixels)):
            sure = "its SHA-256 is not the one in the index"
            detail = sure if self.index.sure else "its bytes are not those that its pixels give"
            problems.append(Problem(kind="hash", path=path, detail=detail))
        if part is not None and not np.array_equal(pixels, part, equal_nan=unit.layout.dtype == "float32"):
            detail = f"its pixels are not those of its window of {unit.raster_path}"
            problems.append(Problem(kind="pixels", path=path, detail=detail))
        return problems, UNREADABLE if problems else patch_record(pixels, content, unit)


def _decoded(content: bytes, path: str, unit: Unit, grid: Any) -> tuple[NDArray[Any], Mapping[str, str]]:
    with opened(content, name=path) as file:
        wrong = mismatch(file, grid=grid, layout=unit.layout)
        if wrong:
            raise DatasetError(f"{path}: {wrong}")
        return file.read(), file.tags()
