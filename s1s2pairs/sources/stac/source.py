"""The STAC source: finds items in a catalogue, reads their files on this machine."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from odc.geo.geobox import GeoBox

from ...acquisitions import (
    CompositeMethod,
    Incidence,
    Needed,
    OpticalAcquisition,
    OpticalScene,
    RoiGrids,
    SarAcquisition,
    SceneIds,
    Span,
)
from ...errors import MissingFile, SourceError
from ...sensors import Backscatter
from .. import OpticalComposite, SarMean
from ..compositing import LinearMean, check_countable, median_of_present
from ..grouping import SarPass, group_optical, outline_wkt, sar_acquisitions, sar_passes
from .api import ApiCatalogue
from .catalogue import Catalogue, readable
from .collection import SAR_COLLECTIONS, optical_collection, sar_collection
from .incidence import mean_incidence
from .items import Item
from .mosaics import clear_mosaic, fractions_over, sar_mosaic, scl_mosaic
from .raster import Raster, opened
from .reading import tiles
from .scenes import backscatter_raster, is_wanted_sar, optical_scene, reflectance_raster, sar_scene, scl_raster
from .static import StaticCatalogue

TILE_BYTES = 128 << 20
"""What the arrays of one tile may take. Grids are worked through in tiles, so that memory does not grow with the acquisitions."""
_SAR_BYTES = 24
"""Per pixel and polarisation: the sum (8), one mosaic (4), one file's window, masks and temporaries."""
_API_READERS = 8
"""Files of a remote catalogue read at once while measuring scenes: nearly all of that time is spent waiting."""

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_R = TypeVar("_R")


