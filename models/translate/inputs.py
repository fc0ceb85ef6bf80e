"""Whole scenes as the inputs of a task: GeoTIFFs that share one grid, read window by window."""

import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from rasterio.windows import Window

from s1s2pairs.dataset.storage import Storage
from s1s2pairs.errors import DatasetError, RunError
from s1s2pairs.sensors import REFLECTANCE_SCALE, S1_COUNT_BAND, S2_CLEAR_BAND, S2_NODATA

from ..missing import has_values
from ..task import Sensor, Stack, Task
from .bands import find_bands

logger = logging.getLogger(__name__)

COUNT_BANDS: Final[Mapping[Sensor, str]] = {"s1": S1_COUNT_BAND, "s2": S2_CLEAR_BAND}
"""Optional band of a file that is 0 where nothing was observed."""
_NAMED_INPUT: Final = re.compile(r"(\w+_t\d+)=(.+)")


def input_paths(task: Task, inputs: Sequence[str | Path]) -> dict[str, str | Path]:
    """Say which file holds which stack of a task's inputs.

    Args:
        task: What the network reads.
        inputs: Paths or fsspec URLs, one of: files as `s2_t2=path`; files in the order of the task's inputs; one folder
            `rasters/<roi>` with as many periods as the task has dates (in the order of their names); period folders from T1 on,
            so that naming the later one first predicts backward in time. A task of one date takes one period folder.

    Returns:
        By stack key: a path, or the URL of a file that is not on this machine.

    Raises:
        RunError: The inputs do not fit the task; the text says what would.
        DatasetError: A folder cannot be listed, or nothing here knows URLs of that kind.
    """
    keys = [stack.key for stack in task.inputs]
    texts = [str(given) for given in inputs]
    named = [_NAMED_INPUT.fullmatch(text) for text in texts]
    folders = [Storage(text) for text in texts]
    if texts and all(named):
        pairs = [(match[1], _path(match[2])) for match in named if match]
    elif texts and all(_is_folder(folder) for folder in folders):
        periods = _period_folders(task, folders)
        return {stack.key: _path(periods[stack.date].where(f"{stack.sensor}.tif")) for stack in task.inputs}
    else:
        pairs = list(zip(keys, map(_path, texts), strict=False))
    if sorted(key for key, _ in pairs) != sorted(keys) or len(texts) != len(keys):
        wanted = " ".join(f"{key}=FILE.tif" for key in keys)
        raise RunError(
            f"this run needs {len(keys)} inputs, {wanted} (names may be left out in this order), or a folder "
            f"rasters/<roi> of a dataset; got {' '.join(texts) or 'nothing'}"
        )
    return dict(pairs)


def _path(text: str) -> str | Path:
    """Return a path, or the URL of what is not on this machine."""
    storage = Storage(text)
    return storage.local_root if storage.is_local else text


def _is_folder(storage: Storage) -> bool:
    return storage.local_root.is_dir() if storage.is_local else bool(storage.listing())


def _period_folders(task: Task, folders: list[Storage]) -> list[Storage]:
    """Return the folder of each date from T1 on."""
    if len(folders) == 1 and not any(f"{sensor}.tif" in folders[0].listing() for sensor in COUNT_BANDS):
        names = sorted(name.rstrip("/") for name in folders[0].listing() if name.endswith("/") and name[0] != ".")
        folders = [Storage(folders[0].where(name)) for name in names]
    if len(folders) == task.n_periods == 1:
        return folders * task.n_dates
    if len(folders) != task.n_dates:
        labels = ", ".join(Path(folder.url).name for folder in folders) or "none"
        needed = f"{task.n_periods} period" + ("s" if task.n_periods > 1 else "")
        raise RunError(
            f"this run needs {needed}, got {len(folders)} ({labels}); give a folder rasters/<roi> with just "
            "these, or the period folders one by one, T1 first"
        )
    return folders


