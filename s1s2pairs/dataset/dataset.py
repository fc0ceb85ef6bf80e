"""A built dataset, opened."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas as gpd

from ..errors import DatasetError, RecipeError
from ..plan.choices import Plan
from ..plan.lock import parse_lock
from ..untrusted import Unusable, parse_object
from .index import checked_index
from .layout import CARD_FILE, INDEX_FILE, LOCK_FILE
from .storage import Storage


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A built dataset, opened."""

    storage: Storage
    """Where its files are: a folder, or an fsspec URL."""
    index: gpd.GeoDataFrame
    """One row per patch and period, columns as in `COLUMNS`."""
    sha256: str
    """Of the index file; as the index holds every patch's hash, it stands for the dataset."""

    @cached_property
    def card(self) -> Mapping[str, Any]:
        """The dataset card (`dataset.json`)."""
        file = self.storage.where(CARD_FILE)
        try:
            return parse_object(self.storage.read(CARD_FILE))
        except (DatasetError, Unusable) as error:
            raise DatasetError(f"{file}: cannot be read ({error}); build the dataset again") from error

    @cached_property
    def plan(self) -> Plan:
        """The plan that it was built from (`recipe.lock.geojson`)."""
        plan = locked_plan(self.storage)
        if plan is None:
            raise DatasetError(f"{self.storage.where(LOCK_FILE)}: cannot be read; build the dataset again")
        return plan

    @property
    def periods(self) -> tuple[str, ...]:
        """Labels of all periods, by mean optical time."""
        first = self.index.groupby("period")["s2_mean_time"].min().sort_values(kind="stable")
        return tuple(first.index)

    @property
    def s1_bands(self) -> tuple[str, ...]:
        """Radar bands that every patch has, in the first patch's order."""
        return _common(self.index["s1_bands"])

    @property
    def s2_bands(self) -> tuple[str, ...]:
        """Optical bands that every patch has, in the first patch's order."""
        return _common(self.index["s2_bands"])


def _common(lists: Iterable[Iterable[str]]) -> tuple[str, ...]:
    unique = list(dict.fromkeys(tuple(bands) for bands in lists))
    return tuple(band for band in unique[0] if all(band in bands for bands in unique)) if unique else ()


def locked_plan(storage: Storage) -> Plan | None:
    """Return the plan of the dataset in the folder, None where there is none.

    Raises:
        DatasetError: Its lock file is damaged.
    """
    content = storage.read_if_there(LOCK_FILE)
    return None if content is None else plan_of(content, file=storage.where(LOCK_FILE))


def plan_of(lock: bytes, *, file: str) -> Plan:
    """Return the plan in the content of a dataset's lock file.

    Raises:
        DatasetError: It is damaged.
    """
    try:
        return parse_lock(lock.decode(), file=file)
    except (RecipeError, ValueError) as error:
        reason = str(error).removeprefix(f"{file}: ")
        raise DatasetError(f"{file} is damaged ({reason}); delete it, and the build searches again") from error


def open_dataset(path: str | Path) -> Dataset:
    """Open a built dataset.

    Args:
        path: Folder, or fsspec URL.

    Raises:
        DatasetError: There is no dataset, its index is damaged, or it lacks columns.
    """
    storage = Storage(str(path))
    file = storage.where(INDEX_FILE)
    try:
        content = storage.read(INDEX_FILE)
    except DatasetError as error:
        reason = str(error).removeprefix(f"{file}: ")
        raise DatasetError(
            f"{path}: no dataset here ({INDEX_FILE} {reason}); build one with `s1s2 build RECIPE --out {path}`"
        ) from error
    index = checked_index(content, file=file, remedy="build the dataset again")
    return Dataset(storage=storage, index=index, sha256=hashlib.sha256(content).hexdigest())
