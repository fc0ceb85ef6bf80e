"""What an earlier start left behind: which of it belongs to this build, and what must not be touched."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..dataset.card import software_version
from ..dataset.index import patch_records_of
from ..dataset.layout import (
    CARD_FILE,
    INDEX_FILE,
    LOCK_FILE,
    OURS,
    PLANS,
    is_partial,
    is_viewers,
    plan_path,
    roi_of_raster,
)
from ..dataset.left_out import LeftOut
from ..dataset.noted import read_card, read_index
from ..dataset.patches import patch_id
from ..dataset.storage import Storage
from ..dataset.units import PatchRecord, Unit, UnitRecord, load_record
from ..errors import DatasetError, RecipeError
from ..plan.choices import Plan, RoiPlan
from ..plan.lock import digest, roi_from_json, roi_to_json
from ..recipe.settings import Roi

log = logging.getLogger(__name__)

Sources = tuple[str, str | None]
"""`Source.name` and `Source.radar_name`."""


def quoted(sources: Sources) -> str:
    """Name sources in a message."""
    source, radar = sources
    return repr(source) if radar is None else f"{source!r} with radar from {radar!r}"


def check_folder(storage: Storage) -> None:
    """Refuse a folder that holds other things than a dataset.

    Raises:
        DatasetError: It does.
    """
    present = [path for path in storage.files() if not is_viewers(path)]
    if present and not any(path in OURS or is_partial(path) for path in present):
        raise DatasetError(
            f"{storage.url} holds other files ({min(present)}), but no dataset; give an empty or new folder with --out"
        )


def roi_key(roi: Roi) -> dict[str, Any]:
    """Return everything the choices for a ROI depend on, apart from the source: plain JSON."""
    feature = roi_to_json(RoiPlan(roi=roi, choices=None))
    feature["properties"].pop("failed")
    key: dict[str, Any] = json.loads(json.dumps(feature))
    return key


def check_same_dataset(
    existing: Plan | None, *, name: str, sources: Sources, rois: Sequence[Roi], storage: Storage
) -> None:
    """Refuse to mix two datasets in one folder: what is there may grow by ROIs, but not change.

    A ROI of which nothing has been built yet, only planned, may change.

    Raises:
        DatasetError: The folder holds another dataset, or this one with other settings.
    """
    built = () if existing is None else _built(existing, storage)
    if existing is None or not built:
        return
    lock = storage.where(LOCK_FILE)
    way_out = f"give another --out, or delete {lock} to rebuild in place (rasters that stay the same are kept)"
    if existing.name != name:
        raise DatasetError(f"{storage.url} holds the dataset {existing.name!r}, not {name!r}: {way_out}")
    if existing.sources != sources:
        raise DatasetError(f"{storage.url} was built from {quoted(existing.sources)}, not {quoted(sources)}: {way_out}")
    wanted = {roi.name: roi_key(roi) for roi in rois}
    for old in built:
        if old.roi.name not in wanted:
            raise DatasetError(f"{storage.url} holds the ROI {old.roi.name}, which the recipe lacks: {way_out}")
        difference = _difference(roi_key(old.roi), wanted[old.roi.name])
        if difference:
            raise DatasetError(f"{storage.url} holds the ROI {old.roi.name} with another {difference}: {way_out}")


def _built(existing: Plan, storage: Storage) -> list[RoiPlan]:
    """Return the ROIs of which at least one raster has been made."""
    present = storage.files()
    begun = {roi_of_raster(path) for path in present}
    planned = [plan for plan in existing.rois if plan.choices is not None]
    return [plan for plan in planned if INDEX_FILE in present or plan.roi.name in begun]


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    before, after = old["properties"], new["properties"]
    for key in after:
        if before[key] != after[key]:
            return f"{key} ({json.dumps(before[key])}, now {json.dumps(after[key])})"
    return None if old["geometry"] == new["geometry"] else "polygon"


class CachedPlans:
    """The plans of single ROIs that a build finds before the lock file is written."""

    def __init__(self, storage: Storage, sources: Sources, existing: Plan | None) -> None:
        self._storage = storage
        self._sources = sources
        locked = existing.rois if existing is not None and existing.sources == sources else ()
        self._locked = {plan.roi.name: plan for plan in locked if plan.choices is not None}
        # One listing instead of a look for each: on NFS, a name looked for in vain stays unknown for a while.
        self._present = storage.files(PLANS)

    def path(self, roi: Roi) -> str:
        """Return where the plan of a ROI is kept."""
        return plan_path(roi.name, digest([self._sources, roi_key(roi)])[:16])

    def get(self, roi: Roi) -> RoiPlan | None:
        """Return the plan made for a ROI by an earlier start, if any."""
        locked = self._locked.get(roi.name)
        if locked is not None and roi_key(locked.roi) == roi_key(roi):
            return locked
        if self.path(roi) not in self._present:
            return None
        try:
            return self.made(roi)
        except (RecipeError, ValueError, LookupError, TypeError) as error:
            log.warning("%s: damaged (%s); %s is planned again", self._storage.where(self.path(roi)), error, roi.name)
            return None

    def made(self, roi: Roi) -> RoiPlan:
        """Return the plan that has just been made for a ROI."""
        path = self.path(roi)
        return roi_from_json(json.loads(self._storage.read(path)), roi=roi, file=self._storage.where(path))


def finished_units(units: Sequence[Unit], *, existing: Plan | None, storage: Storage) -> dict[Unit, UnitRecord]:
    """Return the units whose raster and patches are all there, with their records.

    Records are kept while a dataset is incomplete; in a whole one the index tells the same.
    """
    present = storage.files()
    indexed = _read_index(existing, present, storage)
    finished = {}
    for unit in units:
        paths = [path for _, path in unit.patch_paths(left_out=indexed.left_out)]
        if unit.raster_path not in present or any(path not in present for path in paths):
            continue
        record = _kept_record(unit, storage) if unit.record_path in present else indexed.record(unit)
        if record is not None:
            finished[unit] = record
    return finished


def _kept_record(unit: Unit, storage: Storage) -> UnitRecord | None:
    """Return the record of a unit that an earlier start left, None where it is damaged."""
    try:
        record = load_record(storage.read(unit.record_path))
    except DatasetError as error:
        log.warning("%s: %s; its patches are cut again", storage.where(unit.record_path), error)
        return None
    return record if len(record.patches) == len(unit.windows) else None


@dataclass(frozen=True, slots=True)
class _Indexed:
    """What a finished dataset tells of its units."""

    plans: Mapping[str, str] = field(default_factory=dict)
    """ROI -> digest of its plan."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Raster path -> SHA-256, with those of other files."""
    patches: Mapping[str, Mapping[str, PatchRecord]] = field(default_factory=dict)
    """Raster path -> name of a patch -> record."""
    left_out: LeftOut = field(default_factory=dict)

    def record(self, unit: Unit) -> UnitRecord | None:
        """Return the record of a unit, None where it was made from another plan or is not told of."""
        if self.plans.get(unit.roi.name) != digest(roi_to_json(RoiPlan(roi=unit.roi, choices=unit.choices))):
            return None
        held = self.patches.get(unit.raster_path, {})
        patches = [held.get(patch_id(unit.roi.name, window)) for window in unit.windows]
        sha256 = self.sha256.get(unit.raster_path)
        known = tuple(patch for patch in patches if patch is not None)
        return UnitRecord(sha256=sha256, patches=known) if sha256 and len(known) == len(patches) else None


def _read_index(existing: Plan | None, present: frozenset[str], storage: Storage) -> _Indexed:
    """Return what a finished index and its card tell, nothing if they were written by another version."""
    if existing is None or INDEX_FILE not in present or CARD_FILE not in present:
        return _Indexed()
    card, problems = read_card(storage)
    index, in_index = read_index(storage, card)
    for problem in (*problems, *in_index):
        log.warning("%s: %s; patches are cut again", storage.where(problem.path), problem.detail)
    if not (card.sure and index.sure) or card.software != software_version():
        return _Indexed()
    plans = {plan.roi.name: digest(roi_to_json(plan)) for plan in existing.rois}
    return _Indexed(plans, card.sha256, patch_records_of(index.rows, card.left_out), card.left_out)
