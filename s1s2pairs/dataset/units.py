"""The unit of work: one raster (a ROI, a period, a sensor) with its patches; what it is made from and where it lies."""

import hashlib
import json
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from numpy.typing import NDArray

from ..errors import DatasetError
from ..plan.choices import Choices, PeriodPlan, Plan
from ..plan.lock import digest
from ..recipe.settings import Roi
from ..sensors import SENSORS, Layout, Sensor, s1_layout, s2_layout, valid_pixels
from .layout import patch_path, raster_path, record_path
from .patches import Window, grid_windows, patch_id

FORMAT: Final = 1
"""Raised whenever the same plan would give other pixels, so that rasters of an earlier version are not taken over."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Unit:
    """One raster to be made, and the patches cut from it. Compared by identity."""

    source: str
    """`Source.name`."""
    roi: Roi
    choices: Choices
    period: PeriodPlan
    sensor: Sensor

    @property
    def raster_path(self) -> str:
        """Where the raster lies in the dataset."""
        return raster_path(self.roi.name, self.period.label, self.sensor)

    @property
    def layout(self) -> Layout:
        """The bands of the raster."""
        if self.sensor == "s1":
            return s1_layout(self.roi.settings.s1_polarisations, self.choices.backscatter)
        return s2_layout(self.roi.settings.s2_bands)

    @property
    def scenes(self) -> tuple[tuple[str, ...], ...]:
        """Scene ids of each acquisition used."""
        used = self.period.sar if self.sensor == "s1" else self.period.optical
        return tuple(acquisition.scene_ids for acquisition in used)

    @cached_property
    def digest(self) -> str:
        """Stands for everything the raster's pixels depend on."""
        settings = self.roi.settings
        made_how: dict[str, Any] = (
            {"polarisations": settings.s1_polarisations, "speckle": settings.s1_speckle, "of": self.choices.backscatter}
            if self.sensor == "s1"
            else {"bands": settings.s2_bands, "composite": self.period.composite}
        )
        grid = self.choices.grid
        where = [str(grid.crs), *(float(v) for v in grid.transform[:6]), *grid.shape]
        return digest(
            {
                "format": FORMAT,
                "source": self.source,
                "sensor": self.sensor,
                "grid": where,
                "scenes": self.scenes,
                **made_how,
            }
        )

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """The windows of the ROI's patches."""
        return grid_windows(self.choices.grid, self.roi.settings.patch)

    def patch_paths(self, *, left_out: Container[str] = ()) -> Iterator[tuple[Window, str]]:
        """Yield each window with where its patch lies, but for patches that are left out."""
        for window in self.windows:
            name = patch_id(self.roi.name, window)
            if name not in left_out:
                yield (
                    window,
                    patch_path(
                        split=self.roi.split,
                        roi=self.roi.name,
                        patch=name,
                        period=self.period.label,
                        sensor=self.sensor,
                    ),
                )

    @cached_property
    def record_path(self) -> str:
        """Where an unfinished build keeps the record that this unit is done."""
        patches = [path for _, path in self.patch_paths()]
        key = digest([self.digest, patches])[:16]
        return record_path(self.roi.name, self.period.label, self.sensor, key)


def units_of(plan: Plan) -> tuple[Unit, ...]:
    """Return all rasters of a plan, by ROI, period and sensor."""
    return tuple(
        Unit(
            source=(plan.radar_source or plan.source) if sensor == "s1" else plan.source,
            roi=roi.roi,
            choices=roi.choices,
            period=period,
            sensor=sensor,
        )
        for roi in plan.rois
        if roi.choices is not None
        for period in roi.choices.periods
        for sensor in SENSORS
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchRecord:
    """What the index says of one patch file."""

    sha256: str
    valid_fraction: float


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitRecord:
    """A finished unit."""

    fetched: bool = False
    """Whether the start that finished it fetched the raster, or found it there."""
    sha256: str
    """Of the raster file."""
    patches: tuple[PatchRecord, ...]
    """In the order of `Unit.windows`."""


def patch_record(pixels: NDArray[Any], content: bytes, unit: Unit) -> PatchRecord:
    """Return what the index says of a patch with these pixels in a file with this content."""
    valid = valid_pixels(pixels, unit.sensor)
    return PatchRecord(sha256=hashlib.sha256(content).hexdigest(), valid_fraction=int(valid.sum()) / valid.size)


def dump_record(record: UnitRecord) -> bytes:
    """Return the text of the record of a finished unit."""
    patches = [[patch.sha256, patch.valid_fraction] for patch in record.patches]
    return json.dumps({"fetched": record.fetched, "sha256": record.sha256, "patches": patches}).encode()


def load_record(content: bytes) -> UnitRecord:
    """Read back what `dump_record` wrote.

    Raises:
        DatasetError: It is damaged.
    """
    try:
        value = json.loads(content)
        patches = (PatchRecord(sha256=sha256, valid_fraction=fraction) for sha256, fraction in value["patches"])
        return UnitRecord(fetched=value["fetched"], sha256=value["sha256"], patches=tuple(patches))
    except (ValueError, LookupError, TypeError) as error:
        raise DatasetError(f"the record of a finished raster is damaged ({error!r})") from error
