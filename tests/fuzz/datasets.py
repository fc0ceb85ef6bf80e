"""What is fuzzed of datasets and runs: recipes, locks, index, card, rasters, records, checkpoints."""

import datetime as dt
import hashlib
import json
import random
import shutil
from pathlib import Path
from typing import Any

from models.data.dataset import PairDataset
from models.runs import checkpoint, loading
from models.runs.checkpoint import Position
from models.runs.folder import METRICS_FILE
from models.runs.record import RUN_FILE, RunRecord, read_record, write_record
from models.runs.settings import TrainSettings
from models.scaling import Scaling
from models.train.log import _drop_rows_after
from models.zoo import create
from s1s2pairs.build.build import build
from s1s2pairs.build.resume import finished_units
from s1s2pairs.dataset import rasters as raster_files
from s1s2pairs.dataset.dataset import open_dataset
from s1s2pairs.dataset.layout import CARD_FILE, INDEX_FILE, LOCK_FILE
from s1s2pairs.dataset.seal import SEAL_KEY, seal
from s1s2pairs.dataset.storage import Storage
from s1s2pairs.dataset.units import units_of
from s1s2pairs.dataset.verify import verify
from s1s2pairs.plan.choices import Plan, place, rois_of
from s1s2pairs.plan.lock import dump_lock, load, parse_lock
from tests.fuzz.containers import CSV, PARQUET, SAFETENSORS, TIFF
from tests.fuzz.harness import Part, Target
from tests.fuzz.mutate import JSON, mutate_json, some_of
from tests.s1s2pairs.conftest import tiny_recipe
from tests.s1s2pairs.fake_source import FakeOpener

TODAY = dt.date(2026, 1, 1)


def recipes(folder: Path) -> Target:
    """Recipes and locks, as every command reads them."""
    recipe = {
        "type": "FeatureCollection",
        "name": "tiny",
        "s1s2": {
            "patch": {"size": 64, "stride": 32},
            "season": ["06-01", "07-01"],
            "s1_acquisitions": [1, 1],
            "s1_max_lag_days": 3.5,
            "periods": [{"label": "2019", "start": "2019-06-01", "end": "2019-07-01"}],
        },
        "features": [_feature("one", "train", 3.0), _feature("two", "test", 3.02)],
    }
    lock = (_built(folder, rois=("one",)) / LOCK_FILE).read_bytes()
    file = folder / "spoilt.geojson"

    def read(_: str, content: bytes) -> None:
        file.write_bytes(content)
        subject = load(file, default_years=(2019,), today=TODAY)
        for roi in rois_of(subject)[:3]:
            place(roi)
        if isinstance(subject, Plan):
            parse_lock(dump_lock(subject).decode(), file="written again")
            [unit.digest for unit in units_of(subject)]

    parts = {
        "recipe": Part(sound=json.dumps(recipe).encode(), mutator=JSON),
        "lock": Part(sound=json.dumps(json.loads(lock)).encode(), mutator=JSON),
    }
    return Target(name="recipes", parts=parts, read=read)


def _feature(name: str, split: str, west: float) -> dict[str, Any]:
    ring = [[west, 45.0], [west + 0.01, 45.0], [west + 0.01, 45.01], [west, 45.01], [west, 45.0]]
    outline = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "properties": {"name": name, "split": split}, "geometry": outline}


def _built(folder: Path, *, rois: tuple[str, ...] = ("one", "two")) -> Path:
    """Build a dataset of tiny places over the fake source."""
    out = folder / "built"
    splits = ("train", "test")
    recipe = tiny_recipe({name: {"split": split} for name, split in zip(rois, splits, strict=False)})
    build(recipe, opener=FakeOpener(folder=str(folder / "notes")), out=str(out))
    return out


def indexes(folder: Path) -> Target:
    """Index and card of a dataset, as training, verification and reports read them."""
    root = _built(folder)
    with_toy()
    task = create("toy", {"s2_bands": "B4,B8"}).task
    sound = {name: (root / name).read_bytes() for name in (INDEX_FILE, CARD_FILE)}

    plan, storage = open_dataset(root).plan, Storage(str(root))
    units = units_of(plan)

    def read(part: str, content: bytes) -> None:
        try:
            (root / part).write_bytes(content)
            dataset = open_dataset(root)
            _ = dataset.periods, dataset.s1_bands, dataset.s2_bands
            verify(root, workers=1)
            finished_units(units, existing=plan, storage=storage)
            if part == CARD_FILE:
                _ = dataset.card, dataset.card.get("creditText")
            else:
                PairDataset(dataset, task, split="train", scaling=Scaling())
        finally:
            (root / part).write_bytes(sound[part])
            shutil.rmtree(root / ".cache", ignore_errors=True)

    parts = {
        INDEX_FILE: Part(sound=sound[INDEX_FILE], mutator=PARQUET),
        CARD_FILE: Part(sound=sound[CARD_FILE], mutator=some_of((1, JSON), (2, _sealed)), weight=0.6),
    }
    return Target(name="indexes", parts=parts, read=read)


