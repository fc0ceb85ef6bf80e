"""Does a STAC catalogue hold what a build reads? One item of each sensor is looked at, and one small window of it read."""

import datetime as dt
import time
from collections.abc import Callable
from functools import cached_property
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from ...acquisitions import RoiGrids, Span
from ...errors import NotAuthenticated, S1S2Error, SourceUnreachable
from ...grid import analysis_grid, incidence_points, roi_grid
from ...s1_orbits import incidence_deg
from ...sensors import DEFAULT_S1_POLARISATIONS, DEFAULT_S2_BANDS, S1_POLARISATIONS, SCL_NO_DATA
from ..findings import CheckReport, Finding, State
from .catalogue import readable
from .incidence import mean_incidence
from .items import Item
from .raster import Raster
from .reading import read_float, read_raw
from .scenes import backscatter_raster, holds, is_wanted_sar, optical_scene, reflectance_raster, sar_scene, scl_raster
from .source import OPTICAL_COLLECTIONS, SAR_COLLECTIONS, open_catalogue, optical_collection, sar_collection

_LOOKED_AT: Final = 20
"""Items among which one is looked for that a build would take."""
_HALF_DEG: Final = 0.003
_SIDE_PX: Final = 64
_MINUTE: Final = dt.timedelta(minutes=1)
Seen = tuple[bool, str]


class _Unseen(Exception):
    """What is to be looked at is not there; says why."""


def check_stac(name: str) -> CheckReport:
    """Look at a catalogue.

    Args:
        name: `stac:URL`, or the path of a catalogue on disk.

    Raises:
        SourceError: There is no catalogue, or it cannot be reached.
    """
    start = time.monotonic()
    look = _Look(name)
    findings = tuple(_try(*one, look) for one in _LOOKS)
    return CheckReport(source=look.catalogue.name, findings=findings, requests=None, seconds=time.monotonic() - start)


def _try(name: str, says: str, breaks: str, see: Callable[["_Look"], Seen], look: "_Look") -> Finding:
    state: State
    try:
        holds, detail = see(look)
        state = "holds" if holds else "does not hold"
    except (NotAuthenticated, SourceUnreachable):
        raise
    except _Unseen as error:
        state, detail = "not testable", str(error)
    except S1S2Error as error:
        state, detail = "does not hold", str(error)
    return Finding(name=name, says=says, state=state, detail=detail, breaks=breaks)


class _Look:
    """A catalogue, and one item of each sensor."""

    def __init__(self, name: str) -> None:
        self.catalogue = open_catalogue(name)

    @cached_property
    def optical(self) -> Item:
        """The first optical item."""
        if not any(self.catalogue.has_collection(name) for name in OPTICAL_COLLECTIONS):
            raise _Unseen("there is no optical collection")
        items = self.catalogue.some(optical_collection(self.catalogue), 1)
        if not items:
            raise _Unseen("the optical collection gives no item")
        return items[0]

    @cached_property
    def radar(self) -> Item:
        """The first radar item that a build would take: IW, with both of the usual polarisations if there is one."""
        try:
            collection = sar_collection(self.catalogue)
        except S1S2Error as error:
            raise _Unseen("there is no usable radar collection") from error
        items = self.catalogue.some(collection, _LOOKED_AT)
        for polarisations in (DEFAULT_S1_POLARISATIONS, ()):
            wanted = [item for item in items if is_wanted_sar(item, polarisations)]
            if wanted:
                return wanted[0]
        raise _Unseen(f"none of the first {len(items)} radar items is IW")

    @property
    def polarisations(self) -> list[str]:
        """Those of the radar item."""
        return [name for name in S1_POLARISATIONS if holds(self.radar, name)]

    def place(self, item: Item) -> RoiGrids:
        """Return a square of 64 x 64 pixels within an item's footprint."""
        point = item.footprint.representative_point()
        polygon = shapely.box(point.x - _HALF_DEG, point.y - _HALF_DEG, point.x + _HALF_DEG, point.y + _HALF_DEG)
        grid = roi_grid(polygon, pixel_size_m=10, min_pixels=_SIDE_PX)
        return RoiGrids(name="check", polygon=polygon, grid=grid, analysis_grid=analysis_grid(polygon, grid))

    def signed(self, raster: Raster) -> Raster:
        """Return a raster under the address by which it can be read."""
        return readable(raster, self.catalogue)


def _optical_collection(look: _Look) -> Seen:
    return True, optical_collection(look.catalogue)


def _radar_collection(look: _Look) -> Seen:
    name = sar_collection(look.catalogue)
    return True, f"{name}, {SAR_COLLECTIONS[name]}"


