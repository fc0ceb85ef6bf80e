"""Simulating a recipe's places into a STAC archive on disk, with the truth beside it."""

import datetime as dt
import hashlib
import json
import logging
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio.features
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from s1s2pairs.errors import SourceError
from s1s2pairs.grid import to_crs
from s1s2pairs.recipe import Recipe, Roi
from s1s2pairs.simulate import archive, truth
from s1s2pairs.simulate.ground import Ground, make_ground
from s1s2pairs.simulate.landcover import Cover, LandCover, changed, land_cover
from s1s2pairs.simulate.noise import Floats
from s1s2pairs.simulate.optical import BANDS_10M, OpticalImage, Sky, observe, reprocessed
from s1s2pairs.simulate.optical_orbit import Datatake
from s1s2pairs.simulate.sar import LOOKS, Look, Structure, backscatter, measured, structure
from s1s2pairs.simulate.scenes import (
    OpticalScene,
    SarOrbit,
    SarScene,
    optical_datatakes,
    optical_scenes,
    reprocessed_day,
    sar_orbits,
    sar_scenes,
)
from s1s2pairs.simulate.site import HALO_PX, Limit, Site, find_sites

logger = logging.getLogger(__name__)

FORMAT: Final = 1
"""Raised whenever the same recipe and seed would give other bytes than before."""
_ANGLE_STEPS: Final = 1024.0
"""Angles are stored in steps of 1/1024 degree, far below their accuracy, so that they compress."""
_OWN_NAMES: Final = ("sentinel-1-grd", "sentinel-2-l2a", "truth", "truth.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How much of the world is written."""

    optical_margin_months: int = 2
    """Optical scenes are written this long before and after each period, so that a cloudy window can move."""
    sar_margin_days: int = 90
    """Radar scenes are written this long before and after each period."""
    orbits_per_pass: int = 2
    """Of each pass, how many orbits that cover the place, the highest angle first. Orbits seen in part come on top."""
    pixel_m: float = 10.0
    """Pixel of the fine bands; the coarse ones have twice that. More than 10 m makes a quick world of the same geometry."""
    looks: float = LOOKS
    """Equivalent number of looks of the radar images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """The overflights of one site in one calendar year."""

    site: Site
    year: int
    optical: list[tuple[Datatake, Sky, tuple[Limit, ...], bool]]
    """Overflight, clouds, borders, and whether it is held in two processings."""
    sar: list[SarScene]


@dataclass(kw_only=True, slots=True)
class _Done:
    """What a job has written."""

    items: list[archive.WrittenItem] = field(default_factory=list)
    records: dict[str, truth.Records] = field(default_factory=lambda: defaultdict(truth.Records))


def simulate(
    recipe: Recipe,
    out: Path,
    *,
    seed: int = 0,
    options: Options | None = None,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a simulated archive for every ROI and period of a recipe.

    A finished archive of the same recipe, seed and options is left as it is. What an interrupted run left is removed first;
    `catalog.json` is written last, so a folder with one is whole.

    Args:
        recipe: the places and periods.
        out: folder of the archive; it must be missing, empty, or hold an earlier simulation.
        seed: names the world; another seed is another world.
        options: how much to write.
        workers: threads.
        progress: called with overflights done and their number.

    Returns:
        The path of `catalog.json`.

    Raises:
        SourceError: the folder holds something else, or another simulation.
    """
    options = options or Options()
    fingerprint = _fingerprint(recipe, seed, options)
    catalog = out / "catalog.json"
    if _is_finished(catalog, fingerprint):
        logger.info("%s already holds this simulation", out)
        return catalog
    _clear(out)
    sites = find_sites(recipe.rois, options.pixel_m)
    jobs = [job for site in sites for job in _jobs(site, seed, options)]
    done = _run(jobs, out, seed, options, workers, progress)
    for site in sites:
        _write_truth_rasters(out, site, seed)
    _write_truth(out, recipe, sites, done.records, seed)
    archive.write_catalog(
        out,
        f"A procedural world, not real data: recipe {recipe.name}, seed {seed}.",
        done.items,
        {"s1s2:simulation": fingerprint},
    )
    return catalog


def _run(
    jobs: Sequence[_Job],
    out: Path,
    seed: int,
    options: Options,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> _Done:
    total, finished, together = sum(len(job.optical) + len(job.sar) for job in jobs), 0, _Done()
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        waiting = {pool.submit(_carry_out, job, out, seed, options): job for job in jobs}
        for future in as_completed(waiting):
            part, job = future.result(), waiting[future]
            together.items += part.items
            for name, records in part.records.items():
                together.records[name].optical += records.optical
                together.records[name].sar += records.sar
            finished += len(job.optical) + len(job.sar)
            if progress is not None:
                progress(finished, total)
    return together


def _jobs(site: Site, seed: int, options: Options) -> list[_Job]:
    periods = sorted({period for roi in site.rois for period in roi.settings.periods}, key=lambda p: (p.start, p.end))
    margin = dt.timedelta(days=round(30.5 * options.optical_margin_months))
    optical = [
        found
        for start, end in _joined([(_midnight(p.start) - margin, _midnight(p.end) + margin) for p in periods])
        for found in optical_datatakes(site, start, end, seed)
    ]
    twice = {reprocessed_day(period, optical) for period in periods}
    margin = dt.timedelta(days=options.sar_margin_days)
    orbits = sar_orbits(site, seed, per_pass=options.orbits_per_pass)
    sar = [
        scene
        for start, end in _joined([(_midnight(p.start) - margin, _midnight(p.end) + margin) for p in periods])
        for orbit in orbits
        for scene in sar_scenes(site, orbit, start, end, seed)
    ]
    years = sorted({take.acquired_at.year for take, *_ in optical} | {scene.start.year for scene in sar})
    return [
        _Job(
            site=site,
            year=year,
            optical=[(*found, found[0].acquired_at in twice) for found in optical if found[0].acquired_at.year == year],
            sar=[scene for scene in sar if scene.overflight.acquired_at.year == year],
        )
        for year in years
    ]


def _carry_out(job: _Job, out: Path, seed: int, options: Options) -> _Done:
    land = land_cover(make_ground(job.site.frame(seed)), job.year)
    rois = {roi.name: _roi_pixels(job.site, roi) for roi in job.site.rois}
    done = _Done()
    for take, above, limits, twice in job.optical:
        _write_overflight(done, land, job.site, out, rois, take, above, limits, seed, twice=twice)
    by_orbit: dict[int, list[SarScene]] = defaultdict(list)
    for scene in job.sar:
        by_orbit[id(scene.orbit)].append(scene)
    for scenes in by_orbit.values():
        _write_orbit(done, land, job.site, out, rois, scenes, options)
    return done


def _write_overflight(
    done: _Done,
    land: LandCover,
    site: Site,
    out: Path,
    rois: dict[str, NDArray[np.bool_]],
    take: Datatake,
    above: Sky,
    limits: tuple[Limit, ...],
    seed: int,
    *,
    twice: bool,
) -> None:
    image = observe(land, site.centre[1], take.acquired_at, above)
    sun = (above.sun_azimuth_deg, above.sun_elevation_deg)
    newest: dict[str, str] = {}
    together = np.zeros_like(image.scl)
    scenes = list(optical_scenes(site, take, limits, seed, twice=twice))
    for scene in scenes:
        bands, scl = _cut_optical(image, site, scene)
        item = archive.write_optical_item(out, site, scene, bands, scl, sun)
        done.items.append(item)
        newest[scene.tile] = item.id
        rows, columns = _window(site, scene.outline.bounds, 2 * site.pixel_m)
        together[rows, columns] = np.maximum(together[rows, columns], scl)
    first = min(scene.sensed for scene in scenes)
    for name, inside in rois.items():
        record = truth.optical_record(first, tuple(newest.values()), together[_inner(1)], inside)
        done.records[name].optical.append(record)


def _cut_optical(image: OpticalImage, site: Site, scene: OpticalScene) -> tuple[dict[str, Floats], NDArray[np.uint8]]:
    bands = {}
    for name, values in {**image.reflectance_10m, **image.reflectance_20m}.items():
        pixel = site.pixel_m * (1 if name in BANDS_10M else 2)
        cut = values[_window(site, scene.outline.bounds, pixel)]
        cut = reprocessed(cut) if scene.processing.is_newer else cut
        bands[name] = np.where(scene.outline.inside(pixel), cut, np.nan)
    coarse = 2 * site.pixel_m
    scl = np.where(scene.outline.inside(coarse), image.scl[_window(site, scene.outline.bounds, coarse)], 0)
    return bands, scl.astype(np.uint8)


def _write_orbit(
    done: _Done,
    land: LandCover,
    site: Site,
    out: Path,
    rois: dict[str, NDArray[np.bool_]],
    scenes: Sequence[SarScene],
    options: Options,
) -> None:
    """Write all scenes of one orbit: what stands on the ground is imaged once, what grows and moves on every date."""
    orbit, frame = scenes[0].orbit, land.ground.frame
    angle = orbit.incidence.at(frame.x[None, :], frame.y[:, None])
    seen = structure(land, Look(incidence_deg=angle, azimuth_deg=orbit.view.look_azimuth_deg))
    passes: dict[int, list[SarScene]] = defaultdict(list)
    for scene in scenes:
        passes[scene.overflight.absolute_orbit].append(scene)
    for slices in passes.values():
        sigma0 = backscatter(land, seen, site.centre[1], slices[0].overflight.acquired_at.date())
        number = slices[0].overflight.absolute_orbit
        power = measured(sigma0, frame, angle, number, looks=options.looks)
        items = [_write_slice(site, out, orbit, scene, power) for scene in slices]
        done.items += items
        for roi in site.rois:
            record = _sar_record(site, roi, rois[roi.name], slices, tuple(item.id for item in items))
            if record is not None:
                done.records[roi.name].sar.append(record)


def _write_slice(
    site: Site, out: Path, orbit: SarOrbit, scene: SarScene, power: NDArray[np.float32]
) -> archive.WrittenItem:
    pixel, coarse = site.pixel_m, 2 * site.pixel_m
    window = _window(site, scene.outline.bounds, pixel)
    sigma0 = np.where(scene.outline.inside(pixel), power[(slice(None), *window)], np.float32(np.nan))
    left, bottom, right, top = scene.outline.bounds
    x = np.arange(left, right, coarse)[None, :] + coarse / 2
    y = np.arange(top, bottom, -coarse)[:, None] - coarse / 2
    angle = np.rint(orbit.incidence.at(x, y) * _ANGLE_STEPS) / _ANGLE_STEPS
    angle = np.where(scene.outline.inside(coarse), angle, np.nan).astype(np.float32)
    return archive.write_sar_item(out, site, scene, sigma0, angle)


def _sar_record(
    site: Site, roi: Roi, inside: NDArray[np.bool_], slices: Sequence[SarScene], item_ids: tuple[str, ...]
) -> truth.SarRecord | None:
    polygon = to_crs(roi.polygon, f"EPSG:{site.epsg}")
    ground: BaseGeometry = slices[0].outline.footprint
    for scene in slices[1:]:
        ground = ground.union(scene.outline.footprint)
    touching = [scene for scene in slices if scene.outline.footprint.intersects(polygon)]
    if not touching:
        return None
    left, _, _, top = site.bounds
    rows, columns = np.nonzero(inside)
    coarse = 2 * site.pixel_m
    x, y = left + (columns + 0.5) * coarse, top - (rows + 0.5) * coarse
    seen = np.any([np.all([limit.holds(x, y) for limit in scene.outline.limits], axis=0) for scene in touching], axis=0)
    over = slices[0].overflight
    return truth.SarRecord(
        acquired_at=min(scene.start for scene in touching),
        item_ids=tuple(name for name, scene in zip(item_ids, slices, strict=True) if scene in touching),
        relative_orbit=over.relative_orbit,
        orbit_pass=slices[0].orbit.view.orbit_pass,
        coverage=float(ground.intersection(polygon).area / polygon.area),
        incidence_deg=float(slices[0].orbit.incidence.at(x[seen], y[seen]).mean()) if seen.any() else float("nan"),
    )


def _write_truth_rasters(out: Path, site: Site, seed: int) -> None:
    """Write land cover of every year and changes between years, on the site's pixels."""
    ground = make_ground(site.frame(seed))
    folder = out / "truth" / site.name
    folder.mkdir(parents=True, exist_ok=True)
    lands = {year: land_cover(ground, year) for year in _years(site)}
    transform = rasterio.Affine(site.pixel_m, 0.0, site.bounds[0], 0.0, -site.pixel_m, site.bounds[3])
    legend = {str(int(cover)): cover.name.lower() for cover in Cover}
    for year, land in lands.items():
        archive.write_cog(folder / f"{year}_cover.tif", land.cover[_inner(2)], site.epsg, transform, nodata=0, tags=legend)
    for (before, earlier), (after, later) in pairwise(lands.items()):
        mask = changed(earlier, later)[_inner(2)].astype(np.uint8)
        archive.write_cog(folder / f"{before}_{after}_changed.tif", mask, site.epsg, transform, nodata=255)


def _write_truth(out: Path, recipe: Recipe, sites: Sequence[Site], records: dict[str, truth.Records], seed: int) -> None:
    site_of = {roi.name: site for site in sites for roi in site.rois}
    rois = {}
    for roi in recipe.rois:
        site = site_of[roi.name]
        years = _years(site)
        rois[roi.name] = {
            "site": site.name,
            "land_cover": {str(year): f"truth/{site.name}/{year}_cover.tif" for year in years},
            "changed": {f"{a}_{b}": f"truth/{site.name}/{a}_{b}_changed.tif" for a, b in pairwise(years)},
            "optical": [_optical_row(record) for record in sorted(records[roi.name].optical, key=lambda r: r.acquired_at)],
            "expected": truth.expected(roi, records[roi.name]),
        }
    content = {
        "seed": seed,
        "cover_classes": {str(int(cover)): cover.name.lower() for cover in Cover},
        "rois": rois,
    }
    (out / "truth.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _optical_row(record: truth.OpticalRecord) -> dict[str, Any]:
    return {
        "acquired_at": record.acquired_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "item_ids": sorted(record.item_ids),
        "coverage_fraction": round(record.coverage, 6),
        "cloud_fraction": round(record.cloud, 6),
        "snow_fraction": round(record.snow, 6),
    }


def _years(site: Site) -> list[int]:
    return sorted({period.start.year for roi in site.rois for period in roi.settings.periods})


def _roi_pixels(site: Site, roi: Roi) -> NDArray[np.bool_]:
    """Tell which coarse pixels of the site have their centre in the ROI, (y, x)."""
    left, bottom, right, top = site.bounds
    coarse = 2 * site.pixel_m
    burnt = rasterio.features.rasterize(
        [to_crs(roi.polygon, f"EPSG:{site.epsg}")],
        out_shape=(round((top - bottom) / coarse), round((right - left) / coarse)),
        transform=rasterio.Affine(coarse, 0.0, left, 0.0, -coarse, top),
        dtype="uint8",
    )
    return np.asarray(burnt.astype(bool))


def _window(site: Site, bounds: tuple[float, float, float, float], pixel_m: float) -> tuple[slice, slice]:
    """Return where bounds lie in an array rendered on the site's frame (which has a halo)."""
    halo = round(HALO_PX * site.pixel_m / pixel_m)
    row = halo + round((site.bounds[3] - bounds[3]) / pixel_m)
    column = halo + round((bounds[0] - site.bounds[0]) / pixel_m)
    height, width = round((bounds[3] - bounds[1]) / pixel_m), round((bounds[2] - bounds[0]) / pixel_m)
    return slice(row, row + height), slice(column, column + width)


def _inner(fineness: int) -> tuple[slice, slice]:
    """Return the part of a rendered array without its halo; `fineness` 2 on fine pixels, 1 on coarse ones."""
    halo = HALO_PX * fineness // 2
    return slice(halo, -halo), slice(halo, -halo)


def _joined(spans: Sequence[tuple[dt.datetime, dt.datetime]]) -> list[tuple[dt.datetime, dt.datetime]]:
    joined: list[tuple[dt.datetime, dt.datetime]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def _fingerprint(recipe: Recipe, seed: int, options: Options) -> str:
    places = [
        [roi.name, roi.polygon.wkt, roi.settings.pixel_size_m, roi.settings.patch.size]
        + [[period.label, period.start.isoformat(), period.end.isoformat()] for period in roi.settings.periods]
        for roi in recipe.rois
    ]
    content = json.dumps([FORMAT, seed, asdict(options), repr(recipe.rois[0].settings) if recipe.rois else "", places])
    return hashlib.sha256(content.encode()).hexdigest()


def _is_finished(catalog: Path, fingerprint: str) -> bool:
    if not catalog.exists():
        return False
    try:
        found = json.loads(catalog.read_text(encoding="utf-8")).get("s1s2:simulation")
    except json.JSONDecodeError:
        found = None
    if found == fingerprint:
        return True
    what = "a simulation of another recipe, seed or version" if found else "a catalogue that is no simulation"
    raise SourceError(f"{catalog.parent} holds {what}: remove that folder or name another one")


def _clear(out: Path) -> None:
    """Make room in the output folder, removing only what an interrupted simulation leaves."""
    out.mkdir(parents=True, exist_ok=True)
    foreign = sorted(path.name for path in out.iterdir() if path.name not in _OWN_NAMES)
    if foreign:
        raise SourceError(f"{out} is not empty ({', '.join(foreign[:3])}): a simulation needs a folder of its own")
    for path in out.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
