"""Does a STAC catalogue hold what a build reads? One item of each sensor is looked at, and one small window of it read."""

import datetime as dt
import time
from collections.abc import Callable, Sequence
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
from .collection import OPTICAL_COLLECTIONS, SAR_COLLECTIONS, optical_collection, sar_collection
from .incidence import mean_incidence
from .items import Item
from .raster import Raster
from .reading import read_float, read_raw
from .scenes import backscatter_raster, holds, is_wanted_sar, optical_scene, reflectance_raster, sar_scene, scl_raster
from .source import open_catalogue

_LOOKED_AT: Final = 20
"""Items among which one is looked for that a build would take."""
_HALF_DEG: Final = 0.003
_SIDE_PX: Final = 64
_MINUTE: Final = dt.timedelta(minutes=1)
Outcome = tuple[bool, str]


class _NotTestable(Exception):
    """What is to be looked at is not there; says why."""


def check_stac(name: str, *, allowed: Sequence[str] = ()) -> CheckReport:
    """Look at a catalogue.

    Args:
        name: `stac:URL`, or the path of a catalogue on disk.
        allowed: Hosts, buckets and folders from which its files may be read, beside its own.

    Raises:
        SourceError: There is no catalogue, or it cannot be reached.
    """
    start = time.monotonic()
    trial = _Trial(name, allowed)
    findings = tuple(_try(*one, trial) for one in _TRIALS)
    return CheckReport(source=trial.catalogue.name, findings=findings, requests=None, seconds=time.monotonic() - start)


def _try(name: str, says: str, breaks: str, ask: Callable[["_Trial"], Outcome], trial: "_Trial") -> Finding:
    state: State
    try:
        holds, detail = ask(trial)
        state = "holds" if holds else "does not hold"
    except (NotAuthenticated, SourceUnreachable):
        raise
    except _NotTestable as error:
        state, detail = "not testable", str(error)
    except S1S2Error as error:
        state, detail = "does not hold", str(error)
    return Finding(name=name, says=says, state=state, detail=detail, breaks=breaks)


class _Trial:
    """A catalogue, and one item of each sensor."""

    def __init__(self, name: str, allowed: Sequence[str]) -> None:
        self.catalogue = open_catalogue(name, allowed=allowed)

    @cached_property
    def optical(self) -> Item:
        """The first optical item."""
        if not any(self.catalogue.has_collection(name) for name in OPTICAL_COLLECTIONS):
            raise _NotTestable("there is no optical collection")
        items = self.catalogue.some(optical_collection(self.catalogue), 1)
        if not items:
            raise _NotTestable("the optical collection gives no item")
        return items[0]

    @cached_property
    def radar(self) -> Item:
        """The first radar item that a build would take: IW, with both of the usual polarisations if there is one."""
        try:
            collection = sar_collection(self.catalogue)
        except S1S2Error as error:
            raise _NotTestable("there is no usable radar collection") from error
        items = self.catalogue.some(collection, _LOOKED_AT)
        for polarisations in (DEFAULT_S1_POLARISATIONS, ()):
            wanted = [item for item in items if is_wanted_sar(item, polarisations)]
            if wanted:
                return wanted[0]
        raise _NotTestable(f"none of the first {len(items)} radar items is IW")

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


def _optical_collection(trial: _Trial) -> Outcome:
    return True, optical_collection(trial.catalogue)


def _radar_collection(trial: _Trial) -> Outcome:
    name = sar_collection(trial.catalogue)
    return True, f"{name}, {SAR_COLLECTIONS[name]}"


def _optical_item(trial: _Trial) -> Outcome:
    scene = optical_scene(trial.optical)
    told = f"{scene.id}: {scene.acquired_at:%Y-%m-%d %H:%M}, {scene.platform}, tile {scene.tile or 'unknown'}"
    return scene.platform.startswith("sentinel-2"), f"{told}, datatake {scene.datatake_id or 'unknown'}"


def _radar_item(trial: _Trial) -> Outcome:
    scene = sar_scene(trial.radar)
    told = f"{scene.id}: {scene.acquired_at:%Y-%m-%d %H:%M:%S}, {scene.platform}"
    return scene.platform.startswith("sentinel-1"), f"{told}, orbit {scene.relative_orbit} {scene.orbit_pass}"


def _optical_assets(trial: _Trial) -> Outcome:
    rasters = [reflectance_raster(trial.optical, band) for band in DEFAULT_S2_BANDS] + [scl_raster(trial.optical)]
    first = rasters[0]
    return (
        True,
        f"{len(rasters)} assets; reflectance = value x {first.scale:g} {first.offset:+g}, nodata {first.nodata}",
    )


def _radar_assets(trial: _Trial) -> Outcome:
    rasters = [backscatter_raster(trial.radar, name) for name in trial.polarisations]
    if not rasters:
        return False, f"{trial.radar.id} has no asset for any of {', '.join(S1_POLARISATIONS)}"
    unit = "dB" if rasters[0].decibel else "linear power"
    return True, f"{' '.join(trial.polarisations)} in {unit}, nodata {rasters[0].nodata}"


def _optical_search(trial: _Trial) -> Outcome:
    return _found_again(trial, trial.optical)


def _radar_search(trial: _Trial) -> Outcome:
    return _found_again(trial, trial.radar)


def _found_again(trial: _Trial, item: Item) -> Outcome:
    span = Span(start=item.acquired_at - _MINUTE, end=item.acquired_at + _MINUTE)
    found = [one.id for one in trial.catalogue.search(item.collection, trial.place(item).polygon, [span])]
    return item.id in found, f"{len(found)} items at its place within a minute of its time"


def _optical_pixels(trial: _Trial) -> Outcome:
    grid = trial.place(trial.optical).grid
    red = reflectance_raster(trial.optical, "B4")
    values = read_raw(trial.signed(red), grid, fill=0)
    classes = read_raw(trial.signed(scl_raster(trial.optical)), grid, fill=SCL_NO_DATA)
    valid = (classes != SCL_NO_DATA) & (values != red.nodata)
    if not valid.any():
        raise _NotTestable("the window holds no valid pixel")
    median = float(np.median(values[valid])) * red.scale + red.offset
    detail = (
        f"{int(valid.sum())} valid pixels, median reflectance of B4 {median:.3f}, classes {_listed(classes[valid])}"
    )
    return -0.05 < median < 1.5 and classes.max() <= 11, detail


def _radar_pixels(trial: _Trial) -> Outcome:
    name = next(iter(trial.polarisations), "VV")
    values = read_float(trial.signed(backscatter_raster(trial.radar, name)), trial.place(trial.radar).grid)
    values = values[np.isfinite(values)]
    if not values.size:
        raise _NotTestable("the window holds no pixel with a value")
    median = float(np.median(values))
    return 1e-5 < median < 10, f"{values.size} pixels, median {name} {median:.4g} in linear power"


def _incidence(trial: _Trial) -> Outcome:
    place, scene = trial.place(trial.radar), sar_scene(trial.radar)
    found = mean_incidence(trial.radar, place, trial.catalogue)
    where = incidence_points(place.polygon, place.analysis_grid)
    modelled = float(incidence_deg(scene.relative_orbit, scene.orbit_pass, *where).mean())
    gap = found.mean_deg - modelled
    return abs(gap) < 2.0, f"{found.mean_deg:.2f} degrees ({found.source}), {gap:+.2f} from the orbit model"


def _listed(classes: NDArray[np.uint8]) -> str:
    return " ".join(str(one) for one in np.unique(classes))


_TRIALS: Final = (
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
"""Name, what is assumed, what would go wrong, how to try it."""