@dataclass(frozen=True, kw_only=True, slots=True)
class InputFile:
    """One input: an open file and where the bands of a stack are in it."""

    stack: Stack
    path: str | Path
    raster: rasterio.DatasetReader
    indexes: tuple[int, ...]
    count_index: int | None
    """Of the band that counts observations; 0 there means missing."""
    slope: NDArray[np.float64]
    """(band, 1, 1): stored value to dB or reflectance, with `offset`."""
    offset: NDArray[np.float64]

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return (band, y, x) float32 in physical units and (y, x) bool, True where every band has a value."""
        stored = self.raster.read(self.indexes, window=window)
        count = None if self.count_index is None else self.raster.read(self.count_index, window=window)
        valid = has_values(stored, count)
        for band, index in enumerate(self.indexes):
            nodata = self.raster.nodatavals[index - 1]
            if nodata is None and np.issubdtype(stored.dtype, np.integer):
                nodata = S2_NODATA
            if nodata is not None and not np.isnan(nodata):
                valid[band] &= stored[band] != nodata
        usable: NDArray[np.bool_] = np.all(valid, axis=0)
        values = (np.where(usable, stored, np.nan) * self.slope + self.offset).astype(np.float32)
        return values, usable


@dataclass(frozen=True, kw_only=True, slots=True)
class InputWindow:
    """A square of a scene."""

    column: int
    """First column."""
    stacks: Mapping[str, NDArray[np.float32]]
    """By stack key (band, y, x) float32, dB or reflectance, NaN where missing."""
    valid: NDArray[np.bool_]
    """(y, x) bool, True where every stack has values."""


class Inputs:
    """The inputs of a task over one whole grid. Use as a context manager: files are open in between."""

    def __init__(self, task: Task, paths: Mapping[str, str | Path]) -> None:
        """Name the files; nothing is opened yet.

        Args:
            task: What the network reads.
            paths: File, or its URL, by key of every stack among the task's inputs.
        """
        self.task = task
        self.paths = dict(paths)
        self.files: list[InputFile] = []
        """One per stack among the task's inputs, while they are open."""
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Open all files.

        Raises:
            RunError: A file is missing or no raster, lacks a band, or lies on another grid than the first.
        """
        with ExitStack() as stack:
            self.files = [_open(entry, self.paths[entry.key], stack) for entry in self.task.inputs]
            _check_grids(self.files)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Close all files."""
        self._open.close()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        raster = self.files[0].raster
        return raster.height, raster.width

    @property
    def crs(self) -> rasterio.crs.CRS:
        """Coordinate reference system of the grid."""
        return self.files[0].raster.crs

    @property
    def transform(self) -> rasterio.Affine:
        """From (column, row) to coordinates."""
        return self.files[0].raster.transform

    def read(self, row: int, column: int, size: int) -> InputWindow:
        """Read a square window of every stack; what lies beyond the scene is mirrored.

        Args:
            row: First row.
            column: First column.
            size: Rows and columns.
        """
        height, width = min(size, self.shape[0] - row), min(size, self.shape[1] - column)
        window = Window(column, row, width, height)
        beyond = ((0, size - height), (0, size - width))
        valid = np.ones((height, width), bool)
        stacks = {}
        for file in self.files:
            values, usable = file.read(window)
            stacks[file.stack.key] = np.pad(values, ((0, 0), *beyond), mode="reflect")
            valid &= usable
        return InputWindow(column=column, stacks=stacks, valid=np.pad(valid, beyond, mode="reflect"))


def _open(stack: Stack, path: str | Path, context: ExitStack) -> InputFile:
    try:
        raster = context.enter_context(_raster(path, context))
    except (rasterio.errors.RasterioIOError, DatasetError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise RunError(f"{stack.key}: {path} cannot be read as a raster ({reason}); give a GeoTIFF") from error
    names = list(raster.descriptions)
    indexes = find_bands(stack, names, f"{stack.key}: {path}")
    for index in indexes:
        unit = raster.units[index - 1]
        if stack.sensor == "s1" and unit and unit.lower() != "db":
            raise RunError(
                f"{stack.key}: band {names[index - 1]} of {path} is in {unit}; radar must be in dB; give 10 * log10 of "
                "linear power, with the unit dB"
            )
    slope = np.array([_slope(raster, index, stack.sensor) for index in indexes]).reshape(-1, 1, 1)
    offset = np.array([raster.offsets[index - 1] for index in indexes]).reshape(-1, 1, 1)
    count = COUNT_BANDS[stack.sensor]
    return InputFile(
        stack=stack,
        path=path,
        raster=raster,
        indexes=indexes,
        count_index=names.index(count) + 1 if count in names else None,
        slope=slope,
        offset=offset,
    )


def _raster(path: str | Path, context: ExitStack) -> rasterio.DatasetReader:
    """Open a file where it lies; one behind a URL is fetched whole, as its bytes are kept in memory."""
    if Storage(str(path)).is_local:
        return rasterio.open(path)
    folder, name = Storage.of_file(str(path))
    content = folder.read(name)
    if not content:  # rasterio takes empty memory for a file to be written
        raise DatasetError("the file is empty")
    return context.enter_context(MemoryFile(content)).open()


def _slope(raster: rasterio.DatasetReader, index: int, sensor: Sensor) -> float:
    """Return the file's scale; integers of a file that tells none are reflectance x 10000."""
    scale = float(raster.scales[index - 1])
    stored_as_integer = np.issubdtype(np.dtype(raster.dtypes[index - 1]), np.integer)
    return 1.0 / REFLECTANCE_SCALE if sensor == "s2" and stored_as_integer and scale == 1.0 else scale


def _check_grids(files: Sequence[InputFile]) -> None:
    """Refuse files on different grids: networks compare the dates pixel by pixel."""
    first = files[0]
    for file in files[1:]:
        ours = {"size": file.raster.shape, "crs": file.raster.crs, "transform": file.raster.transform}
        theirs = {"size": first.raster.shape, "crs": first.raster.crs, "transform": first.raster.transform}
        same = {
            "size": ours["size"] == theirs["size"],
            "crs": ours["crs"] == theirs["crs"],
            "transform": first.raster.transform.almost_equals(file.raster.transform, precision=1e-6),
        }
        wrong = [name for name, equal in same.items() if not equal]
        if wrong:
            name = wrong[0]
            raise RunError(
                f"{file.stack.key} ({file.path}) lies on another grid than {first.stack.key}: its {name} is "
                f"{_short(ours[name])}, not {_short(theirs[name])}; warp it onto that grid first"
            )


def _short(value: object) -> str:
    return str(tuple(round(number, 6) for number in value)[:6]) if isinstance(value, rasterio.Affine) else str(value)
