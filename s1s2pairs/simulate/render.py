"""Rendering and writing the overflights of one site in one calendar year."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from .. import grid
from ..recipe.settings import Roi
from . import archive, truth
from .ground import make_ground
from .landcover import LandCover, land_cover
from .noise import Floats
from .scenes import OpticalOverflight, OpticalScene, SarScene, optical_scenes
from .sentinel1 import backscatter, make_look, measured, structure
from .sentinel2 import BANDS_10M, OpticalImage, observe, reprocessed
from .site import HALO_PX, Bounds, Site

_ANGLE_STEPS = 1024.0
"""Angles are stored in steps of 1/1024 degree, far below their accuracy, so that they compress."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteYear:
    """The overflights of one site in one calendar year: one unit of work."""

    site: Site
    year: int
    seed: int
    looks: float
    out: Path
    optical: tuple[OpticalOverflight, ...]
    sar: tuple[SarScene, ...]

    @property
    def size(self) -> int:
        """Return how many scenes there are to write, about."""
        return len(self.optical) + len(self.sar)


@dataclass(kw_only=True, slots=True)
class Written:
    """What has been written."""

    items: list[archive.WrittenItem] = field(default_factory=list)
    records: dict[str, truth.Records] = field(default_factory=lambda: defaultdict(truth.Records))
    """ROI name -> what the archive holds of it."""


def render(work: SiteYear) -> Written:
    """Render and write all overflights of a site in a year."""
    land = land_cover(make_ground(work.site.frame(work.seed)), work.year)
    rois = {roi.name: roi_pixels(work.site, roi) for roi in work.site.rois}
    written = Written()
    for overflight in work.optical:
        _write_optical(written, land, work, rois, overflight)
    by_orbit: dict[tuple[int, str], list[SarScene]] = defaultdict(list)
    for scene in work.sar:
        by_orbit[(scene.orbit.view.relative_orbit, scene.orbit.view.orbit_pass)].append(scene)
    for scenes in by_orbit.values():
        _write_orbit(written, land, work, rois, scenes)
    return written


def roi_pixels(site: Site, roi: Roi) -> NDArray[np.bool_]:
    """Tell which coarse pixels of the site have their centre in the ROI, (y, x); of a ROI without any, those it touches."""
    left, bottom, right, top = site.bounds
    coarse = 2 * site.pixel_m
    shape = round((top - bottom) / coarse), round((right - left) / coarse)
    return grid.inside(roi.polygon, GeoBox(shape, Affine(coarse, 0.0, left, 0.0, -coarse, top), f"EPSG:{site.epsg}"))


def without_halo(fineness: int) -> tuple[slice, slice]:
    """Return the part of a rendered array without its halo; `fineness` 2 for fine pixels, 1 for coarse ones."""
    halo = HALO_PX * fineness // 2
    return slice(halo, -halo), slice(halo, -halo)


def _write_optical(
    written: Written,
    land: LandCover,
    work: SiteYear,
    rois: dict[str, NDArray[np.bool_]],
    overflight: OpticalOverflight,
) -> None:
    site, above = work.site, overflight.sky
    image = observe(land, site.centre[1], overflight.datatake.acquired_at, above)
    sun = (above.sun_azimuth_deg, above.sun_elevation_deg)
    newest: dict[str, str] = {}
    together = np.zeros_like(image.scl)
    scenes = list(optical_scenes(site, overflight, work.seed))
    for scene in scenes:
        bands, scl = _cut_optical(image, site, scene)
        item = archive.write_optical_item(work.out, scene, bands, scl, sun)
        written.items.append(item)
        newest[scene.tile] = item.id
        window = _window(site, scene.outline.bounds, 2 * site.pixel_m)
        together[window] = np.maximum(together[window], scl)
    first = min(scene.sensed for scene in scenes)
    for name, inside in rois.items():
        record = truth.optical_record(first, tuple(newest.values()), together[without_halo(1)], inside)
        written.records[name].optical.append(record)


