"""Every patch of a dataset, packed once into two flat files that are mapped into memory.

Values keep the types of the GeoTIFFs (S1 float32 dB, S2 uint16), so a sample read from here equals the patch to the last
bit; half floats would round dB values by up to 0.008. Missing is folded into the values themselves: S1 pixels without a
single averaged acquisition are NaN in all polarisations, S2 pixels without a clear observation are 0 in all bands.

The cache lies in `<dataset>/.cache/<key>/`; the key is a hash over the index's file hashes and the band names. It is
packed under another name and renamed when whole. Two runs that start at once agree by a lock, and where the file system
has no locks, by whose rename comes first.
"""

import contextlib
import hashlib
import json
import logging
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
import rasterio
from pydantic import TypeAdapter, ValidationError
from rasterio.io import MemoryFile

from s1s2pairs.dataset.dataset import Dataset
from s1s2pairs.errors import DatasetError
from s1s2pairs.sensors import S1_COUNT_BAND, S2_CLEAR_BAND, S2_NODATA

from ..missing import has_values

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

FORMAT: Final = 1
"""Raised whenever the layout of the files changes, so that old caches are packed again."""
CACHE_FOLDER: Final = ".cache"
LAYOUT_FILE: Final = "layout.json"
PACKING_THREADS: Final = 4
CHUNK_ROWS: Final = 64
"""Index rows read ahead of the writer while packing; bounds the memory in use."""
DTYPES: Final[dict[str, npt.DTypeLike]] = {"s1": np.float32, "s2": np.uint16}


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheLayout:
    """Shape and meaning of the packed files."""

    rows: int
    """As many as the index has, in its order."""
    height: int
    width: int
    s1_bands: tuple[str, ...]
    s2_bands: tuple[str, ...]

    def bands(self, sensor: str) -> tuple[str, ...]:
        """Return the packed bands of `s1` or `s2`, in channel order."""
        return self.s1_bands if sensor == "s1" else self.s2_bands

    def shape(self, sensor: str) -> tuple[int, int, int, int]:
        """Return (row, band, y, x) of a sensor's file."""
        return self.rows, len(self.bands(sensor)), self.height, self.width


class Cache:
    """The packed patches of one dataset, mapped read-only."""

    def __init__(self, folder: Path) -> None:
        """Map the cache in `folder`.

        Raises:
            DatasetError: It is damaged.
        """
        self.folder = folder
        self.layout = _read_layout(folder)
        self.s1 = _map(folder, "s1", self.layout)
        """(row, band, y, x) float32, sigma0 or gamma0 in dB, NaN where missing. Bands `layout.s1_bands`."""
        self.s2 = _map(folder, "s2", self.layout)
        """(row, band, y, x) uint16, reflectance x 10000, 0 where missing. Bands `layout.s2_bands`."""

    def __reduce__(self) -> tuple[type["Cache"], tuple[Path]]:
        """Send only the folder to another process, which maps the files itself."""
        return Cache, (self.folder,)


def open_cache(dataset: Dataset) -> Cache:
    """Return the cache of a dataset; pack it first if there is none that fits the index.

    Raises:
        DatasetError: A patch is missing or damaged, patches differ in size, or the cache cannot be written.
    """
    parent = cache_parent(dataset)
    folder = parent / cache_key(dataset)
    if not folder.is_dir():
        try:
            parent.mkdir(parents=True, exist_ok=True)
            with _locked(parent / "lock"):
                if not folder.is_dir():
                    _pack(dataset, folder)
        except OSError as error:
            raise DatasetError(
                f"{folder}: the packed cache cannot be written ({error.strerror or error}); it needs "
                f"{_needed_bytes(dataset) / 1e9:.2f} GB and write access there; make room, or copy the dataset"
            ) from error
    return Cache(folder)


def cache_parent(dataset: Dataset) -> Path:
    """Return the folder of a dataset's caches: beside a local one, else in this machine's folder for such things."""
    if dataset.storage.is_local:
        return dataset.storage.local_root / CACHE_FOLDER
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "s1s2pairs"


def cache_key(dataset: Dataset) -> str:
    """Return a name that changes when any patch, its place in the index, or the bands change."""
    digest = hashlib.sha256(json.dumps([FORMAT, dataset.s1_bands, dataset.s2_bands]).encode())
    columns = ["patch_id", "period", "s1_sha256", "s2_sha256"]
    for row in dataset.index[columns].itertuples(index=False):
        digest.update("\0".join(row).encode() + b"\n")
    return digest.hexdigest()[:24]


def read_patch(
    dataset: Dataset, row: Any, s1_bands: Sequence[str], s2_bands: Sequence[str]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint16]]:
    """Read one index row's GeoTIFFs, checked against their hashes.

    Args:
        dataset: The dataset.
        row: A row of the index, as `itertuples` gives it.
        s1_bands: Polarisations to read.
        s2_bands: Optical bands to read.

    Returns:
        (band, y, x) float32, dB, NaN where missing; and (band, y, x) uint16, reflectance x 10000, 0 where missing.

    Raises:
        DatasetError: A file is missing, damaged, of another size, or lacks a band.
    """
    s1 = _read_bands(dataset, row.s1_path, row.s1_sha256, (*s1_bands, S1_COUNT_BAND), (row.height, row.width))
    radar = s1[:-1].astype(np.float32, copy=False)
    # Per band, where `sensors.valid_pixels` asks for all: a task that reads VV alone keeps pixels that lack only VH.
    radar[~has_values(radar, s1[-1])] = np.nan
    s2 = _read_bands(dataset, row.s2_path, row.s2_sha256, (*s2_bands, S2_CLEAR_BAND), (row.height, row.width))
    optical = s2[:-1].astype(np.uint16, copy=False)
    optical[~has_values(optical, s2[-1])] = S2_NODATA
    return radar, optical


