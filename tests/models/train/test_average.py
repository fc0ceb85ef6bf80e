"""The moving average of the weights: its numbers, who predicts with it, and that it survives a run that is resumed."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from models.data.dataset import PairDataset
from models.runs import checkpoint
from models.runs.loading import load_translator
from models.scaling import Scaling
from models.train.average import Average
from models.train.validation import validate
from s1s2pairs.errors import RunError
from tests.refusals import refuses

from .helpers import Toy, assert_close, assert_same, figures, tensors
from .test_resume import on_two_processes


class WithStatistics(nn.Module):
    """Just enough of a translator: weights, and batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))


@pytest.mark.parametrize("ema", [0.5, 0.999])
def test_it_is_the_formula_and_has_the_latest_buffers(ema: float) -> None:
    torch.manual_seed(0)
    network = WithStatistics()
    average = Average(network, ema, None)
    expected = {name: weight.detach().double() for name, weight in network.named_parameters()}
    for step in range(30):
        network.part(torch.randn(2, 2, 8, 8))
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(torch.randn_like(weight))
        average.update(step)
        keep = min(ema, (1 + step) / (10 + step))
        for name, weight in network.named_parameters():
            expected[name] = keep * expected[name] + (1 - keep) * weight.detach().double()
    found, latest = average.state_dict(), network.state_dict()
    assert found.keys() == latest.keys()
    for name, value in found.items():
        if name in expected:
            torch.testing.assert_close(value.double(), expected[name], atol=1e-5, rtol=0)
            assert not torch.equal(value, latest[name])
        else:
            assert torch.equal(value, latest[name]), name
    assert int(found["part.1.num_batches_tracked"]) == 30


def test_a_network_has_its_own_weights_back_whatever_happens() -> None:
    network = WithStatistics()
    average = Average(network, 0.9, None)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    with torch.no_grad():
        network.part[0].weight.zero_()
    seen = []

    def fail() -> None:
        with average.in_place():
            seen.append(network.part[0].weight.clone())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(seen[0], before["part.0.weight"])
    assert not network.part[0].weight.any()


def test_a_run_keeps_the_average_of_the_weights_after_each_step(toys: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Tensor]] = []
    update = Average.update

    def spy(self: Average, step: int) -> None:
        seen.append({name: weight.clone() for name, weight in self._translator.state_dict().items()})
        update(self, step)

    monkeypatch.setattr(Average, "update", spy)
    run = toys("run", ema=0.6).run
    assert len(seen) == 8
    torch.manual_seed(0)
    from models import zoo

    expected = zoo.create("toy").state_dict()
    for step, weights in enumerate(seen):
        keep = min(0.6, (1 + step) / (10 + step))
        expected = {name: keep * expected[name] + (1 - keep) * weights[name] for name in expected}
    assert_close(tensors(run, "average"), expected)
    assert_same(tensors(run), seen[-1])
    assert_same(tensors(run), tensors(toys("plain").run))  # the average has no say in what is learned


def test_it_predicts_in_validation_and_wherever_a_run_is_loaded(toys: Toy) -> None:
    run = toys("run", ema=0.9, learning_rate=0.05).run
    loaded = load_translator(run, "last", device="cpu").translator
    assert_same(loaded.state_dict(), tensors(run, "average"))
    data = PairDataset(toys.dataset, loaded.task, split="val", scaling=Scaling())

    def l1() -> float:
        found = validate(loaded, data, torch.device("cpu"), rank=0, world_size=1, add_up=lambda values: values)
        return found["l1"]

    assert l1() == pytest.approx(figures(run, "l1")[8], rel=1e-6)
    loaded.load_state_dict(tensors(run))
    assert l1() != pytest.approx(figures(run, "l1")[8], rel=1e-4)


@pytest.mark.parametrize("stopped_after", [1, 4, 6])
def test_resumed_equals_undisturbed(toys: Toy, stopped_after: int) -> None:
    settings = {"ema": 0.99, "dropout": 0.5, "crop": 32}
    whole = toys("whole", **settings).run
    part = toys("part", **settings, max_steps=stopped_after).run
    toys("part", resume=part, max_steps="none")
    for kind in ("weights", "average", "optimizers"):
        assert_same(tensors(part, kind), tensors(whole, kind))
    assert figures(part, "l1")[8] == figures(whole, "l1")[8]


def test_two_processes_keep_the_average_of_one_with_the_double_batch(toys: Toy, tmp_path: Path) -> None:
    one = toys("one", batch_size=4, ema=0.9).run
    on_two_processes(toys.dataset, tmp_path / "two", "batch_size=2", "ema=0.9")
    assert_close(tensors(tmp_path / "two", "average"), tensors(one, "average"))
    assert figures(tmp_path / "two", "l1") == pytest.approx(figures(one, "l1"), rel=1e-5)


class TestRefusals:
    def test_a_share_that_is_none(self, toys: Toy) -> None:
        for wrong in (0, 1, -0.1):
            with refuses(RunError, f"ema={float(wrong)}", 0, 1):
                toys("run", ema=wrong)

    def test_a_setting_that_comes_too_late(self, toys: Toy) -> None:
        run = toys("run", max_steps=1).run
        with refuses(RunError, "ema", "patience"):
            toys("run", resume=run, ema=0.9)

    def test_a_damaged_or_missing_average(self, toys: Toy) -> None:
        run = toys("run", max_steps=4, ema=0.9).run
        path = next((run / "checkpoints/last").glob("average-*"))
        content = path.read_bytes()
        path.unlink()  # `best` may be the same file
        path.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
        with refuses(RunError, path, "SHA-256"):
            toys("run", resume=run, max_steps="none")
        with refuses(RunError, path, "SHA-256"):
            load_translator(run, "last", device="cpu")
        document = json.loads((run / "checkpoints/last/checkpoint.json").read_text())
        for kind in ("files", "sizes_bytes", "sha256"):
            del document[kind]["average"]
        (run / "checkpoints/last/checkpoint.json").write_text(json.dumps(document))
        assert checkpoint.read(run / "checkpoints/last").predicts == "weights"
        with refuses(RunError, run / "checkpoints/last/checkpoint.json", "average"):
            toys("run", resume=run, max_steps="none")