def _optical_item(look: _Look) -> Seen:
    scene = optical_scene(look.optical)
    told = f"{scene.id}: {scene.acquired_at:%Y-%m-%d %H:%M}, {scene.platform}, tile {scene.tile or 'unknown'}"
    return scene.platform.startswith("sentinel-2"), f"{told}, datatake {scene.datatake_id or 'unknown'}"


def _radar_item(look: _Look) -> Seen:
    scene = sar_scene(look.radar)
    told = f"{scene.id}: {scene.acquired_at:%Y-%m-%d %H:%M:%S}, {scene.platform}"
    return scene.platform.startswith("sentinel-1"), f"{told}, orbit {scene.relative_orbit} {scene.orbit_pass}"


def _optical_assets(look: _Look) -> Seen:
    rasters = [reflectance_raster(look.optical, band) for band in DEFAULT_S2_BANDS] + [scl_raster(look.optical)]
    first = rasters[0]
    return (
        True,
        f"{len(rasters)} assets; reflectance = value x {first.scale:g} {first.offset:+g}, nodata {first.nodata}",
    )


def _radar_assets(look: _Look) -> Seen:
    rasters = [backscatter_raster(look.radar, name) for name in look.polarisations]
    if not rasters:
        return False, f"{look.radar.id} has no asset for any of {', '.join(S1_POLARISATIONS)}"
    unit = "dB" if rasters[0].decibel else "linear power"
    return True, f"{' '.join(look.polarisations)} in {unit}, nodata {rasters[0].nodata}"


def _optical_search(look: _Look) -> Seen:
    return _found_again(look, look.optical)


def _radar_search(look: _Look) -> Seen:
    return _found_again(look, look.radar)


def _found_again(look: _Look, item: Item) -> Seen:
    span = Span(start=item.acquired_at - _MINUTE, end=item.acquired_at + _MINUTE)
    found = [one.id for one in look.catalogue.search(item.collection, look.place(item).polygon, [span])]
    return item.id in found, f"{len(found)} items at its place within a minute of its time"


def _optical_pixels(look: _Look) -> Seen:
    grid = look.place(look.optical).grid
    red = reflectance_raster(look.optical, "B4")
    values = read_raw(look.signed(red), grid, fill=0)
    classes = read_raw(look.signed(scl_raster(look.optical)), grid, fill=SCL_NO_DATA)
    valid = (classes != SCL_NO_DATA) & (values != red.nodata)
    if not valid.any():
        raise _Unseen("the window holds no valid pixel")
    median = float(np.median(values[valid])) * red.scale + red.offset
    detail = (
        f"{int(valid.sum())} valid pixels, median reflectance of B4 {median:.3f}, classes {_listed(classes[valid])}"
    )
    return -0.05 < median < 1.5 and classes.max() <= 11, detail


def _radar_pixels(look: _Look) -> Seen:
    name = next(iter(look.polarisations), "VV")
    values = read_float(look.signed(backscatter_raster(look.radar, name)), look.place(look.radar).grid)
    values = values[np.isfinite(values)]
    if not values.size:
        raise _Unseen("the window holds no pixel with a value")
    median = float(np.median(values))
    return 1e-5 < median < 10, f"{values.size} pixels, median {name} {median:.4g} in linear power"


def _incidence(look: _Look) -> Seen:
    place, scene = look.place(look.radar), sar_scene(look.radar)
    found = mean_incidence(look.radar, place, look.catalogue)
    where = incidence_points(place.polygon, place.analysis_grid)
    modelled = float(incidence_deg(scene.relative_orbit, scene.orbit_pass, *where).mean())
    gap = found.mean_deg - modelled
    return abs(gap) < 2.0, f"{found.mean_deg:.2f} degrees ({found.source}), {gap:+.2f} from the orbit model"


def _listed(classes: NDArray[np.uint8]) -> str:
    return " ".join(str(one) for one in np.unique(classes))


_LOOKS: Final = (
    ("optical-collection", "there are Sentinel-2 images", "every build", _optical_collection),
    ("optical-item", "an optical item says when and by whom it was taken", "the choice of dates", _optical_item),
    ("optical-assets", "it has all bands and the scene classes", "composites", _optical_assets),
    ("optical-search", "it is found again by place and time", "the search", _optical_search),
    ("optical-pixels", "its pixels are reflectance and scene classes", "composites", _optical_pixels),
    ("radar-collection", "there is backscatter on a map grid", "builds without --radar-source", _radar_collection),
    ("radar-item", "a radar item says time, orbit and pass", "the choice of the orbit", _radar_item),
    ("radar-assets", "its polarisations are calibrated", "radar images", _radar_assets),
    ("radar-search", "it is found again by place and time", "the search", _radar_search),
    ("radar-pixels", "its pixels are linear power or dB", "radar images", _radar_pixels),
    ("incidence", "its incidence angle fits its orbit", "the choice of the orbit", _incidence),
)
"""Name, what is assumed, what would go wrong, how to look."""
