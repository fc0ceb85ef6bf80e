"""Several datasets in one run."""

import hashlib
import json
import logging
from pathlib import Path

import pytest
from rasterio.transform import Affine

from models import zoo
from models.data.dataset import PairDataset
from models.evaluate.evaluate import evaluate
from models.scaling import Scaling
from s1s2pairs.dataset.dataset import open_dataset
from s1s2pairs.dataset.layout import INDEX_FILE
from s1s2pairs.errors import DatasetError, RunError
from tests.models.conftest import write_dataset
from tests.refusals import refuses

from .helpers import Toy, assert_same, figures, record, tensors


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Of other ground: 4 samples in each split."""
    return write_dataset(tmp_path / "other", seed=4, rois=1)


def test_a_run_learns_from_all_and_says_so(toys: Toy, other: Path) -> None:
    run = toys("run", data=[toys.dataset, other]).run
    document = record(run)
    assert document["dataset"] == [str(toys.dataset), str(other)]
    assert document["dataset_sha256"] == [
        hashlib.sha256((root / INDEX_FILE).read_bytes()).hexdigest() for root in (toys.dataset, other)
    ]
    assert document["samples"] == {"train": 12, "val": 12}
    assert document["pixel_sizes_m"] == [10.0]
    assert document["result"]["steps"] == 2 * 6


def test_one_dataset_looks_as_ever(toys: Toy) -> None:
    one, listed = toys("one").run, toys("listed", data=[toys.dataset]).run
    assert record(one)["dataset"] == record(listed)["dataset"] == str(toys.dataset)
    assert isinstance(record(one)["dataset_sha256"], str)
    assert_same(tensors(one), tensors(listed))


def test_validation_is_over_all(toys: Toy, other: Path) -> None:
    """Means over images: those of the datasets, weighted by their images."""
    run = toys("run", data=[toys.dataset, other], epochs=1, select="psnr").run
    each = {
        root: next(
            row.value
            for row in evaluate([run], root, split="val", device="cpu").rows
            if (row.run, row.metric, row.ground, row.direction, row.roi, row.band)
            == ("run", "psnr", "all", "both", None, None)
        )
        for root in (toys.dataset, other)
    }
    assert figures(run, "psnr")[6] == pytest.approx((8 * each[toys.dataset] + 4 * each[other]) / 12, rel=1e-6)


def test_resumed_equals_undisturbed(toys: Toy, other: Path) -> None:
    both = [toys.dataset, other]
    whole = toys("whole", data=both, crop=32).run
    part = toys("part", data=both, crop=32, max_steps=4).run
    toys("part", resume=part, max_steps=9)
    toys("part", resume=part, data=both, max_steps="none")
    assert_same(tensors(part), tensors(whole))
    assert record(part)["dataset"] == record(whole)["dataset"]


def test_runs_on_several_datasets_are_told_apart(toys: Toy, other: Path) -> None:
    runs = [toys("one", max_steps=1).run, toys("two", data=[toys.dataset, other], max_steps=1).run]
    labels = {entry.run: entry.label for entry in evaluate(runs, toys.dataset, device="cpu").entries}
    hashes = [open_dataset(root).sha256[:8] for root in (toys.dataset, other)]
    assert hashes[0] in labels["one"]
    assert "+".join(hashes) in labels["two"]


def test_a_dataset_without_val_split_takes_part_in_training(
    toys: Toy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    more = write_dataset(tmp_path / "more", seed=4, rois=1, splits=("train",))
    with caplog.at_level(logging.WARNING):
        run = toys("run", data=[toys.dataset, more], epochs=1).run
    assert record(run)["samples"] == {"train": 12, "val": 8}
    assert str(more) in caplog.text
    assert "no val split" in caplog.text
    assert str(toys.dataset) not in caplog.text
    assert record(run)["best_by"] == "lowest L1 on the val split"


def test_pixel_sizes_of_all_are_kept(toys: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tests.models.conftest.Affine", lambda *terms: Affine(*terms) * Affine.scale(2))
        coarse = write_dataset(tmp_path / "coarse", seed=4, rois=1)
    run = toys("run", data=[coarse, toys.dataset], max_steps=1).run
    assert record(run)["pixel_sizes_m"] == [10.0, 20.0]


class TestRefusals:
    def test_to_go_on_with_others(self, toys: Toy, other: Path) -> None:
        both = [toys.dataset, other]
        run = toys("run", data=both, max_steps=1).run
        for wrong in ([other, toys.dataset], [toys.dataset], [*both, write_dataset(toys.folder / "third", seed=9)]):
            with refuses(DatasetError, other, *(["SHA-256"] if len(wrong) == 2 else [toys.dataset, len(wrong), 2])):
                toys("run", resume=run, data=wrong, max_steps="none")
        single = toys("single", max_steps=1).run
        with refuses(DatasetError, 2, 1, "--data"):
            toys("single", resume=single, data=both, max_steps="none")

    def test_the_same_twice(self, toys: Toy, tmp_path: Path) -> None:
        with refuses(DatasetError, toys.dataset, "--data"):
            toys("run", data=[toys.dataset, toys.dataset])

    def test_none(self, toys: Toy) -> None:
        run = toys("run", max_steps=1).run
        (run / "run.json").write_text(json.dumps(record(run) | {"dataset": [], "dataset_sha256": []}))
        with refuses(RunError, "--data"):
            toys("run", resume=run, max_steps="none")

    def test_patches_of_other_sizes(self, toys: Toy, tmp_path: Path) -> None:
        small = write_dataset(tmp_path / "small", size=32)
        with refuses(RunError, small, 32, toys.dataset, 64):
            toys("run", data=[toys.dataset, small])


def test_samples_follow_one_another(toys: Toy, other: Path) -> None:
    task = zoo.create("toy").task
    one, two = (PairDataset(root, task, split="train", scaling=Scaling()) for root in (toys.dataset, other))
    both = PairDataset([toys.dataset, other], task, split="train", scaling=Scaling())
    for number in range(12):
        expected = one[number] if number < 8 else two[number - 8]
        assert (both[number]["s1_t2"] == expected["s1_t2"]).all()