def _sealed(rng: random.Random, content: bytes) -> bytes:
    """Spoil a card, and seal it as if it were sound."""
    spoilt = mutate_json(rng, content)
    try:
        card = json.loads(spoilt)
        return seal({key: value for key, value in card.items() if key != SEAL_KEY})
    except (ValueError, RecursionError, AttributeError):
        return spoilt


def own_rasters(folder: Path) -> Target:
    """Rasters and patches of a dataset."""
    root = _built(folder, rois=("one",))
    unit = next(iter(units_of(open_dataset(root).plan)))
    _, patch = next(iter(unit.patch_paths()))
    sound = {"raster.tif": (root / unit.raster_path).read_bytes(), "patch.tif": (root / patch).read_bytes()}
    storage = Storage(str(folder))

    def read(part: str, content: bytes) -> None:
        (folder / part).write_bytes(content)
        raster_files.digest_of(content)
        with raster_files.opened_in(storage, part) as file:
            raster_files.mismatch(file, grid=unit.choices.grid, layout=unit.layout)
            file.read()
        raster_files.decode(content, name=part)

    return Target(
        name="own-rasters", parts={name: Part(sound=text, mutator=TIFF) for name, text in sound.items()}, read=read
    )


def _checkpoint(folder: Path) -> dict[str, bytes]:
    """Save a small network with its optimizers; return the files."""
    import torch

    torch.manual_seed(0)
    translator = create(_NETWORK, _SMALL)
    optimizers = translator.optimizers(fused=False)
    for part, optimizer in optimizers.items():
        for parameter in translator.get_submodule(part).parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    checkpoint.save(
        folder,
        network=_NETWORK,
        translator=translator,
        optimizers=optimizers,
        scaling=Scaling(),
        position=Position(epoch=1, step=6, best_value=0.25, best_step=4),
    )
    return {path.name.split("-")[0]: path.read_bytes() for path in folder.iterdir()}


_NETWORK, _SMALL = "toy", {"width": "2"}


def checkpoints(folder: Path) -> Target:
    """Checkpoints: their JSON, weights and optimizer states."""
    with_toy()
    sound = _checkpoint(folder / "last")
    text = json.loads(sound[checkpoint.JSON_NAME])
    files = {"weights": text["files"]["weights"], "optimizers": text["files"]["optimizers"]}

    def read(part: str, content: bytes) -> None:
        try:
            where = folder / "last"
            (where / files.get(part, part)).write_bytes(content)
            if part in files:  # what is of another size or hash is refused before it is read
                hashes = {**text["sha256"], part: hashlib.sha256(content).hexdigest()}
                sized = {**text, "sizes_bytes": {**text["sizes_bytes"], part: len(content)}, "sha256": hashes}
                (where / checkpoint.JSON_NAME).write_text(json.dumps(sized))
            loaded = loading.load_translator(where, device="cpu")
            loading.load_optimizers(where, loaded.checkpoint, loaded.translator.optimizers(fused=False))
        finally:
            (where / files.get(part, part)).write_bytes(sound[part])
            (where / checkpoint.JSON_NAME).write_bytes(sound[checkpoint.JSON_NAME])

    parts = {
        checkpoint.JSON_NAME: Part(sound=sound[checkpoint.JSON_NAME], mutator=JSON, weight=2.0),
        **{name: Part(sound=sound[name], mutator=SAFETENSORS) for name in files},
    }
    return Target(name="checkpoints", parts=parts, read=read)


def with_toy() -> None:
    """Put the network of the tests into the zoo of this process."""
    from models import networks

    toy = str(Path(__file__).parents[1] / "models" / "toy")
    if toy not in networks.__path__:
        networks.__path__.append(toy)


def runs(folder: Path) -> Target:
    """What lies beside a run's checkpoints: its record with its settings, its log."""
    record = RunRecord(
        network="toy",
        seed=0,
        task={"name": "toy"},
        config={"width": 4},
        training=TrainSettings(max_steps=8, crop=32, clip_norm=1.0, workers=0),
        scaling=Scaling(),
        dataset="/data/tiny",
        dataset_sha256="0" * 64,
        samples={"train": 8},
        best_by="lowest validation L1",
        device="cpu",
        precision="32-true",
        processes=1,
        started_at="2026-01-01T00:00:00+00:00",
        versions={"python": "3.12"},
        git={"commit": "0" * 40, "changed": False},
        resumed=({"at": "2026-01-02T00:00:00+00:00", "step": 4},),
        result={"steps": 8},
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_record(folder, record)
    log = b"step,epoch,split,metric,value\r\n2,1,train,l1,0.5\r\n4,1,val,l1,0.25\r\n8,2,val,l1,0.125\r\n"

    def read(part: str, content: bytes) -> None:
        (folder / part).write_bytes(content)
        if part == RUN_FILE:
            found = read_record(folder)
            write_record(folder, found)
        else:
            _drop_rows_after(folder / METRICS_FILE, 4)

    parts = {
        RUN_FILE: Part(sound=(folder / RUN_FILE).read_bytes(), mutator=JSON),
        METRICS_FILE: Part(sound=log, mutator=CSV, weight=0.5),
    }
    return Target(name="runs", parts=parts, read=read)
