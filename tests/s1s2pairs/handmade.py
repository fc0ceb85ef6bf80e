"""A small dataset in the layout `build` writes, made without it: pixels and choices are invented.

Pages and maps show why scenes and orbits were left out. So this dataset has one of each reason, at known values, with
footprints, failures, bands and periods as a test wants them; the fake source, which builds are made from, has none.
"""

import datetime as dt
import json
from pathlib import Path

import numpy as np
import shapely

from s1s2pairs.acquisitions import OpticalAcquisition, SarAcquisition
from s1s2pairs.dataset.index import dataset_rows, dump_index
from s1s2pairs.dataset.rasters import encode
from s1s2pairs.dataset.units import PatchRecord, UnitRecord, units_of
from s1s2pairs.grid import roi_grid
from s1s2pairs.plan.choices import Plan, RoiPlan, assemble
from s1s2pairs.plan.lock import dump_lock
from s1s2pairs.plan.optical import OpticalChoice, mean_time
from s1s2pairs.plan.radar import OrbitCandidate, OrbitChoice
from s1s2pairs.recipe.settings import PatchSettings, Period, Roi, Settings, Split
from s1s2pairs.sensors import s1_layout, s2_layout

SIZE = 48
"""Side of each ROI's grid and only patch, pixels."""
NOWHERE = PatchRecord(sha256="0" * 64, valid_fraction=1.0)
"""The index names patches, but no files of them are written."""


def make_dataset(
    root: Path,
    *,
    years: tuple[int, ...] = (2019, 2021),
    s2_bands: tuple[str, ...] = ("B2", "B3", "B4", "B8"),
    polarisations: tuple[str, ...] = ("VV", "VH"),
    failure: str | None = None,
    attribution: str = "Contains modified Copernicus Sentinel data 2019, 2021",
) -> Plan:
    """Write a dataset of two ROIs in Belgium; with `failure`, a third one that failed with that reason."""
    settings = Settings(
        periods=tuple(Period(label=str(y), start=dt.date(y, 6, 1), end=dt.date(y, 7, 1)) for y in years),
        s2_bands=s2_bands,
        s1_polarisations=polarisations,
        s1_acquisitions=(2, 3),
        patch=PatchSettings(size=SIZE),
    )
    rois = [_plan(name, split, lon, settings) for name, split, lon in (("gent", "train", 3.7), ("lier", "test", 4.6))]
    for roi in rois:
        _write_roi(root, roi)
    if failure is not None:
        failed = Roi(name="brugge", split="train", polygon=shapely.box(3.2, 51.2, 3.205, 51.203), settings=settings)
        rois.append(RoiPlan(roi=failed, choices=None, failure=failure))
    plan = Plan(name="handmade", source="catalogue:made-up", rois=tuple(rois))
    (root / "recipe.lock.geojson").write_bytes(dump_lock(plan))
    (root / "dataset.json").write_text(json.dumps({"name": "handmade", "creditText": attribution}))
    records = {unit: UnitRecord(sha256="", patches=(NOWHERE,) * len(unit.windows)) for unit in units_of(plan)}
    (root / "index.parquet").write_bytes(dump_index(dataset_rows(records, ())))
    return plan


def _plan(name: str, split: Split, lon: float, settings: Settings) -> RoiPlan:
    roi = Roi(name=name, split=split, polygon=shapely.box(lon, 51.0, lon + 0.005, 51.003), settings=settings)
    optical = {period.label: _optical(name, period, roi) for period in settings.periods}
    dates = {label: _sar(name, choice.mean_time) for label, choice in optical.items()}
    orbit = OrbitChoice(
        relative_orbit=161,
        orbit_pass="ascending",
        incidence_deg=41.25,
        incidence_source="raster",
        dates=dates,
        candidates=(
            _candidate(59, 44.3, dict.fromkeys(dates, 1), coverage=1.0, eligible=False),
            _candidate(161, 41.25, dict.fromkeys(dates, 3), coverage=1.0, eligible=True),
            _candidate(37, 36.0, dict.fromkeys(dates, 4), coverage=1.0, eligible=True),
            _candidate(110, 34.0, dict.fromkeys(dates, 0), coverage=0.61, eligible=False),
        ),
    )
    grid = roi_grid(roi.polygon, pixel_size_m=10, min_pixels=SIZE)
    return assemble(roi, grid=grid, optical=optical, orbit=orbit, backscatter="sigma0")


def _optical(name: str, period: Period, roi: Roi) -> OpticalChoice:
    def at(day: int, *, cloud: float = 0.0, coverage: float = 1.0, snow: float = 0.0) -> OpticalAcquisition:
        return OpticalAcquisition(
            scene_ids=(f"S2_{name}_{period.label}_{day:02}",),
            acquired_at=dt.datetime(period.start.year, 6, day, 10, 50, tzinfo=dt.UTC),
            platform="sentinel-2a",
            coverage_fraction=coverage,
            cloud_fraction=cloud,
            snow_fraction=snow,
            footprint_wkt=roi.polygon.buffer(0.5).envelope.wkt,
        )

    used = (at(12),)
    considered = (at(3, cloud=0.53), at(7, coverage=0.4), *used, at(20, cloud=0.0099), at(27, snow=0.2))
    return OpticalChoice(
        start=period.start,
        end=period.end,
        month_shift=0,
        method="least_cloudy",
        used=used,
        considered=considered,
        mean_time=mean_time([a.acquired_at for a in used]),
    )


def _sar(name: str, centre: dt.datetime) -> tuple[SarAcquisition, ...]:
    return tuple(
        SarAcquisition(
            scene_ids=(f"S1_{name}_{centre.year}_{days:+}",),
            acquired_at=centre + dt.timedelta(days=days, hours=7),
            platform="sentinel-1a",
            relative_orbit=161,
            orbit_pass="ascending",
            coverage_fraction=1.0,
            incidence_deg=41.25,
            incidence_source="raster",
            footprint_wkt=shapely.box(2.5, 50.0, 5.5, 52.0).wkt,
        )
        for days in (-12, 0, 12)
    )


def _candidate(orbit: int, angle: float, counts: dict[str, int], *, coverage: float, eligible: bool) -> OrbitCandidate:
    return OrbitCandidate(
        relative_orbit=orbit,
        orbit_pass="ascending",
        incidence_deg=angle,
        incidence_source="raster",
        counts=counts,
        coverage_fraction=coverage,
        eligible=eligible,
    )


def _write_roi(root: Path, plan: RoiPlan) -> None:
    assert plan.choices
    rng = np.random.default_rng(len(plan.roi.name) + ord(plan.roi.name[0]))
    settings, grid = plan.roi.settings, plan.choices.grid
    for number, period in enumerate(plan.choices.periods):
        radar = rng.normal(-12, 2, (len(settings.s1_polarisations) + 1, *grid.shape)).astype(np.float32)
        radar[-1] = 3
        optical = rng.integers(200, 3000, (len(settings.s2_bands) + 1, *grid.shape)).astype(np.uint16)
        optical[-1] = 1
        radar[0, 10:20, 10:20] += 8 * number
        optical[:, :4, :4] = 0
        folder = root / "rasters" / plan.roi.name / period.label
        folder.mkdir(parents=True)
        s1 = encode(radar, grid=grid, layout=s1_layout(settings.s1_polarisations, plan.choices.backscatter))
        s2 = encode(optical, grid=grid, layout=s2_layout(settings.s2_bands))
        (folder / "s1.tif").write_bytes(s1)
        (folder / "s2.tif").write_bytes(s2)
