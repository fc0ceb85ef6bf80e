"""The zoo's contract, over every network and alias, and over toys that have next to nothing in common with them.

What is particular to some stands in files of their own. Nothing here asks for a name: what a network has, such as
dropout, a part of its own for judging or a least patch size, is seen in the network or in what it yields.
"""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from models import zoo
from models.task import Batch
from models.translator import Translator
from s1s2pairs.errors import RunError
from tests.refusals import refuses

from .conftest import make, make_batch, target_mask, train

pytestmark = pytest.mark.usefixtures("toy_networks")
every_network = pytest.mark.parametrize("name", [*zoo.names(), *zoo.aliases(), "toy_regressor", "toy_unpaired"])
ALIASES = [pytest.param(name, marks=pytest.mark.torture) for name in zoo.aliases()]
every_network_for_long = pytest.mark.parametrize("name", [*zoo.names(), *ALIASES, "toy_regressor", "toy_unpaired"])
"""What takes long is tried with aliases in `make torture` only."""


def predicting(translator: Translator, batch: Batch) -> list[str]:
    """The parts whose weights have a say in the prediction."""
    translator.zero_grad()
    translator(batch).mean.square().sum().backward()
    return [
        part for part in translator.parts if any(p.grad is not None for p in getattr(translator, part).parameters())
    ]


@every_network
def test_the_prediction_has_the_targets_shape_and_range(name: str) -> None:
    translator = make(name)
    batch = make_batch(translator)
    prediction = translator(batch).mean
    assert prediction.shape == batch[translator.task.target.key].shape
    assert prediction.dtype == torch.float32
    assert prediction.abs().max() <= 1
    assert prediction.detach().std() > 0


@every_network
def test_two_polarisations_and_other_optical_bands_are_a_setting(name: str) -> None:
    translator = make(name, s1_bands="VV,VH", s2_bands="B8,B4")
    batch = make_batch(translator)
    assert translator(batch).mean.shape[1] == 2
    assert np.isfinite(list(train(translator, batch, 1)[0].values())).all()


@every_network
def test_wide_patches_are_fine_and_unfitting_ones_are_refused(name: str) -> None:
    translator = make(name).eval()
    batch, multiple = make_batch(translator), translator.config.patch_multiple
    side = batch["valid"].shape[-1]
    wide = {key: image.repeat(1, 1, 1, 2) if image.ndim == 4 else image for key, image in batch.items()}
    assert translator(wide).mean.shape[-2:] == (side, 2 * side)
    if multiple == 1:
        return
    cut = {key: image[..., :-1] if image.ndim == 4 else image for key, image in batch.items()}
    with refuses(RunError, multiple, side - 1):
        translator(cut)
    with refuses(RunError, multiple, side - 1):
        next(translator.training_step(cut))


@every_network
def test_the_prediction_does_not_read_the_target(name: str) -> None:
    translator = make(name).eval()
    batch = make_batch(translator)
    without = {key: image for key, image in batch.items() if key != translator.task.target.key}
    assert torch.equal(translator(batch).mean, translator(without).mean)


@every_network
def test_every_parameter_learns_from_some_loss(name: str) -> None:
    translator = make(name)
    learned: set[str] = set()
    for part, loss in translator.training_step(make_batch(translator)):
        translator.zero_grad()
        loss.backward()
        prefix = f"{part}."
        for key, parameter in translator.named_parameters():
            # What a bias adds to every key of a query alike, the softmax takes away again: its gradient is zero but for rounding.
            moves = parameter.grad is not None and (bool(parameter.grad.any()) or key.endswith("place_key.bias"))
            if moves and key.startswith(prefix):
                learned.add(key)
    assert learned == {key for key, _ in translator.named_parameters()}


@every_network
def test_no_loss_reaches_the_weights_of_another_part(name: str) -> None:
    translator = make(name)
    for part, loss in translator.training_step(make_batch(translator)):
        translator.zero_grad()
        loss.backward()
        others = [key for key, value in translator.named_parameters() if value.grad is not None and value.grad.any()]
        assert all(key.startswith(f"{part}.") for key in others)
    assert all(parameter.requires_grad for parameter in translator.parameters())


