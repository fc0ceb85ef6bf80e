"""Gradients of several batches added up: the same as one batch as large as all together."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models import zoo
from models.data.dataset import PairDataset
from models.data.loader import EpochBatches
from models.runs import checkpoint
from models.runs.settings import TrainSettings
from models.scaling import Scaling
from models.task import Batch
from models.train.loop import train
from models.train.updates import Updates
from models.translator import Translator
from s1s2pairs.errors import RunError
from tests.models.conftest import write_dataset
from tests.refusals import refuses

from .helpers import PLAIN, Toy, assert_close, assert_same, figures, tensors
from .test_resume import on_two_processes


@pytest.mark.parametrize("settings", [{}, {"crop": 32}, {"clip_norm": 0.01, "ema": 0.9}], ids=str)
def test_small_batches_together_equal_the_large_one(toys: Toy, settings: dict[str, object]) -> None:
    """An adversarial network: the generator's losses are judged by the discriminator that all batches have updated."""
    large = toys("large", batch_size=4, epochs=3, decay_epochs=1, **settings).run
    small = toys("small", batch_size=1, accumulate=4, epochs=3, decay_epochs=1, **settings).run
    for kind in ("weights", *(["average"] if "ema" in settings else [])):
        assert_close(tensors(small, kind), tensors(large, kind))
    for metric, split in (("l1", "val"), ("l1", "train"), ("discriminator_loss", "train"), ("generator_loss", "train")):
        assert figures(small, metric, split) == pytest.approx(figures(large, metric, split), rel=1e-4), metric


