"""A network that gives back its input, an untrained run, and scenes to translate."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import Affine
from torch import Tensor

from models.config import NetworkConfig
from models.task import Batch, Stack, Task
from models.translator import Prediction, Translator
from s1s2pairs.progress import Silence
from tests.models.conftest import make_run

GRID = Affine(10, 0, 500_000, 0, -10, 4_600_000)
S2_BANDS = ("B2", "B3", "B4", "B8", "B11", "B12")


def write(
    path: Path,
    values: np.ndarray,
    names: tuple[str, ...],
    *,
    transform: Affine = GRID,
    nodata: float | None = None,
    scale: float = 1.0,
    unit: str = "",
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=values.dtype, crs="EPSG:32631",
        transform=transform, nodata=nodata,
    ) as raster:  # fmt: skip
        raster.write(values)
        raster.descriptions = names
        raster.scales = (scale,) * count
        raster.units = (unit,) * count
    return path


def radar(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return (VV, y, x) float32 dB: a smooth ramp with noise, within the scaling range."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(-20, 0, width)[None, :] + np.linspace(0, 5, height)[:, None]
    return (ramp + rng.normal(0, 1, (height, width)))[None].astype(np.float32)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Config(NetworkConfig):
    """Settings of a network that reads radar at T1 and gives radar at T2."""

    patch_multiple: ClassVar[int] = 8

    @property
    def task(self) -> Task:
        source, target = (Stack(sensor="s1", date=date, bands=("VV",)) for date in (0, 1))
        return Task(name="identity", sources=(), references=(source,), target=target)


class Identity(Translator):
    """Gives back the radar it got, plus whatever `shift` says for each window."""

    parts = ()

    def __init__(self, shifts: list[float] | None = None) -> None:
        super().__init__(_Config())
        self.shifts = iter(shifts) if shifts else None
        self.seen: list[Batch] = []

    def forward(self, batch: Batch) -> Prediction:
        self.seen.append(batch)
        image = batch["s1_t1"]
        if self.shifts is None:
            return Prediction(image)
        return Prediction(image + torch.tensor([next(self.shifts) for _ in image]).view(-1, 1, 1, 1))

    def training_step(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        raise NotImplementedError


class Unheard(Silence):
    """No work is done."""

    def begin(self, stage: str, total: int) -> None:
        raise AssertionError("the work has begun")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with an untrained, narrow TSGAN."""
    return make_run(tmp_path_factory.mktemp("runs") / "tsgan", "tsgan", version="v1")


@pytest.fixture
def rasters(tmp_path: Path) -> Path:
    """`rasters/<roi>` of a dataset: two periods of radar in dB and stored optical values."""
    folder = tmp_path / "rasters" / "delft"
    for seed, period in enumerate(("2019", "2021")):
        vv = radar(150, 140, seed)
        count = np.full_like(vv, 8)
        count[0, :4, :5] = 0
        write(
            folder / period / "s1.tif",
            np.concatenate([vv, vv - 7, count]),
            ("VV", "VH", "count"),
            nodata=float("nan"),
            unit="dB",
        )
        optical = np.random.default_rng(seed).integers(1, 4000, (7, 150, 140)).astype(np.uint16)
        optical[6] = 3
        optical[3, 100, 100] = 0
        write(folder / period / "s2.tif", optical, (*S2_BANDS, "clear"), nodata=0, scale=1e-4)
    return folder