def _cut_optical(image: OpticalImage, site: Site, scene: OpticalScene) -> tuple[dict[str, Floats], NDArray[np.uint8]]:
    bands: dict[str, Floats] = {}
    for name, values in {**image.reflectance_10m, **image.reflectance_20m}.items():
        pixel = site.pixel_m * (1 if name in BANDS_10M else 2)
        cut = values[_window(site, scene.outline.bounds, pixel)]
        cut = reprocessed(cut) if scene.processing.is_newer else cut
        bands[name] = np.where(scene.outline.inside(pixel), cut, np.float32(np.nan))
    coarse = 2 * site.pixel_m
    scl = np.where(scene.outline.inside(coarse), image.scl[_window(site, scene.outline.bounds, coarse)], 0)
    return bands, scl.astype(np.uint8)


def _write_orbit(
    written: Written,
    land: LandCover,
    work: SiteYear,
    rois: dict[str, NDArray[np.bool_]],
    scenes: Sequence[SarScene],
) -> None:
    """Write all scenes of one orbit: what stands on the ground is imaged once, what grows and moves on every date."""
    site, orbit, frame = work.site, scenes[0].orbit, land.ground.frame
    look = make_look(orbit.incidence.at(frame.x[None, :], frame.y[:, None]), orbit.view.look_azimuth_deg)
    seen = structure(land, look)
    passes: dict[int, list[SarScene]] = defaultdict(list)
    for scene in scenes:
        passes[scene.overflight.absolute_orbit].append(scene)
    for absolute_orbit, slices in passes.items():
        sigma0 = backscatter(land, seen, site.centre[1], slices[0].overflight.acquired_at.date())
        power = measured(sigma0, frame, look, absolute_orbit, looks=work.looks)
        items = [_write_slice(work, scene, power) for scene in slices]
        written.items += items
        for roi in site.rois:
            record = _sar_record(site, roi, rois[roi.name], slices, tuple(item.id for item in items))
            if record is not None:
                written.records[roi.name].sar.append(record)


def _write_slice(work: SiteYear, scene: SarScene, power: NDArray[np.float32]) -> archive.WrittenItem:
    site, cut = work.site, scene.outline
    pixel, coarse = site.pixel_m, 2 * site.pixel_m
    sigma0 = np.where(cut.inside(pixel), power[(slice(None), *_window(site, cut.bounds, pixel))], np.float32(np.nan))
    angle = np.rint(scene.orbit.incidence.at(*cut.centres(coarse)) * _ANGLE_STEPS) / _ANGLE_STEPS
    angle = np.where(cut.inside(coarse), angle, np.nan).astype(np.float32)
    return archive.write_sar_item(work.out, site, scene, sigma0, angle)


def _sar_record(
    site: Site, roi: Roi, inside: NDArray[np.bool_], slices: Sequence[SarScene], item_ids: tuple[str, ...]
) -> truth.SarRecord | None:
    polygon = grid.to_crs(roi.polygon, f"EPSG:{site.epsg}")
    touching = [scene for scene in slices if scene.outline.footprint.intersects(polygon)]
    if not touching:
        return None
    ground: BaseGeometry = touching[0].outline.footprint
    for scene in touching[1:]:
        ground = ground.union(scene.outline.footprint)
    rows, columns = np.nonzero(inside)
    coarse = 2 * site.pixel_m
    x, y = site.bounds[0] + (columns + 0.5) * coarse, site.bounds[3] - (rows + 0.5) * coarse
    seen = np.any([np.all([limit.holds(x, y) for limit in scene.outline.limits], axis=0) for scene in touching], axis=0)
    orbit = slices[0].orbit
    return truth.SarRecord(
        acquired_at=min(scene.start for scene in touching),
        item_ids=tuple(name for name, scene in zip(item_ids, slices, strict=True) if scene in touching),
        relative_orbit=orbit.view.relative_orbit,
        orbit_pass=orbit.view.orbit_pass,
        coverage=float(ground.intersection(polygon).area / polygon.area),
        incidence_deg=float(orbit.incidence.at(x[seen], y[seen]).mean()) if seen.any() else float("nan"),
    )


def _window(site: Site, bounds: Bounds, pixel_m: float) -> tuple[slice, slice]:
    """Return where bounds lie in an array rendered on the site's frame (which has a halo)."""
    halo = round(HALO_PX * site.pixel_m / pixel_m)
    row = halo + round((site.bounds[3] - bounds[3]) / pixel_m)
    column = halo + round((bounds[0] - site.bounds[0]) / pixel_m)
    height, width = round((bounds[3] - bounds[1]) / pixel_m), round((bounds[2] - bounds[0]) / pixel_m)
    return slice(row, row + height), slice(column, column + width)
