"""Simulating a recipe's places into a STAC archive on disk, with the truth beside it."""

import contextlib
import datetime as dt
import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from affine import Affine

from ..errors import S1S2Error
from ..files import unfinished, write_whole
from ..progress import Progress, Silence, stage
from ..recipe.settings import Period, Recipe, Roi
from ..untrusted import MAX_JSON_BYTES, Unusable, parse_object, read_regular
from . import archive, truth
from .cog import write_cog
from .ground import make_ground
from .landcover import Cover, changed, land_cover
from .render import SiteYear, Written, render, without_halo
from .scenes import optical_overflights, reprocessed_day, sar_orbits, sar_scenes
from .sentinel1 import LOOKS
from .site import Site, find_sites

logger = logging.getLogger(__name__)

FORMAT: Final = 2
"""Raised whenever the same recipe and seed would give other bytes than before."""
SEEDS: Final = range(-(2**63), 2**63)
_OWN_NAMES: Final = ("sentinel-1-grd", "sentinel-2-l2a", "truth", "truth.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How much of the world is written."""

    optical_margin_months: int = 1
    """Optical scenes are written this long before and after each period, so that a cloudy window can move."""
    sar_margin_days: int = 60
    """Radar scenes are written this long before and after each period: the window of a period moved by a month fits."""
    orbits_per_pass: int = 2
    """Of each pass, how many orbits that cover the place, the highest angle first. Orbits seen in part come on top."""
    pixel_m: float = 10.0
    """Pixel of the fine bands; the coarse ones have twice that. More than 10 m makes a quick world of the same geometry."""
    looks: float = LOOKS
    """Equivalent number of looks of the radar images."""


def simulate(
    recipe: Recipe,
    out: Path,
    *,
    seed: int = 0,
    options: Options | None = None,
    workers: int = 2,
    progress: Progress | None = None,
) -> Path:
    """Write a simulated archive for every ROI and period of a recipe.

    A finished archive of the same recipe, seed and options is left as it is. What an interrupted run left is removed first;
    `catalog.json` is written last, so a folder with one is whole.

    Args:
        recipe: the places and periods.
        out: folder of the archive; it must be missing, empty, or hold an earlier simulation.
        seed: names the world; another seed is another world.
        options: how much to write.
        workers: processes.
        progress: told of every scene.

    Returns:
        The path of `catalog.json`.

    Raises:
        S1S2Error: the folder holds something else, or another simulation; or the seed is too large.
    """
    if seed not in SEEDS:
        raise S1S2Error(f"the seed {seed} is out of range; allowed are {SEEDS.start} to {SEEDS.stop - 1}")
    options = options or Options()
    fingerprint = _fingerprint(recipe, seed, options)
    catalog = out / "catalog.json"
    if _is_finished(catalog, fingerprint):
        logger.info("%s already holds this simulation", out)
        return catalog
    _clear(out)
    sites = find_sites(recipe.rois, options.pixel_m)
    work = [part for site in sites for part in _site_years(site, out, seed, options)]
    written = _carry_out(work, workers, progress or Silence())
    for site in sites:
        _write_truth_rasters(out, site, seed)
    _write_truth(out, recipe, sites, written.records, seed)
    archive.write_catalog(
        out,
        f"A procedural world, not real data: recipe {recipe.name}, seed {seed}.",
        written.items,
        {"s1s2:simulation": fingerprint},
    )
    return catalog


def _site_years(site: Site, out: Path, seed: int, options: Options) -> list[SiteYear]:
    periods = _periods(site.rois)
    margin = dt.timedelta(days=round(30.5 * options.optical_margin_months))
    optical = [found for span in _spans(periods, margin) for found in optical_overflights(site, *span, seed)]
    twice = {reprocessed_day(period, optical) for period in periods}
    optical = [replace(found, twice=found.datatake.acquired_at in twice) for found in optical]
    margin = dt.timedelta(days=options.sar_margin_days)
    orbits = sar_orbits(site, seed, per_pass=options.orbits_per_pass)
    sar = [
        scene for span in _spans(periods, margin) for orbit in orbits for scene in sar_scenes(site, orbit, *span, seed)
    ]
    years = {found.datatake.acquired_at.year for found in optical} | {
        scene.overflight.acquired_at.year for scene in sar
    }
    return [
        SiteYear(
            site=site,
            year=year,
            seed=seed,
            looks=options.looks,
            out=out,
            optical=tuple(found for found in optical if found.datatake.acquired_at.year == year),
            sar=tuple(scene for scene in sar if scene.overflight.acquired_at.year == year),
        )
        for year in sorted(years)
    ]


def _carry_out(work: Sequence[SiteYear], workers: int, progress: Progress) -> Written:
    together = Written()
    with stage(progress, "simulating overflights", sum(part.size for part in work)):
        for part, written in _rendered(work, min(workers, len(work))):
            together.items += written.items
            for name, records in written.records.items():
                together.records[name].optical += records.optical
                together.records[name].sar += records.sar
            progress.step(steps=part.size)
    return together


def _rendered(work: Sequence[SiteYear], workers: int) -> Iterator[tuple[SiteYear, Written]]:
    if workers <= 1:
        yield from ((part, render(part)) for part in work)
        return
    # Processes, as drawing many small images holds Python's lock most of the time; started afresh, not forked, as the
    # caller may have threads.
    context = multiprocessing.get_context("spawn")
    others = multiprocessing.active_children()
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with, initargs=(os.getpid(),)) as pool:
        try:
            with _signals_held_back():
                waiting = {pool.submit(render, part): part for part in work}
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                if child not in others:
                    child.kill()
            raise


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """Start processes that hear no Ctrl-C and no SIGTERM, which terminals send to all: this one ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: it must not go on writing where another run may have begun."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _write_truth_rasters(out: Path, site: Site, seed: int) -> None:
    """Write land cover of every year and changes between years, on the site's pixels."""
    ground = make_ground(site.frame(seed))
    folder = out / "truth" / site.name
    folder.mkdir(parents=True, exist_ok=True)
    lands = {year: land_cover(ground, year) for year in _years(site)}
    transform = Affine(site.pixel_m, 0.0, site.bounds[0], 0.0, -site.pixel_m, site.bounds[3])
    for year, land in lands.items():
        cover = land.cover[without_halo(2)]
        write_cog(folder / f"{year}_cover.tif", cover, site.epsg, transform, nodata=0)
    for (before, earlier), (after, later) in pairwise(lands.items()):
        mask = changed(earlier, later)[without_halo(2)].astype(np.uint8)
        write_cog(folder / f"{before}_{after}_changed.tif", mask, site.epsg, transform, nodata=255)


