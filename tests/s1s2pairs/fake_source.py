"""A source without scenes: it invents them from their names, notes every call in a file, and fails when told to.

All state is in files, so that it works alike in threads, in processes that are killed, and on Dask workers.
"""

import datetime as dt
import json
import os
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from odc.geo.geobox import GeoBox
from shapely.geometry import box

from s1s2pairs.acquisitions import CompositeMethod, Needed, OpticalAcquisition, RoiGrids, SarAcquisition, SceneIds, Span
from s1s2pairs.errors import NotAuthenticated, QuotaExceeded, SourceError, SourceUnreachable
from s1s2pairs.sensors import Backscatter
from s1s2pairs.sources import OpticalComposite, SarMean, Source
from s1s2pairs.sources.grouping import outline_wkt

FAULTS = {
    "source": SourceError,
    "quota": QuotaExceeded,
    "credentials": NotAuthenticated,
    "unreachable": SourceUnreachable,
    "bug": ZeroDivisionError,
}
ORBITS = {37: ("ascending", 39.25), 110: ("descending", 35.5)}


@dataclass(frozen=True, kw_only=True, slots=True)
class FakeOpener:
    """Opens the fake source over a folder of its notes."""

    folder: str
    most: int | None = None

    def open(self) -> Source:
        return FakeSource(Path(self.folder))

    def share(self, processes: int) -> Self:
        return self

    @property
    def most_processes(self) -> int | None:
        return self.most


class FakeSource:
    """Two orbits every six days, an optical overflight every five, one of three of them cloudy."""

    name = "catalogue:fake"
    radar_name: str | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._note("open")

    def backscatter(self) -> Backscatter:
        return "sigma0"

    def find_sar(
        self, place: RoiGrids, spans: Sequence[Span], *, polarisations: tuple[str, ...]
    ) -> tuple[SarAcquisition, ...]:
        self._call("find_sar", place.name)
        return tuple(
            SarAcquisition(
                scene_ids=(f"S1/{place.name}/{orbit}/{when:%Y%m%d}/a", f"S1/{place.name}/{orbit}/{when:%Y%m%d}/b"),
                acquired_at=when,
                platform="sentinel-1a",
                relative_orbit=orbit,
                orbit_pass=orbit_pass,
                coverage_fraction=1.0,
                incidence_deg=angle,
                incidence_source="raster",
                footprint_wkt=outline_wkt([box(*place.polygon.bounds)]),
            )
            for span in spans
            for orbit, (orbit_pass, angle) in ORBITS.items()
            for when in _every(6, span, dt.time(5, 40))
        )

    def find_optical(self, place: RoiGrids, spans: Sequence[Span]) -> tuple[OpticalAcquisition, ...]:
        self._call("find_optical", place.name)
        return tuple(
            OpticalAcquisition(
                scene_ids=(f"S2/{place.name}/{when:%Y%m%d}",),
                acquired_at=when,
                platform="sentinel-2a",
                coverage_fraction=1.0,
                cloud_fraction=1.0 if place.name.startswith("cloudy") else 0.4 * (when.day % 3 == 0),
                snow_fraction=0.0,
                footprint_wkt=outline_wkt([box(*place.polygon.bounds)]),
            )
            for span in spans
            for when in _every(5, span, dt.time(10, 30))
        )

    def unreadable(self, needed: Needed) -> frozenset[str]:
        """Name the scenes listed in `missing.json`."""
        file = self.folder / "missing.json"
        missing = set(json.loads(file.read_text())) if file.exists() else set()
        return frozenset(missing.intersection(id_ for ids in (*needed.sar, *needed.optical) for id_ in ids))

    def versions(self, needed: Needed) -> dict[str, str]:
        """Tell the version of `version.txt` of every scene, nothing without it."""
        file = self.folder / "version.txt"
        scenes = [id_ for ids in (*needed.sar, *needed.optical) for id_ in ids]
        return dict.fromkeys(scenes, file.read_text()) if file.exists() else {}

    def mean_sar(self, acquisitions: Sequence[SceneIds], *, polarisations: tuple[str, ...], grid: GeoBox) -> SarMean:
        self._call("mean_sar", _roi(acquisitions))
        noise = _noise(acquisitions)
        linear = noise.gamma(4.4 * len(acquisitions), 0.02, size=(len(polarisations), *grid.shape)).astype(np.float32)
        count = np.full(grid.shape, len(acquisitions), np.uint8)
        linear[:, :3, :5] = np.nan
        count[:3, :5] = 0
        return SarMean(linear=linear, count=count)

    def composite_optical(
        self, acquisitions: Sequence[SceneIds], *, bands: tuple[str, ...], method: CompositeMethod, grid: GeoBox
    ) -> OpticalComposite:
        self._call("composite_optical", _roi(acquisitions))
        noise = _noise(acquisitions)
        reflectance = noise.integers(1, 4000, size=(len(bands), *grid.shape)).astype(np.uint16)
        clear = np.full(grid.shape, len(acquisitions), np.uint8)
        reflectance[:, 5:9, :4] = 0
        clear[5:9, :4] = 0
        return OpticalComposite(reflectance=reflectance, clear=clear)

    def _call(self, what: str, roi: str) -> None:
        self._note(f"{what} {roi}")
        for rule in faults(self.folder):
            if rule["call"] in (what, "any") and rule["roi"] in (roi, "any"):
                if rule["fault"] == "wait":
                    time.sleep(60)
                elif rule["fault"] == "die":
                    os._exit(17)
                raise FAULTS[rule["fault"]](f"injected: {rule['fault']} in {what} of {roi}")

    def _note(self, line: str) -> None:
        with (self.folder / "calls.log").open("a") as log:
            log.write(f"{line}\n")


def faults(folder: Path) -> list[dict[str, str]]:
    file = folder / "faults.json"
    return json.loads(file.read_text()) if file.exists() else []


def inject(folder: Path, *rules: tuple[str, str, str]) -> None:
    """Make calls fail from now on: (call, ROI, fault), each of the first two may be `any`."""
    folder.mkdir(parents=True, exist_ok=True)
    named = [dict(zip(("call", "roi", "fault"), rule, strict=True)) for rule in rules]
    (folder / "faults.json").write_text(json.dumps(named))


def calls(folder: Path) -> Counter[str]:
    """Count the calls made so far, without opening."""
    return Counter(line for line in (folder / "calls.log").read_text().splitlines() if line != "open")


def _every(days: int, span: Span, at: dt.time) -> list[dt.datetime]:
    first = dt.datetime.combine(dt.date(2019, 1, 1), at, tzinfo=dt.UTC)
    steps = range(1000)
    return [when for step in steps if span.start <= (when := first + dt.timedelta(days=days * step)) < span.end]


def _roi(acquisitions: Sequence[SceneIds]) -> str:
    return acquisitions[0][0].split("/")[1]


def _noise(acquisitions: Sequence[SceneIds]) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(list(acquisitions)).encode()))