def _read_bands(
    dataset: Dataset, file: str, sha256: str, bands: Sequence[str], size: tuple[int, int]
) -> npt.NDArray[Any]:
    path = dataset.storage.where(file)
    try:
        content = dataset.storage.read(file)
    except DatasetError as error:
        raise DatasetError(f"{error}; build the dataset again to restore it") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DatasetError(
            f"{path}: damaged or changed, its SHA-256 is not the index's. "
            "`s1s2 verify` names all such files; delete them and build again"
        )
    try:
        with MemoryFile(content) as memory, memory.open() as raster:
            names = list(raster.descriptions)
            missing = [band for band in bands if band not in names]
            if missing or (raster.height, raster.width) != size:
                raise DatasetError(
                    f"{path}: has bands {', '.join(map(str, names))} and {raster.height} x {raster.width} px, the index "
                    f"says {', '.join(bands)} and {size[0]} x {size[1]} px; build the dataset again"
                )
            values: npt.NDArray[Any] = raster.read([names.index(band) + 1 for band in bands])
    except rasterio.errors.RasterioError as error:
        raise DatasetError(f"{path}: no readable GeoTIFF ({error}); delete it and build again") from error
    return values


def _pack(dataset: Dataset, folder: Path) -> None:
    height, width = _common_size(dataset)
    prefix = f"tmp-{platform.node()}-"
    # Those of a killed run on this machine go; a living one would hold the lock.
    for leftover in folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    logger.info("Packing %d patches of %s into %s, once.", len(dataset.index), dataset.storage.url, folder)
    partial = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        with (partial / "s1.bin").open("wb") as s1_file, (partial / "s2.bin").open("wb") as s2_file:
            _write_rows(dataset, s1_file, s2_file)
        bands = {"s1_bands": dataset.s1_bands, "s2_bands": dataset.s2_bands}
        layout = CacheLayout(rows=len(dataset.index), height=height, width=width, **bands)
        (partial / LAYOUT_FILE).write_text(json.dumps(asdict(layout)), encoding="utf-8")
        partial.chmod(0o755)  # mkdtemp's 0o700 would shut out other users of a shared dataset
        try:
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another run was first, where locks do not work
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for old in folder.parent.iterdir():
        if old.is_dir() and old != folder and (old / LAYOUT_FILE).is_file():
            logger.info("Removing the cache %s of an earlier state of the dataset.", old)
            shutil.rmtree(old, ignore_errors=True)


def _write_rows(dataset: Dataset, s1_file: BinaryIO, s2_file: BinaryIO) -> None:
    """Write every row's patches, in order.

    Plain writes rather than a writable map: on a full disk they fail with an error, a map kills the process.
    """
    s1_bands, s2_bands = dataset.s1_bands, dataset.s2_bands
    rows = list(dataset.index.drop(columns="geometry").itertuples(index=False))
    with ThreadPoolExecutor(PACKING_THREADS) as pool:
        for start in range(0, len(rows), CHUNK_ROWS):
            chunk = rows[start : start + CHUNK_ROWS]
            for radar, optical in pool.map(lambda row: read_patch(dataset, row, s1_bands, s2_bands), chunk):
                s1_file.write(np.ascontiguousarray(radar).data)
                s2_file.write(np.ascontiguousarray(optical).data)


def _common_size(dataset: Dataset) -> tuple[int, int]:
    sizes = dataset.index[["height", "width"]].drop_duplicates()
    if len(sizes) != 1:
        listed = ", ".join(f"{row.height} x {row.width}" for row in sizes.itertuples())
        raise DatasetError(
            f"{dataset.storage.url}: patches of {len(sizes)} sizes ({listed} px) cannot go into one batch; "
            "build it with one patch size for all ROIs"
        )
    return int(sizes["height"].iloc[0]), int(sizes["width"].iloc[0])


def _needed_bytes(dataset: Dataset) -> int:
    per_pixel = 4 * len(dataset.s1_bands) + 2 * len(dataset.s2_bands)
    return int((dataset.index["height"] * dataset.index["width"]).sum()) * per_pixel


def _read_layout(folder: Path) -> CacheLayout:
    try:
        return TypeAdapter(CacheLayout).validate_json((folder / LAYOUT_FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise DatasetError(f"{folder}: the packed cache is damaged; delete this folder; it is packed again") from error


def _map(folder: Path, sensor: str, layout: CacheLayout) -> npt.NDArray[Any]:
    path, shape, dtype = folder / f"{sensor}.bin", layout.shape(sensor), np.dtype(DTYPES[sensor])
    expected = int(np.prod(shape)) * dtype.itemsize
    found = path.stat().st_size if path.is_file() else 0
    if found != expected:
        raise DatasetError(
            f"{path}: has {found} bytes instead of {expected}; delete the folder {folder}; it is packed again"
        )
    return np.memmap(path, dtype=dtype, mode="r", shape=shape).view(np.ndarray)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process of this machine in at a time. The lock dies with its holder."""
    with path.open("a") as file:
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError:
                logger.warning("No file locks at %s: runs that start at once may pack the same cache twice.", path)
        yield
