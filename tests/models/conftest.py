"""A tiny dataset in the layout of `s1s2 build`, written directly, and helpers around it.

Networks need what the fake source of the data half does not have: radar that follows the optical image, so that there is
something to learn, changed ground and holes at known places, all six bands, patches of any size, several ROIs per split.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import Affine
from shapely.geometry import box

from models import zoo
from models.runs import checkpoint
from models.runs.record import RunRecord, write_record
from models.runs.settings import TrainSettings
from models.scaling import Scaling
from s1s2pairs.dataset.columns import COLUMNS
from s1s2pairs.dataset.index import dump_index
from s1s2pairs.dataset.layout import CARD_FILE, INDEX_FILE
from s1s2pairs.sensors import DEFAULT_S2_BANDS

torch.set_num_threads(1)

PERIODS = ("2019", "2021")
SPLITS = ("train", "val", "test")
S1_BANDS = ("VV", "VH")


def write_raster(path: Path, values: np.ndarray, names: tuple[str, ...], transform: Affine) -> str:
    """Write (band, y, x) as a GeoTIFF with band names; return its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=values.shape[0],
        height=values.shape[1],
        width=values.shape[2],
        dtype=values.dtype,
        crs="EPSG:32631",
        transform=transform,
        nodata=np.nan if values.dtype == np.float32 else 0,
    ) as raster:
        raster.write(values)
        raster.descriptions = names
    return hashlib.sha256(path.read_bytes()).hexdigest()


def patch_values(rng: np.random.Generator, size: int, *, changed: bool, holes: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return radar (VV, VH, count) float32 and optical (six bands, clear) uint16 of one patch.

    Radar follows the optical red band, so that there is something to learn. A changed patch has a bright square. Holes are
    missing pixels: NaN in radar with count 0, a cloud with clear 0, and one pixel where a single optical band is 0.
    """
    ground = rng.uniform(0.05, 0.25, (size // 8, size // 8)).repeat(8, 0).repeat(8, 1)
    if changed:
        ground[size // 4 : size // 2, size // 4 : size // 2] += 0.3
    optical = np.stack([ground * (1 + 0.2 * band) for band in range(6)]) * 10_000
    optical = np.concatenate([optical, np.full((1, size, size), 3)]).astype(np.uint16)
    vv = -20 + 30 * ground + rng.normal(0, 0.5, ground.shape)
    radar = np.stack([vv, vv - 7, np.full_like(vv, 8)]).astype(np.float32)
    if holes:
        radar[:2, :5, :7], radar[2, :5, :7] = np.nan, 0
        radar[2, 10, 10] = 0  # count says missing, although there are values
        optical[6, -6:, :9] = 0
        optical[2, 20, 21] = 0
    return radar, optical


def write_dataset(
    root: Path,
    *,
    size: int = 64,
    splits: tuple[str, ...] = SPLITS,
    rois: int = 2,
    patches: int = 2,
    seed: int = 0,
    periods: tuple[str, ...] = PERIODS,
) -> Path:
    """Write a dataset of `rois` ROIs per split with `patches` patches each; every third patch has holes."""
    rng, rows = np.random.default_rng(seed), []
    for number, (split, part) in enumerate((split, part) for split in splits for part in range(rois)):
        roi = f"{split}-{part}"
        for place in range(patches):
            patch_id = f"{roi}_0_{place * size}"
            transform = Affine(10, 0, 500_000 + 10 * size * place, 0, -10, 4_600_000 + 10_000 * number)
            ground_seed = int(rng.integers(1 << 30))
            for year, period in enumerate(periods):
                radar, optical = patch_values(
                    np.random.default_rng(ground_seed), size, changed=year == 1, holes=(number + place) % 3 == 0
                )
                folder = Path("patches") / split / roi / patch_id
                s1_path, s2_path = folder / f"{period}_s1.tif", folder / f"{period}_s2.tif"
                seen_at = datetime(int(period), 6, 15, 10, 30, tzinfo=UTC)
                row: dict[str, Any] = dict.fromkeys(COLUMNS) | {
                    "patch_id": patch_id,
                    "roi": roi,
                    "split": split,
                    "period": period,
                    "row_off": 0,
                    "col_off": place * size,
                    "height": size,
                    "width": size,
                    "geometry": box(3 + number, 41, 3.1 + number, 41.1),
                    "crs": "EPSG:32631",
                    "transform": list(transform)[:6],
                    "s1_path": str(s1_path),
                    "s2_path": str(s2_path),
                    "s1_sha256": write_raster(root / s1_path, radar, (*S1_BANDS, "count"), transform),
                    "s2_sha256": write_raster(root / s2_path, optical, (*DEFAULT_S2_BANDS, "clear"), transform),
                    "s1_bands": list(S1_BANDS),
                    "s2_bands": list(DEFAULT_S2_BANDS),
                    "s1_valid_fraction": float((radar[2] > 0).mean()),
                    "s2_valid_fraction": float((optical[6] > 0).mean()),
                    "cloud_fraction": 0.0,
                    "s1_scene_ids": [f"S1-{roi}-{period}"],
                    "s2_scene_ids": [f"S2-{roi}-{period}"],
                    "s1_mean_time": seen_at + timedelta(days=2),
                    "s2_mean_time": seen_at,
                    "lag_days": 2.0,
                    "relative_orbit": 110,
                    "orbit_pass": "descending",
                    "mean_incidence_deg": 39.0,
                    "incidence_source": "raster",
                    "backscatter": "sigma0",
                    "s1_count": 8,
                    "s2_count": 3,
                    "s2_composite": "median",
                    "month_shift": 0,
                    "season_locked": True,
                }
                rows.append(row)
    (root / INDEX_FILE).write_bytes(dump_index(rows))
    (root / CARD_FILE).write_text(json.dumps({"name": root.name}), encoding="utf-8")
    return root


def make_run(folder: Path, network: str, *, seed: int = 0, scaling: Scaling | None = None, **settings: str) -> Path:
    """Write the folder of an untrained run."""
    torch.manual_seed(seed)
    translator = zoo.create(network, {"width": "4", **settings})
    scaling = scaling or Scaling()
    checkpoint.save(
        folder / "checkpoints" / "best",
        network=network,
        translator=translator,
        optimizers=translator.optimizers(fused=False),
        scaling=scaling,
        position=checkpoint.Position(),
    )
    record = RunRecord(
        network=network,
        seed=seed,
        task=asdict(translator.task),
        config=translator.config.values(),
        training=TrainSettings(seed=seed, workers=seed),
        scaling=scaling,
        dataset="data",
        dataset_sha256="0",
        samples={},
        best_by="val",
        device="cpu",
        precision="32-true",
        processes=1,
        started_at="2026-01-01T00:00:00+00:00",
        versions={},
        git=None,
    )
    write_record(folder, record)
    return folder


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., Path]:
    """The function `write_dataset`, for tests that want a dataset of their own."""
    return write_dataset


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 64 px patches, shared by all tests: they read it, and its cache is packed by the first."""
    return write_dataset(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture
def toy_networks(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the network `toy`, which is part of the zoo while the test runs."""
    from models import networks

    folder = Path(__file__).parent / "toy"
    monkeypatch.setattr(networks, "__path__", [*networks.__path__, str(folder)])
    return folder
