"""What a dataset holds: everything that its card, its index and files like them tell of."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..plan.choices import Plan
from .index import dataset_rows
from .left_out import LeftOut
from .units import Unit, UnitRecord


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a dataset holds."""

    plan: Plan
    """The plan that was carried out."""
    lock: bytes
    """Content of its lock file."""
    records: Mapping[Unit, UnitRecord]
    """Of every raster that is there, in the plan's order; of failed ROIs too, where some are kept."""
    failures: Mapping[str, str]
    """ROI -> why it is not in the dataset, in the plan's order."""
    left_out: LeftOut
    """The patches that are not in the dataset for want of valid pixels."""

    @cached_property
    def whole(self) -> dict[Unit, UnitRecord]:
        """The records of the ROIs that are in the dataset."""
        return {unit: record for unit, record in self.records.items() if unit.roi.name not in self.failures}

    @cached_property
    def rows(self) -> tuple[dict[str, Any], ...]:
        """The rows of the index; without any there is no dataset."""
        return tuple(dataset_rows(self.whole, self.left_out))