def test_a_network_that_remembers_does_so_batch_by_batch(toys: Toy) -> None:
    run = toys("run", network="toy_unpaired", batch_size=1, accumulate=4).run
    data = PairDataset(toys.dataset, zoo.create("toy_unpaired").task, split="train", scaling=Scaling())
    assert tensors(run, "state")["before"].shape == (1, 1, 2, 16, 16)
    assert len(data) == 8
    assert checkpoint.read(run / "checkpoints/last").position.step == 4


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("crop", [None, 16])
def test_batches_are_parts_of_the_large_one(tiny_dataset: Path, toys: Toy, processes: int, crop: int | None) -> None:
    data = PairDataset(toys.dataset, zoo.create("toy").task, split="train", scaling=Scaling(), crop=crop)
    for rank in range(processes):
        how = {"seed": 3, "rank": rank, "world_size": processes}
        large = EpochBatches(data, batch_size=4 // processes, **how)
        small = EpochBatches(data, batch_size=1, accumulate=4 // processes, **how)
        assert small.step_samples == large.step_samples == 4
        for large.first in (0, 2, 4, 5, 8):
            small.first = large.first
            assert [draw for batch in small for draw in batch] == [draw for batch in large for draw in batch]
            assert small.left(small.first) == large.left(large.first)
    assert len(list(small)) == 0
    small.first = 0
    assert len(list(small)) == len(small) == 8 // processes


def test_the_log_counts_steps_not_batches(toys: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    settings = PLAIN | {"batch_size": "1", "accumulate": "2"}
    train("toy", toys.dataset, out=toys.folder / "run", settings=settings, device="cpu")
    assert "run: 8 steps on cpu" in capsys.readouterr().err


@pytest.mark.parametrize("stopped_after", [1, 4, 6])
def test_resumed_equals_undisturbed(toys: Toy, stopped_after: int) -> None:
    settings = {"batch_size": 1, "accumulate": 2, "dropout": 0.5, "crop": 32}
    whole = toys("whole", **settings).run
    part = toys("part", **settings, max_steps=stopped_after).run
    saved = checkpoint.read(part / "checkpoints/last").position
    assert (saved.step, saved.epoch * 8 + saved.samples_in_epoch) == (stopped_after, 2 * stopped_after)
    toys("part", resume=part, max_steps="none")
    for kind in ("weights", "optimizers"):
        assert_same(tensors(part, kind), tensors(whole, kind))


def test_two_processes_with_two_batches_each_equal_one_large_batch(toys: Toy, tmp_path: Path) -> None:
    one = toys("one", batch_size=4, clip_norm=0.01).run
    on_two_processes(toys.dataset, tmp_path / "two", "batch_size=1", "accumulate=2", "clip_norm=0.01")
    assert_close(tensors(tmp_path / "two"), tensors(one))


def test_reading_processes_give_the_same(toys: Toy) -> None:
    settings = {"batch_size": 1, "accumulate": 3}
    assert_same(tensors(toys("none", **settings).run), tensors(toys("two", workers=2, **settings).run))


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 256 px and three periods, which every network takes."""
    folder = tmp_path_factory.mktemp("data") / "large"
    return write_dataset(folder, size=256, splits=("train",), rois=1, periods=("2017", "2019", "2021"))


def one_step(translator: Translator, batches: list[Batch]) -> dict[str, Tensor]:
    """Train one step; return the gradients it was taken with."""
    start: Any = SimpleNamespace(translator=translator, training=TrainSettings(), checkpoint=None)
    updates = Updates(Fabric(accelerator="cpu", devices=1), start)
    updates.begin_step()

    def note(*_: object) -> None:
        assert all(weight.requires_grad for weight in translator.parameters()), "a part is frozen while the step yields"

    updates.step(batches, note)
    return {name: weight.grad for name, weight in translator.named_parameters() if weight.grad is not None}


def compares_images(translator: Translator) -> bool:
    """Tell whether a network's layers depend on what else is in a batch, or on chance."""
    return any(isinstance(module, _BatchNorm | nn.Dropout | nn.Dropout2d) for module in translator.modules())


@pytest.mark.parametrize("name", zoo.names())
def test_networks_of_the_zoo_learn_as_from_the_large_batch(name: str, patches: Path) -> None:
    def fresh() -> Translator:
        torch.manual_seed(0)
        return zoo.create(name, {"width": "4"}).train()

    side = max(64, fresh().config.patch_multiple)
    data = PairDataset(patches, fresh().task, split="train", scaling=Scaling(), crop=side)
    raws = (data.read(numbers, [(0, 0)] * len(numbers)) for numbers in ([0, 1], [0], [1]))
    both, *alone = (data.scale(raw, paired=data.task.paired) for raw in raws)
    both, apart = one_step(fresh(), [both]), one_step(fresh(), alone)
    assert both.keys() == apart.keys() != set()
    largest, comparable = max(float(value.abs().max()) for value in both.values()), not compares_images(fresh())
    for key, gradient in apart.items():
        assert torch.isfinite(gradient).all(), key
        if comparable:
            torch.testing.assert_close(gradient, both[key], atol=1e-3 * largest, rtol=1e-3, msg=key)


class TestRefusals:
    def test_less_than_one(self, toys: Toy) -> None:
        with refuses(RunError, "accumulate=0", 1):
            toys("run", accumulate=0)

    def test_more_than_an_epoch_has(self, toys: Toy) -> None:
        with refuses(RunError, 8, 10, "accumulate 5", "batch_size=N"):
            toys("run", batch_size=2, accumulate=5)

    def test_a_change_in_a_run_that_has_begun(self, toys: Toy) -> None:
        run = toys("run", max_steps=1).run
        with refuses(RunError, "accumulate", "epochs"):
            toys("run", resume=run, accumulate=2)

    @pytest.mark.usefixtures("toy_networks")
    def test_updates_that_depend_on_the_batch(self) -> None:
        network = zoo.create("toy")
        step = type(network).training_step

        def moody(batch: Batch) -> Iterator[tuple[str, Tensor]]:
            updates = step(network, batch)
            first = next(updates)
            if int(batch["sample"]) == 0:
                yield first
            yield from updates

        network.training_step = moody  # type: ignore[method-assign]
        image = torch.rand(1, 2, 16, 16)
        batches = [
            {"s2_t2": image, "s1_t1": image[:, :1], "s1_t2": image[:, 1:], "valid": image[:, :1] >= 0, "sample": number}
            for number in (torch.tensor([0]), torch.tensor([1]))
        ]
        with refuses(RunError, "accumulate=2", "discriminator", "generator", "accumulate=1"):
            one_step(network, batches)