class StacSource:
    """Scenes of a static STAC catalogue or a STAC API; implements `Source`."""

    radar_name: str | None = None

    def __init__(self, name: str, *, allowed: Sequence[str] = ()) -> None:
        self._catalogue = open_catalogue(name, allowed=allowed)
        self.name = self._catalogue.name
        # What was measured is kept: the search for clear dates asks for the same months again, with more around them.
        self._optical: dict[tuple[bytes, SceneIds], OpticalAcquisition] = {}

    def backscatter(self) -> Backscatter:
        """Say which backscatter coefficient this source's SAR scenes hold.

        Raises:
            SourceError: The source has no usable SAR scenes, or cannot be read.
        """
        return SAR_COLLECTIONS[self._sar_collection]

    def find_sar(
        self, place: RoiGrids, spans: Sequence[Span], *, polarisations: tuple[str, ...]
    ) -> tuple[SarAcquisition, ...]:
        """List the IW acquisitions with all wanted polarisations that touch the ROI within any of the spans.

        Raises:
            SourceError: The source cannot be read, or an item in question lacks what is needed.
        """
        found = self._catalogue.search(self._sar_collection, place.polygon, spans)
        items = {item.id: item for item in found if is_wanted_sar(item, polarisations)}
        for item in items.values():
            for polarisation in polarisations:
                backscatter_raster(item, polarisation)  # raises now rather than when the plan is carried out
        scenes = [sar_scene(item) for item in items.values()]

        def measure(passes: Sequence[SarPass]) -> dict[str, Incidence]:
            wanted = list(dict.fromkeys(scene.id for group in passes for scene in group))
            angles = self._each(lambda id_: mean_incidence(items[id_], place, self._catalogue), wanted)
            return dict(zip(wanted, angles, strict=True))

        spanned = [sar_passes(s for s in scenes if span.start <= s.acquired_at < span.end) for span in spans]
        return sar_acquisitions(spanned, measure, roi=place.polygon)

    def find_optical(self, place: RoiGrids, spans: Sequence[Span]) -> tuple[OpticalAcquisition, ...]:
        """List the L2A acquisitions that touch the ROI within any of the spans, with their fractions over the ROI.

        Raises:
            SourceError: The source cannot be read, or an item in question lacks what is needed.
        """
        items = {item.id: item for item in self._catalogue.search(self._optical_collection, place.polygon, spans)}
        groups = group_optical(optical_scene(item) for item in items.values())
        found = self._each(lambda g: _unless_missing(lambda: self._optical_acquisition(g, items, place)), groups)
        return tuple(acquisition for acquisition in found if acquisition is not None)

    def unreadable(self, needed: Needed) -> frozenset[str]:
        """Name the scenes of which a file is not there, each with a warning; only headers are read.

        Raises:
            SourceError: A scene is gone from the catalogue, or a file cannot be read.
        """
        radar = self._items(self._sar_collection, needed.sar) if needed.sar else {}
        light = self._items(self._optical_collection, needed.optical) if needed.optical else {}
        rasters = [(item, backscatter_raster(item, p)) for item in radar.values() for p in needed.polarisations]
        rasters += [(item, raster) for item in light.values() for raster in _optical_rasters(item, needed.bands)]
        there = self._each(lambda pair: _unless_missing(lambda: self._is_there(pair[1])), rasters)
        return frozenset(item.id for (item, _), found in zip(rasters, there, strict=True) if not found)

    def versions(self, needed: Needed) -> dict[str, str]:
        """Return item -> a digest of what it says of its files and of when it was updated.

        Raises:
            SourceError: A scene is gone from the catalogue, or cannot be read.
        """
        radar = self._items(self._sar_collection, needed.sar) if needed.sar else {}
        light = self._items(self._optical_collection, needed.optical) if needed.optical else {}
        return {item.id: item.version for item in (*radar.values(), *light.values())}

    def mean_sar(self, acquisitions: Sequence[SceneIds], *, polarisations: tuple[str, ...], grid: GeoBox) -> SarMean:
        """Average acquisitions in linear power on `grid`, nearest neighbour, per pixel over valid values.

        Raises:
            SourceError: A scene is missing or cannot be read, or there are too many.
        """
        check_countable(acquisitions)
        items = self._items(self._sar_collection, acquisitions)
        scenes = [
            [[self._readable(backscatter_raster(items[i], p)) for p in polarisations] for i in ids]
            for ids in acquisitions
        ]
        linear = np.empty((len(polarisations), *grid.shape), np.float32)
        count = np.empty(grid.shape, np.uint8)
        above = below = 0
        for tile in tiles(grid, scenes[0][0][:1], most_pixels=TILE_BYTES // (_SAR_BYTES * len(polarisations))):
            part = grid[tile]
            mean = LinearMean(len(polarisations), (part.height, part.width))
            for acquisition in scenes:
                mosaic = sar_mosaic(acquisition, part)
                mean.add(mosaic)
                above += int(np.count_nonzero(mosaic > 0))
                below += int(np.count_nonzero(mosaic < 0))
            linear[:, *tile], count[tile] = mean.result()
        if below > above:
            raise SourceError(
                f"{scenes[0][0][0].label} and those averaged with it: {below / (below + above):.0%} of the values are below 0, "
                "which power cannot be; if they are dB, set the unit of `raster:bands` to `dB`"
            )
        return SarMean(linear=linear, count=count)

    def composite_optical(
        self, acquisitions: Sequence[SceneIds], *, bands: tuple[str, ...], method: CompositeMethod, grid: GeoBox
    ) -> OpticalComposite:
        """Composite acquisitions on `grid`, nearest neighbour: pixels that are SCL cloud or missing in any band left out.

        Raises:
            SourceError: A scene is missing or cannot be read, or there are too many.
        """
        if method == "least_cloudy" and len(acquisitions) != 1:
            raise ValueError(f"least_cloudy takes one acquisition, not {len(acquisitions)}")
        check_countable(acquisitions)
        items = self._items(self._optical_collection, acquisitions)
        scenes = [[[self._readable(r) for r in _optical_rasters(items[i], bands)] for i in ids] for ids in acquisitions]
        reflectance = np.empty((len(bands), *grid.shape), np.uint16)
        clear = np.empty(grid.shape, np.uint8)
        bytes_per_pixel = 2 * len(bands) * len(acquisitions) + 16
        for tile in tiles(grid, scenes[0][0], most_pixels=TILE_BYTES // bytes_per_pixel):
            part = grid[tile]
            values = np.zeros((len(acquisitions), len(bands), *part.shape), np.uint16)
            count = np.zeros(part.shape, np.uint8)
            for acquisition, out in zip(scenes, values, strict=True):
                count += clear_mosaic(acquisition, part, out)
            reflectance[:, *tile], clear[tile] = median_of_present(values, count), count
        return OpticalComposite(reflectance=reflectance, clear=clear)

    @cached_property
    def _sar_collection(self) -> str:
        return sar_collection(self._catalogue)

    @cached_property
    def _optical_collection(self) -> str:
        return optical_collection(self._catalogue)

    def _items(self, collection: str, acquisitions: Sequence[SceneIds]) -> dict[str, Item]:
        ids = [id_ for scene_ids in acquisitions for id_ in scene_ids]
        items = self._catalogue.items(collection, ids)
        missing = [id_ for id_ in ids if id_ not in items]
        if missing:
            raise SourceError(
                f"{self.name}: collection {collection} has no item {missing[0]}"
                + (f" (nor {len(missing) - 1} others of the plan)" if len(missing) > 1 else "")
                + "; the plan was made from another source or the catalogue has changed: plan again"
            )
        return items

    def _readable(self, raster: Raster) -> Raster:
        return readable(raster, self._catalogue)

    def _is_there(self, raster: Raster) -> bool:
        with opened(self._readable(raster)):
            return True

    def _optical_acquisition(
        self, scenes: Sequence[OpticalScene], items: dict[str, Item], place: RoiGrids
    ) -> OpticalAcquisition:
        key = (_place_key(place), tuple(scene.id for scene in scenes))
        if key not in self._optical:
            first = min(scenes, key=lambda scene: (scene.acquired_at, scene.id))
            rasters = [self._readable(scl_raster(items[scene.id])) for scene in scenes]
            coverage, cloud, snow = fractions_over(scl_mosaic(rasters, place.analysis_grid), place)
            self._optical[key] = OpticalAcquisition(
                scene_ids=key[1],
                acquired_at=first.acquired_at,
                platform=first.platform,
                coverage_fraction=coverage,
                cloud_fraction=cloud,
                snow_fraction=snow,
                footprint_wkt=outline_wkt(scene.footprint for scene in scenes),
            )
        return self._optical[key]

    def _each(self, measure: Callable[[_T], _R], things: Sequence[_T]) -> list[_R]:
        if not self._catalogue.is_remote or len(things) < 2:
            return [measure(thing) for thing in things]
        with ThreadPoolExecutor(_API_READERS) as pool:
            return list(pool.map(measure, things))


def _optical_rasters(item: Item, bands: tuple[str, ...]) -> list[Raster]:
    """Return the rasters of the bands, then of the scene classes."""
    return [*(reflectance_raster(item, band) for band in bands), scl_raster(item)]


def _unless_missing(measure: Callable[[], _R]) -> _R | None:
    """Measure something; None, with a warning, where a file that it takes is not there."""
    try:
        return measure()
    except MissingFile as error:
        log.warning("%s; left out", error)
        return None


def open_catalogue(name: str, *, allowed: Sequence[str] = ()) -> Catalogue:
    """Open `stac:URL`, or the catalogue at a path.

    Args:
        name: The catalogue.
        allowed: Hosts, buckets and folders from which its files may be read, beside its own.

    Raises:
        SourceError: There is none, or it cannot be read.
    """
    if name.startswith(("http://", "https://")):
        raise SourceError(f"{name}: a STAC API is named with `stac:` before its address: stac:{name}")
    if name.startswith("stac:"):
        return ApiCatalogue(name.removeprefix("stac:"), allowed=allowed)
    return StaticCatalogue(Path(name), allowed=allowed)


def _place_key(place: RoiGrids) -> bytes:
    return place.polygon.wkb + repr(place.analysis_grid).encode()
