"""What a simulation knows of its archive: every overflight of every ROI, from the exact masks."""

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class OpticalRecord:
    """One optical overflight of one ROI, from the exact masks."""

    acquired_at: dt.datetime
    item_ids: tuple[str, ...]
    """Of duplicate processings only the newer."""
    coverage: float
    cloud: float
    snow: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SarRecord:
    """One radar overflight of one ROI."""

    acquired_at: dt.datetime
    item_ids: tuple[str, ...]
    relative_orbit: int
    orbit_pass: str
    coverage: float
    incidence_deg: float
    """Mean over the part of the ROI that is covered."""


@dataclass(kw_only=True, slots=True)
class Records:
    """Everything an archive holds of one ROI."""

    optical: list[OpticalRecord] = field(default_factory=list)
    sar: list[SarRecord] = field(default_factory=list)


def optical_record(
    acquired_at: dt.datetime,
    item_ids: tuple[str, ...],
    scl: NDArray[np.uint8],
    roi: NDArray[np.bool_],
) -> OpticalRecord:
    """Count scene classes over a ROI; both arrays (y, x) on the same 20 m grid, class 0 where nothing was observed."""
    seen = scl[roi & (scl != 0)]
    return OpticalRecord(
        acquired_at=acquired_at,
        item_ids=item_ids,
        coverage=seen.size / int(roi.sum()),
        cloud=float(np.isin(seen, (3, 8, 9, 10)).mean()) if seen.size else 1.0,
        snow=float((seen == 11).mean()) if seen.size else 0.0,
    )


def optical_row(record: OpticalRecord) -> Json:
    """Return a record as JSON."""
    return {
        **_listed(record),
        "coverage_fraction": record.coverage,
        "cloud_fraction": record.cloud,
        "snow_fraction": record.snow,
    }


def sar_row(record: SarRecord) -> Json:
    """Return a record as JSON."""
    return {
        **_listed(record),
        "relative_orbit": record.relative_orbit,
        "orbit_pass": record.orbit_pass,
        "coverage_fraction": record.coverage,
        "incidence_deg": record.incidence_deg,
    }


def _listed(record: OpticalRecord | SarRecord) -> Json:
    acquired_at = record.acquired_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"acquired_at": acquired_at, "item_ids": sorted(record.item_ids)}