@every_network
def test_every_part_has_an_optimizer_for_all_its_weights(name: str) -> None:
    translator = make(name)
    optimizers = translator.optimizers(fused=False)
    assert tuple(optimizers) == translator.parts
    for part, optimizer in optimizers.items():
        held = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
        assert held == {id(weight) for weight in getattr(translator, part).parameters()}
    assert {key.partition(".")[0] for key, _ in translator.named_parameters()} == set(translator.parts)


@every_network_for_long
def test_twenty_steps_lower_the_loss_of_what_predicts(name: str) -> None:
    translator = make(name, learning_rate="3e-3", width="6")
    batch = make_batch(translator)
    log = train(translator, batch, 20)
    parts = predicting(translator, batch)
    assert parts
    for part in parts:
        assert log[-1][f"{part}_loss"] < 0.7 * log[0][f"{part}_loss"]


@every_network
def test_two_runs_with_one_seed_are_bitwise_equal(name: str) -> None:
    runs = []
    for _ in range(2):
        translator = make(name, seed=7)
        train(translator, make_batch(translator, seed=7), 2)
        runs.append(translator.state_dict())
    assert all(torch.equal(runs[0][key], runs[1][key]) for key in runs[0])
    other = make(name, seed=8).state_dict()
    assert any(not torch.equal(runs[0][key], other[key]) for key in other)


@every_network
def test_weights_survive_the_way_through_a_state_dict(name: str) -> None:
    translator, other = make(name, seed=1).eval(), make(name, seed=2).eval()
    batch = make_batch(translator)
    assert not torch.equal(translator(batch).mean, other(batch).mean)
    other.load_state_dict(copy.deepcopy(translator.state_dict()), strict=True)
    assert torch.equal(translator(batch).mean, other(batch).mean)


@every_network
def test_evaluation_mode_is_deterministic_and_training_mode_drops_out(name: str) -> None:
    translator = make(name)
    batch = make_batch(translator)
    drops_out = any(isinstance(module, nn.Dropout) and module.p > 0 for module in translator.modules())
    assert torch.equal(translator(batch).mean, translator(batch).mean) is not drops_out
    translator.eval()
    assert torch.equal(translator(batch).mean, translator(batch).mean)


@every_network
def test_an_evaluated_image_is_alone_in_its_batch(name: str) -> None:
    """Else a score would depend on the batch size."""
    translator = make(name).eval().double()  # the kernels of single precision round by the batch size
    batch = {
        key: image.double() if image.is_floating_point() else image for key, image in make_batch(translator).items()
    }
    first = {key: image[:1] for key, image in batch.items()}
    torch.testing.assert_close(translator(first).mean, translator(batch).mean[:1], atol=1e-10, rtol=0)


@every_network
def test_invalid_pixels_of_the_target_change_no_loss(name: str) -> None:
    """All of the inputs reaches the losses through what is predicted elsewhere: networks read them, invalid or not."""
    logs = []
    for fill in (0.0, 0.9):
        translator = make(name, seed=3)
        batch = make_batch(translator, invalid=True)
        key = translator.task.target.key
        batch[key] = torch.where(target_mask(batch), batch[key], fill)
        logs.append(train(translator, batch, 2))
    assert logs[0] == logs[1]


@every_network
def test_channels_last_gives_the_same_prediction(name: str) -> None:
    translator = make(name).eval().double()  # single precision would hide a small error behind rounding
    batch = {key: image.double() for key, image in make_batch(translator).items() if image.dtype == torch.float32}
    expected = translator(batch).mean
    moved = {
        key: image.contiguous(memory_format=torch.channels_last) if image.ndim == 4 else image
        for key, image in batch.items()
    }
    torch.testing.assert_close(
        translator.to(memory_format=torch.channels_last)(moved).mean, expected, atol=1e-10, rtol=0
    )
