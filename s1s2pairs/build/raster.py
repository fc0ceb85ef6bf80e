"""The work that is done many times, as functions that run the same in a thread or on another machine."""

import functools
import hashlib
import json
import logging
import os
import threading
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ..dataset.contents import PatchRecord, Unit, UnitRecord, dump_record, patch_record
from ..dataset.patches import patch_grid
from ..dataset.rasters import DIGEST_TAG, decode, digest_of, encode
from ..dataset.storage import Storage
from ..errors import DatasetError, SourceError
from ..plan.lock import roi_to_json
from ..plan.search import plan_roi
from ..recipe.settings import Roi
from ..sources import OpticalComposite, SarMean, Source
from ..sources.registry import Access, kind_of, open_source
from .despeckle import GRD_LOOKS, despeckle, to_db

log = logging.getLogger(__name__)


LOCAL_WORKERS: Final = 4
"""Images made at once where this machine reads the scenes."""
ENCODERS: Final = min(4, os.cpu_count() or 1)
"""Rasters encoded and written at once in a process, whatever its workers.

Requests sent together are answered together. Encoded all at once, their rasters would also be finished together, late, and
until then no request would be under way; a few at a time, the first worker asks again while the others take their turn.
"""


class Opener(Protocol):
    """How a worker gets at the source: a small hashable value that can be sent to another process."""

    def open(self) -> Source:
        """Open the source; called once per process and build."""

    def share(self, processes: int) -> Self:
        """Return the opener for one of several processes that together must keep the source's limits."""

    @property
    def most_processes(self) -> int | None:
        """How many processes may use the source at once; None where it does not matter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceOpener:
    """Opens what the user named."""

    name: str
    """`earthengine`, `stac:URL`, or the path of a catalogue."""
    radar: str | None = None
    """Another one for radar images."""
    project: str | None = None
    """Google Cloud project, for Earth Engine only."""
    requests: int = 24
    """Most requests in flight at once over all processes, for Earth Engine only."""

    @property
    def usual_workers(self) -> int:
        """How many images are best made at once.

        Earth Engine does the work elsewhere: all its requests are in flight while other images are encoded or wait for
        their turn. Other sources do it here.
        """
        return self.requests + 2 * ENCODERS if self._counts_requests else LOCAL_WORKERS

    def open(self) -> Source:
        """Open the source.

        Raises:
            SourceError: It cannot be used.
        """
        access = Access(project=self.project, requests=self.requests)
        return open_source(self.name, radar=self.radar, access=access)

    def share(self, processes: int) -> Self:
        """Return the opener for one of several processes: each gets an equal part of the requests."""
        return replace(self, requests=max(1, self.requests // processes))

    @property
    def most_processes(self) -> int | None:
        """A process needs at least one of Earth Engine's requests."""
        return self.requests if self._counts_requests else None

    @property
    def _counts_requests(self) -> bool:
        return any(kind_of(name).counts_requests for name in (self.name, self.radar) if name is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """One build's use of a source: sources are opened anew for each build, and once in each process."""

    opener: Opener
    token: str


_OPENING = threading.Lock()
_ENCODING = threading.BoundedSemaphore(ENCODERS)


@functools.lru_cache(maxsize=2)
def _opened(session: Session) -> Source:
    return session.opener.open()


def source_of(session: Session) -> Source:
    """Return this process's source.

    Raises:
        SourceError: It cannot be used.
    """
    with _OPENING:
        return _opened(session)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanTask:
    """A ROI to plan."""

    session: Session
    storage: Storage
    roi: Roi
    path: str
    """Where the plan is kept."""


def run_plan(task: PlanTask) -> None:
    """Choose orbit, scenes and dates of a ROI, and keep the plan.

    Raises:
        SourceError: The source cannot be used.
        GridError: The ROI lies outside UTM.
        DatasetError: The plan cannot be written.
    """
    plan = plan_roi(source_of(task.session), task.roi)
    task.storage.write(task.path, json.dumps(roi_to_json(plan)).encode())


@dataclass(frozen=True, kw_only=True, slots=True)
class RasterTask:
    """A raster to make."""

    session: Session
    storage: Storage
    unit: Unit


def run_raster(task: RasterTask) -> None:
    """Make one raster and its patches, unless the raster is there, and leave the record that it is done.

    Raises:
        SourceError: The source cannot give the pixels.
        DatasetError: The dataset cannot be written to.
    """
    unit, storage = task.unit, task.storage
    kept = _kept(unit, storage)
    content, pixels = kept if kept is not None else (None, fetch(source_of(task.session), unit))
    with _ENCODING:
        if content is None:
            content = encode(pixels, grid=unit.choices.grid, layout=unit.layout, tags=_tags(unit))
            storage.write(unit.raster_path, content)
        patches = tuple(_cut(unit, storage, pixels))
        record = UnitRecord(fetched=kept is None, sha256=hashlib.sha256(content).hexdigest(), patches=patches)
        storage.write(unit.record_path, dump_record(record))


def fetch(source: Source, unit: Unit) -> NDArray[Any]:
    """Get a raster's pixels from the source.

    Returns:
        (band, y, x) as `unit.layout` says.

    Raises:
        SourceError: A scene is missing or cannot be read, or the answer has the wrong shape.
    """
    settings, grid = unit.roi.settings, unit.choices.grid
    pixels: NDArray[Any]
    if unit.sensor == "s1":
        mean = source.mean_sar(unit.scenes, polarisations=settings.s1_polarisations, grid=grid)
        pixels = _sar_pixels(mean, unit)
    else:
        composite = source.composite_optical(
            unit.scenes, bands=settings.s2_bands, method=unit.period.composite, grid=grid
        )
        pixels = _optical_pixels(composite)
    wanted = (len(unit.layout.bands), *grid.shape)
    if pixels.shape != wanted:
        raise SourceError(f"{unit.source} gave a raster of shape {pixels.shape} for {unit.raster_path}, not {wanted}")
    return pixels


def _sar_pixels(mean: SarMean, unit: Unit) -> NDArray[np.float32]:
    looks = GRD_LOOKS * np.maximum(mean.count, 1).astype(np.float64)
    linear = despeckle(mean.linear, looks=looks, method=unit.roi.settings.s1_speckle)
    return np.concatenate([to_db(linear), mean.count[None].astype(np.float32)])


def _optical_pixels(composite: OpticalComposite) -> NDArray[np.uint16]:
    return np.concatenate([composite.reflectance, composite.clear[None].astype(np.uint16)])


def _tags(unit: Unit) -> dict[str, str]:
    return {DIGEST_TAG: unit.digest, "S1S2_ROI": unit.roi.name, "S1S2_PERIOD": unit.period.label}


def _kept(unit: Unit, storage: Storage) -> tuple[bytes, NDArray[Any]] | None:
    """Return the raster's file and pixels if it is there, whole, and made from this very plan."""
    content = storage.read_if_there(unit.raster_path)
    if content is None or digest_of(content) != unit.digest:
        return None
    try:
        return content, decode(content, name=storage.where(unit.raster_path))
    except DatasetError as error:
        log.warning("%s; it is fetched again", error)
        return None


def _cut(unit: Unit, storage: Storage, pixels: NDArray[Any]) -> list[PatchRecord]:
    records = []
    layout = unit.layout
    for window, path in unit.patch_paths():
        rows, columns = window.slices
        part = np.ascontiguousarray(pixels[:, rows, columns])
        content = encode(part, grid=patch_grid(unit.choices.grid, window), layout=layout, cog=False)
        storage.write(path, content)
        records.append(patch_record(part, content, unit))
    return records
