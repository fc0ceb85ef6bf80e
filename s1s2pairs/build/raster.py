"""The work that is done many times, as functions that run the same in a thread or on another machine."""

import hashlib
import json
import logging
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..acquisitions import Needed
from ..dataset.layout import LOCK_FILE
from ..dataset.rasters import decode, digest_of
from ..dataset.storage import Storage
from ..dataset.unit_files import patch_file, raster_file
from ..dataset.units import PatchRecord, Unit, UnitRecord, dump_record, patch_record
from ..errors import DatasetError, SourceError
from ..plan.choices import RoiPlan
from ..plan.lock import roi_to_json
from ..plan.search import plan_roi
from ..recipe.settings import Roi
from ..sources import OpticalComposite, SarMean, Source
from .despeckle import GRD_LOOKS, despeckle, to_db
from .opener import ENCODERS, Session, source_of
from .plausible import check_plausible

log = logging.getLogger(__name__)


_ENCODING = threading.BoundedSemaphore(ENCODERS)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanTask:
    """A ROI to plan."""

    session: Session
    storage: Storage
    roi: Roi
    path: str
    """Where the plan is kept."""


def run_plan(task: PlanTask) -> RoiPlan:
    """Choose orbit, scenes and dates of a ROI, and keep the plan, so that a build that is stopped need not search again.

    Raises:
        SourceError: The source cannot be used.
        GridError: The ROI lies outside UTM.
        DatasetError: The plan cannot be written.
    """
    plan = plan_roi(source_of(task.session), task.roi)
    task.storage.write(task.path, json.dumps(roi_to_json(plan)).encode())
    return plan


@dataclass(frozen=True, kw_only=True, slots=True)
class RasterTask:
    """A raster to make."""

    session: Session
    storage: Storage
    unit: Unit


def run_raster(task: RasterTask) -> UnitRecord:
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
            content = raster_file(unit, pixels)
            storage.write(unit.raster_path, content)
        patches = tuple(_cut(unit, storage, pixels))
        record = UnitRecord(fetched=kept is None, sha256=hashlib.sha256(content).hexdigest(), patches=patches)
        storage.write(unit.record_path, dump_record(record))
        return record


@dataclass(frozen=True, kw_only=True, slots=True)
class MendTask(RasterTask):
    """A raster of a finished dataset to make again."""

    sha256: str | None
    """That it must have; None where nobody knows."""


def run_mend(task: MendTask) -> None:
    """Make one raster again, and write it only if it has the bytes it had.

    Raises:
        SourceError: The source cannot give the pixels, or gives others.
        DatasetError: The dataset cannot be written to.
    """
    unit = task.unit
    content = raster_file(unit, fetch(source_of(task.session), unit))
    if task.sha256 not in (None, hashlib.sha256(content).hexdigest()):
        raise SourceError(
            f"{unit.source} gives other pixels than when the dataset was built, or another version of a library writes them "
            f"otherwise; to take what it gives now, delete {unit.raster_path} and build again from {LOCK_FILE}"
        )
    task.storage.write(unit.raster_path, content)


def fetch(source: Source, unit: Unit) -> NDArray[Any]:
    """Get a raster's pixels from the source.

    Returns:
        (band, y, x) as `unit.layout` says.

    Raises:
        SourceError: A scene is missing, cannot be read or has changed since the plan was made, or the answer has the wrong
            shape or values that cannot be.
    """
    settings, grid = unit.roi.settings, unit.choices.grid
    _check_unchanged(source, unit)
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
    check_plausible(pixels, unit)
    return pixels


def _check_unchanged(source: Source, unit: Unit) -> None:
    planned = unit.choices.scene_versions
    if not planned:
        return
    settings = unit.roi.settings
    scenes = {"sar": unit.scenes, "optical": ()} if unit.sensor == "s1" else {"sar": (), "optical": unit.scenes}
    found = source.versions(Needed(**scenes, polarisations=settings.s1_polarisations, bands=settings.s2_bands))
    changed = [scene for scene, version in found.items() if planned.get(scene, version) != version]
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise SourceError(
            f"scene {changed[0]}{more} changed at the source since the plan was made; plan anew: give another --out, or delete "
            f"{LOCK_FILE} in this one, and start from the recipe"
        )


def _sar_pixels(mean: SarMean, unit: Unit) -> NDArray[np.float32]:
    looks = GRD_LOOKS * np.maximum(mean.count, 1).astype(np.float64)
    linear = despeckle(mean.linear, looks=looks, method=unit.roi.settings.s1_speckle)
    return np.concatenate([to_db(linear), mean.count[None].astype(np.float32)])


def _optical_pixels(composite: OpticalComposite) -> NDArray[np.uint16]:
    return np.concatenate([composite.reflectance, composite.clear[None].astype(np.uint16)])


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
    for window, path in unit.patch_paths():
        rows, columns = window.slices
        part = pixels[:, rows, columns]
        content = patch_file(unit, window, part)
        storage.write(path, content)
        records.append(patch_record(part, content, unit))
    return records
