"""Optical images from one source and radar images from another: few public services hold both."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from odc.geo.geobox import GeoBox

from ..acquisitions import CompositeMethod, Needed, OpticalAcquisition, RoiGrids, SarAcquisition, SceneIds, Span
from ..sensors import Backscatter
from . import OpticalComposite, SarMean, Source


class PairedSource:
    """Two sources as one; implements `Source`."""

    def __init__(self, optical: Source, radar: Source) -> None:
        self.name = optical.name
        self.radar_name: str | None = radar.name
        self._optical, self._radar = optical, radar

    def backscatter(self) -> Backscatter:
        """Say which backscatter coefficient the radar source holds."""
        return self._radar.backscatter()

    def find_sar(
        self, place: RoiGrids, spans: Sequence[Span], *, polarisations: tuple[str, ...]
    ) -> tuple[SarAcquisition, ...]:
        """Ask the radar source."""
        return self._radar.find_sar(place, spans, polarisations=polarisations)

    def find_optical(self, place: RoiGrids, spans: Sequence[Span]) -> tuple[OpticalAcquisition, ...]:
        """Ask the optical source."""
        return self._optical.find_optical(place, spans)

    def unreadable(self, needed: Needed) -> frozenset[str]:
        """Ask each source about its own."""
        optical, radar = replace(needed, sar=()), replace(needed, optical=())
        return self._optical.unreadable(optical) | self._radar.unreadable(radar)

    def versions(self, needed: Needed) -> Mapping[str, str]:
        """Ask each source about its own."""
        optical, radar = replace(needed, sar=()), replace(needed, optical=())
        return {**self._optical.versions(optical), **self._radar.versions(radar)}

    def mean_sar(self, acquisitions: Sequence[SceneIds], *, polarisations: tuple[str, ...], grid: GeoBox) -> SarMean:
        """Ask the radar source."""
        return self._radar.mean_sar(acquisitions, polarisations=polarisations, grid=grid)

    def composite_optical(
        self, acquisitions: Sequence[SceneIds], *, bands: tuple[str, ...], method: CompositeMethod, grid: GeoBox
    ) -> OpticalComposite:
        """Ask the optical source."""
        return self._optical.composite_optical(acquisitions, bands=bands, method=method, grid=grid)
