"""The commands that are killed, each with the smallest inputs that keep it at work for a while."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models import zoo
from models.runs import checkpoint
from models.runs.record import RUN_FILE, read_record
from models.scaling import Scaling
from tests.crash.harness import Crash
from tests.models.conftest import S1_BANDS, write_dataset, write_raster
from tests.s1s2pairs.conftest import SETTINGS

RECIPE = "tiny.geojson"
PLACES = {"north": 45.0, "south": 44.0}
SHAPE = (400, 96)
"""Of the scene to translate, pixels."""
TRAINING = ("epochs=2", "checkpoint_every_steps=1", "log_every_steps=1", "workers=0", "pictures=1")


def build() -> Crash:
    """A build from the fake source, which notes what it is asked for."""
    return Crash(
        name="build",
        words=["build", RECIPE, "--source", "fake:notes", "--out", "out", "--workers", "2", "--quiet"],
        prepare=lambda folder: write_recipe(folder, side_deg=0.004),
        made=lambda folder: frozenset(
            p.relative_to(folder / "out").as_posix() for p in folder.glob("out/rasters/**/*.tif")
        ),
        fetched=lambda folder: [line.removeprefix("fetch ") for line in notes(folder) if line.startswith("fetch ")],
    )


def simulate() -> Crash:
    """A world simulated by two processes."""
    return Crash(
        name="simulate",
        words=["simulate", "world", "--recipe", RECIPE, "--workers", "2", "--quiet"],
        prepare=lambda folder: write_recipe(folder, side_deg=0.002, places={"north": 45.0}, days=9),
    )


def train(parts: Path) -> Crash:
    """A run of the toy network, resumed where there is a checkpoint."""
    dataset = write_dataset(parts / "data", splits=("train", "val"), rois=1, patches=2)
    words = ["train", "toy", "--data", "data", "--device", "cpu", "--quiet"]

    def again(folder: Path) -> list[str]:
        record = folder / "run" / RUN_FILE
        if record.exists() and read_record(folder / "run").status == "finished":
            return []  # killed while the process was ending
        if (folder / "run/checkpoints/last" / checkpoint.JSON_NAME).exists():
            return [*words, "--resume", "run"]
        return [*words, "--out", "run", "--set", *TRAINING]

    return Crash(
        name="train",
        words=[*words, "--out", "run", "--set", *TRAINING],
        prepare=lambda folder: shutil.copytree(dataset, folder / "data") and None,
        again=again,
    )


def evaluate(parts: Path) -> Crash:
    """Scores of an untrained toy network."""
    dataset, run = write_dataset(parts / "data", splits=("test",), rois=1, patches=2), write_run(parts / "run")

    def prepare(folder: Path) -> None:
        shutil.copytree(dataset, folder / "data")
        shutil.copytree(run, folder / "run")

    return Crash(
        name="evaluate",
        words=["evaluate", "run", "--data", "data", "--device", "cpu", "--out", "scores", "--quiet"],
        prepare=prepare,
    )


def translate(parts: Path) -> Crash:
    """A scene translated by an untrained toy network."""
    run, rng = write_run(parts / "run"), np.random.default_rng(0)
    optical = rng.integers(500, 3000, (2, *SHAPE)).astype(np.uint16)
    radar = rng.normal(-12, 3, (len(S1_BANDS), *SHAPE)).astype(np.float32)

    def prepare(folder: Path) -> None:
        from rasterio.transform import Affine

        shutil.copytree(run, folder / "run")
        grid = Affine(10, 0, 500_000, 0, -10, 4_600_000)
        write_raster(folder / "s2.tif", optical, ("B3", "B4"), grid)
        write_raster(folder / "s1.tif", radar, S1_BANDS, grid)

    return Crash(
        name="translate",
        words=["translate", "run", "s2_t2=s2.tif", "s1_t1=s1.tif", "--out", "out/predicted.tif", "--device", "cpu",
               "--window", "32", "--batch-size", "1", "--quiet"],
        prepare=prepare,
    )  # fmt: skip


def write_run(folder: Path) -> Path:
    """Write the folder of an untrained toy network; `toy` must be part of the zoo."""
    torch.manual_seed(0)
    translator = zoo.create("toy")
    checkpoint.save(
        folder / "checkpoints" / "best",
        network="toy",
        translator=translator,
        optimizers=translator.optimizers(fused=False),
        scaling=Scaling(),
        position=checkpoint.Position(),
    )
    return folder


def write_recipe(
    folder: Path,
    *,
    side_deg: float,
    places: dict[str, float] = PLACES,
    years: tuple[int, ...] = (2019, 2020),
    days: int = 30,
) -> None:
    """Write a recipe of small squares, with patches of 16 pixels."""

    def square(south: float) -> dict[str, Any]:
        west, east, north = 3.0, 3.0 + side_deg, south + side_deg
        return {
            "type": "Polygon",
            "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
        }

    periods = [{"label": str(year), "start": f"{year}-06-01", "end": f"{year}-06-{days:02}"} for year in years]
    features = [
        {"type": "Feature", "properties": {"name": name, "split": "train"}, "geometry": square(south)}
        for name, south in places.items()
    ]
    settings = {**SETTINGS, "periods": periods}
    collection = {"type": "FeatureCollection", "name": "tiny", "s1s2": settings, "features": features}
    (folder / RECIPE).write_text(json.dumps(collection))


def notes(folder: Path) -> list[str]:
    """Return what the fake source noted."""
    file = folder / "notes" / "calls.log"
    return file.read_text().splitlines() if file.exists() else []
