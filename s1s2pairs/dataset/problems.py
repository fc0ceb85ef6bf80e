"""What can be wrong with a dataset."""

from dataclasses import dataclass
from typing import Literal

from ..errors import DatasetError
from .storage import Storage

ProblemKind = Literal["missing", "damaged", "hash", "pixels", "plan", "row", "surplus", "unfinished"]
"""A file is not there; it cannot be read, has another shape or type, or has not the bytes it was written with; its SHA-256 is
not the one noted; its pixels are not those of its raster; it was made from another plan; a row of the index is missing,
surplus or wrong; no row names a file; the build is not finished."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong."""

    kind: ProblemKind
    path: str
    """File, relative to the dataset."""
    detail: str
    """For people."""


def unreadable(error: DatasetError, path: str, storage: Storage) -> Problem:
    """Return the problem of a file that could not be read, or not as what it should be."""
    if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
        return Problem(kind="missing", path=path, detail="missing")
    detail = str(error).removeprefix(f"{storage.where(path)}: ").removeprefix(f"{path}: ")
    return Problem(kind="damaged", path=path, detail=detail)