def _write_truth(
    out: Path, recipe: Recipe, sites: Sequence[Site], records: dict[str, truth.Records], seed: int
) -> None:
    site_of = {roi.name: site for site in sites for roi in site.rois}
    content = {
        "seed": seed,
        "cover_classes": {str(int(cover)): cover.name.lower() for cover in Cover},
        "rois": {roi.name: _truth_of(site_of[roi.name], records[roi.name]) for roi in recipe.rois},
    }
    write_whole(out / "truth.json", (json.dumps(content, indent=1) + "\n").encode())


def _truth_of(site: Site, records: truth.Records) -> dict[str, Any]:
    years, folder = _years(site), f"truth/{site.name}"
    return {
        "site": site.name,
        "land_cover": {str(year): f"{folder}/{year}_cover.tif" for year in years},
        "changed": {f"{a}_{b}": f"{folder}/{a}_{b}_changed.tif" for a, b in pairwise(years)},
        "optical": [truth.optical_row(record) for record in sorted(records.optical, key=lambda r: r.acquired_at)],
        "radar": [truth.sar_row(record) for record in sorted(records.sar, key=lambda r: r.acquired_at)],
    }


def _periods(rois: Sequence[Roi]) -> list[Period]:
    return sorted({period for roi in rois for period in roi.settings.periods}, key=lambda p: (p.start, p.end, p.label))


def _years(site: Site) -> list[int]:
    return sorted({period.start.year for period in _periods(site.rois)})


def _spans(periods: Sequence[Period], margin: dt.timedelta) -> list[tuple[dt.datetime, dt.datetime]]:
    """Return the periods with a margin on both sides, those that meet joined."""
    joined: list[tuple[dt.datetime, dt.datetime]] = []
    for period in periods:
        start, end = (dt.datetime.combine(day, dt.time(), dt.UTC) for day in (period.start, period.end))
        if joined and start - margin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end + margin, joined[-1][1]))
        else:
            joined.append((start - margin, end + margin))
    return joined


def _fingerprint(recipe: Recipe, seed: int, options: Options) -> str:
    """Return a hash of everything the archive depends on."""
    rois = [[roi.name, roi.polygon.wkt, repr(roi.settings)] for roi in recipe.rois]
    content = json.dumps([FORMAT, recipe.name, seed, asdict(options), rois])
    return hashlib.sha256(content.encode()).hexdigest()


def _is_finished(catalog: Path, fingerprint: str) -> bool:
    if not catalog.exists():
        return False
    try:
        found = parse_object(read_regular(catalog, most_bytes=MAX_JSON_BYTES)).get("s1s2:simulation")
    except Unusable:
        found = None
    if found == fingerprint:
        return True
    what = "a simulation of another recipe, seed or version" if found else "a catalogue that is no simulation"
    raise S1S2Error(f"{catalog.parent} holds {what}: remove that folder or name another one")


def _clear(out: Path) -> None:
    """Make room in the output folder, removing only what an interrupted simulation leaves."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise S1S2Error(f"{out}: no folder can be made there ({error.strerror}): name another one") from error
    own = {*_OWN_NAMES, *(unfinished(out / name).name for name in ("truth.json", "catalog.json"))}
    foreign = sorted(path.name for path in out.iterdir() if path.name not in own)
    if foreign:
        raise S1S2Error(f"{out} is not empty ({', '.join(foreign[:3])}): a simulation needs a folder of its own")
    for path in out.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
