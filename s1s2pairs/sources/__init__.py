"""The seam to where scenes come from: what there is, and its pixels; nothing about choosing.

A third source would be one new folder with a class that follows `Source`. Both sources give the same answers on the same
scenes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ..acquisitions import CompositeMethod, Needed, OpticalAcquisition, RoiGrids, SarAcquisition, SceneIds, Span
from ..sensors import Backscatter


@dataclass(frozen=True, kw_only=True, slots=True)
class SarMean:
    """Temporal mean of SAR acquisitions."""

    linear: NDArray[np.float32]
    """(polarisation, y, x) float32, backscatter in linear power, NaN where no acquisition has a value."""
    count: NDArray[np.uint8]
    """(y, x) uint8, how many acquisitions were averaged: those in which all polarisations are finite and > 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpticalComposite:
    """Composite of optical acquisitions with cloudy pixels left out."""

    reflectance: NDArray[np.uint16]
    """(band, y, x) uint16, surface reflectance x 10000, 0 where there is no clear value; a clear value is at least 1."""
    clear: NDArray[np.uint8]
    """(y, x) uint8, how many clear acquisitions the pixel was made from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What fetching the pixels of a plan takes, estimated from the plan alone."""

    requests: int
    """Downloads (Earth Engine), or rasters read in part (STAC)."""
    bytes: int
    """Uncompressed."""
    eecu_seconds: float | None = None
    """Earth Engine compute, rough; None for other sources."""

    @classmethod
    def total(cls, costs: Sequence[Self]) -> Self:
        """Add costs up."""
        computed = [cost.eecu_seconds for cost in costs if cost.eecu_seconds is not None]
        return cls(
            requests=sum(cost.requests for cost in costs),
            bytes=sum(cost.bytes for cost in costs),
            eecu_seconds=sum(computed) if computed else None,
        )


class Source(Protocol):
    """Where scenes come from. Methods may be called from several threads at once."""

    name: str
    """Goes into the plan: `earthengine`, `stac:<URL>`, or `catalogue:<id>` for a catalogue on disk."""
    radar_name: str | None
    """The same of where radar images are from; None where that is the same source."""

    def backscatter(self) -> Backscatter:
        """Say which backscatter coefficient this source's SAR scenes hold.

        Raises:
            SourceError: The source has no SAR scenes, or cannot be read.
        """

    def find_sar(
        self, place: RoiGrids, spans: Sequence[Span], *, polarisations: tuple[str, ...]
    ) -> tuple[SarAcquisition, ...]:
        """List the IW GRD acquisitions with all wanted polarisations that touch the ROI within any of the spans.

        Their incidence angle is measured once per span and orbit (`grouping.sar_acquisitions`).

        Raises:
            SourceError: The source cannot be read.
        """

    def find_optical(self, place: RoiGrids, spans: Sequence[Span]) -> tuple[OpticalAcquisition, ...]:
        """List the L2A acquisitions that touch the ROI within any of the spans, with their fractions over the ROI.

        One whose scene classes are not there is left out, and a warning names the file.

        Raises:
            SourceError: The source cannot be read.
        """

    def unreadable(self, needed: Needed) -> frozenset[str]:
        """Name the scenes of which a file is not there; at most headers are read.

        Raises:
            SourceError: The source cannot be read.
        """

    def versions(self, needed: Needed) -> Mapping[str, str]:
        """Return scene -> a short text that changes when the scene does; empty where a source cannot tell.

        Raises:
            SourceError: A scene is gone, or the source cannot be read.
        """

    def mean_sar(self, acquisitions: Sequence[SceneIds], *, polarisations: tuple[str, ...], grid: GeoBox) -> SarMean:
        """Average acquisitions in linear power on `grid`, nearest neighbour, per pixel over valid values.

        Raises:
            SourceError: A scene is missing or cannot be read, or there are too many (`compositing.MOST_ACQUISITIONS`).
        """

    def composite_optical(
        self, acquisitions: Sequence[SceneIds], *, bands: tuple[str, ...], method: CompositeMethod, grid: GeoBox
    ) -> OpticalComposite:
        """Composite acquisitions on `grid`, nearest neighbour: pixels that are SCL cloud or missing in any band left out.

        `median` is the per-band median over the clear acquisitions, half-way values rounded up; `least_cloudy` takes
        the one acquisition given.

        Raises:
            SourceError: A scene is missing or cannot be read, or there are too many (`compositing.MOST_ACQUISITIONS`).
        """
