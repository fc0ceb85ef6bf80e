"""What is particular to CycleGAN: its losses, its step, its pools, and what it takes for unpaired."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from models import zoo
from models.blocks.losses import patch_weight
from models.networks import cyclegan
from models.scaling import Scaling
from models.task import Batch, Stack
from models.train.loop import train as train_run
from models.translator import TrainingProgress
from s1s2pairs.errors import RunError
from tests.refusals import refuses

from .conftest import make, make_batch, train

COLOURS = {"radar_as": "pseudo_colour", "lambda_identity": "0.5"}


@pytest.mark.parametrize(
    ("settings", "counted"),
    [({}, (11_375_043, 11_375_042, 2_764_737, 2_763_713)), (COLOURS, (11_378_179, 11_378_179, 2_764_737, 2_764_737))],
)
def test_parameters_at_the_papers_settings(settings: dict[str, str], counted: tuple[int, ...]) -> None:
    parts = ("generators.to_optical", "generators.to_radar", "optical_discriminator", "radar_discriminator")
    for name in ("cyclegan", "s_cyclegan"):
        with torch.device("meta"):
            model = zoo.create(name, settings)
        assert tuple(zoo.count_parameters(model, part) for part in parts) == counted


def test_the_settings_are_its_authors() -> None:
    model = zoo.create("cyclegan", {"width": "2"})
    values = model.config.values()
    assert (values["learning_rate"], values["betas"], values["epochs"], values["batch_size"]) == (
        2e-4,
        (0.5, 0.999),
        200,
        1,
    )
    assert (values["lambda_cycle"], values["pool_size"], values["residual_blocks"]) == (10, 50, 9)
    factors = [model.learning_rate_factor("generators", TrainingProgress(epochs=float(epoch))) for epoch in range(200)]
    # 1 - max(0, epoch + 1 - 100) / 101, epochs counted from 0
    assert factors == pytest.approx([1 - max(0, epoch + 1 - 100) / 101 for epoch in range(200)])


@pytest.mark.parametrize(("settings", "paired"), [({}, False), ({"sup_loss": "mse"}, True), ({"sup_loss": "l1"}, True)])
def test_only_a_pixel_loss_needs_pairs(settings: dict[str, str], paired: bool) -> None:
    task = make("cyclegan", **settings).task
    assert task.paired is paired
    assert ([stack.key for stack in task.stacks], task.n_periods) == (["s1_t2", "s2_t2"], 1)


# ---- Losses --------------------------------------------------------------------------------------------------------


def test_least_squares_by_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 2, 3, generator=generator, dtype=torch.float64)
    valid = torch.rand(2, 1, 4, 6, generator=generator) < 0.6
    expected = []
    for image in range(2):
        total = weights = 0.0
        for row, column in np.ndindex(2, 3):
            share = valid[image, 0, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].double().mean()
            total, weights = total + share * (logits[image, 0, row, column] - 1) ** 2, weights + share
        expected.append(total / weights)
    assert float(cyclegan.least_squares(logits, 1.0, valid)) == pytest.approx(float(sum(expected)) / 2, rel=1e-6)


class _Mirror(nn.Module):
    """Translates by turning the sign, both ways."""

    def forward(self, image: Tensor) -> Tensor:
        return -image


def _mirroring(**settings: str) -> tuple[cyclegan.Network, Batch]:
    model = make("cyclegan", **settings)
    assert isinstance(model, cyclegan.Network)
    model.generators.to_optical = model.generators.to_radar = _Mirror()  # type: ignore[assignment]
    return model, make_batch(model, invalid=True)


def _losses(model: cyclegan.Network, batch: Batch) -> dict[str, float]:
    for _ in model.training_step(batch):
        pass
    return {name: float(value) for name, value in model.logged.items()}


def _error(image: Tensor, other: Tensor, valid: Tensor, power: int = 1) -> float:
    """Mean over valid pixels of each image, then over images."""
    errors = (image - other).abs() ** power
    return float(np.mean([errors[n][valid[n].expand_as(errors[n])].double().mean() for n in range(len(errors))]))


def test_there_and_back_is_no_loss_and_the_wrong_image_is() -> None:
    model, batch = _mirroring(s2_bands="B4,B3", lambda_identity="0.5")
    logged = _losses(model, batch)
    assert logged["cycle"] == 0
    valid, other = batch["valid"], batch["target_valid"]
    identity = _error(-batch["s2_t2"], batch["s2_t2"], other) + _error(-batch["s1_t2"], batch["s1_t2"], valid)
    assert logged["identity"] == pytest.approx(identity, rel=1e-5)
    yielded = next(model.training_step(batch))[1]
    assert float(yielded) == pytest.approx(logged["adversarial"] + 10 * 0.5 * identity, rel=1e-5)


@pytest.mark.parametrize(("kind", "power"), [("mse", 2), ("l1", 1)])
def test_the_pixel_loss_compares_both_directions_with_the_pair(kind: str, power: int) -> None:
    model, batch = _mirroring(s2_bands="B4,B3", sup_loss=kind)
    radar, optical, valid = batch["s1_t2"], batch["s2_t2"], batch["valid"]
    expected = _error(-radar, optical, valid, power) + _error(-optical, radar, valid, power)
    logged = _losses(model, batch)
    assert logged[kind] == pytest.approx(expected, rel=1e-5)
    yielded = next(model.training_step(batch))[1]
    assert float(yielded) == pytest.approx(logged["adversarial"] + 10 * expected, rel=1e-5)


def test_pseudo_colours_are_vh_vv_and_their_ratio() -> None:
    scaling, model = Scaling(), make("cyclegan", **COLOURS)
    assert isinstance(model, cyclegan.Network)
    decibels = {"VV": -11.0, "VH": -17.5}
    stack = Stack(sensor="s1", date=1, bands=("VV", "VH"))
    values = torch.tensor([decibels[band] for band in stack.bands])[None, :, None, None].expand(2, -1, 32, 32)
    batch = make_batch(model) | {"s1_t2": scaling.scale(values, stack)}
    seen: list[Tensor] = []
    model.generators.to_optical.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    prediction = model(batch).mean
    cross, co, ratio = seen[0][0, :, 0, 0].tolist()
    assert (cross, co) == pytest.approx([2 * (-17.5 + 32) / 35 - 1, 2 * (-11 + 25) / 35 - 1])
    # The least and the greatest difference of the two bands' ranges are -1 and 1.
    assert ratio == pytest.approx(2 * ((-17.5 + 11) - (-32 - 10)) / ((3 + 25) - (-32 - 10)) - 1, abs=1e-6)
    turned = make("cyclegan", s1_bands="VH,VV", **COLOURS)
    assert torch.equal(turned(batch | {"s1_t2": batch["s1_t2"].flip(1)}).mean, prediction)


# ---- The step and the pool -----------------------------------------------------------------------------------------


class _ImagePool:
    """The pool as CycleGAN's authors wrote it down, with the draws of ours."""

    def __init__(self, size: int) -> None:
        self.size, self.images = size, []

    def query(self, images: list[Tensor]) -> list[Tensor]:
        shown = []
        for image in images:
            place, swap = int(torch.randint(self.size, (1,))), float(torch.rand(1)) < 0.5
            if len(self.images) < self.size:
                self.images.append(image)
                shown.append(image)
            elif swap:
                shown.append(self.images[place])
                self.images[place] = image
            else:
                shown.append(image)
        return shown


def test_the_pool_does_what_its_authors_does() -> None:
    model, pool = make("cyclegan", pool_size="5"), _ImagePool(5)
    assert isinstance(model, cyclegan.Network)
    generator, old = torch.Generator().manual_seed(0), 0
    for step in range(20):
        images = torch.randn(2, 3, 4, 4, generator=generator)
        valid = torch.rand(2, 1, 4, 4, generator=generator) < 0.5
        torch.manual_seed(step)
        shown, shown_valid = model._from_pool("optical_discriminator", images, valid)
        torch.manual_seed(step)
        expected = torch.stack(pool.query(list(torch.cat([images, valid], dim=1))))
        assert torch.equal(torch.cat([shown, shown_valid], dim=1), expected)
        old += int((shown != images).any(dim=(1, 2, 3)).sum())
    assert 10 <= old <= 25, "of the 35 shown when it was full, some half are old"
    assert torch.equal(model.training_state["optical_discriminator_pool"], torch.stack(pool.images))
    assert {key: tuple(value.shape) for key, value in model.training_state.items()} == {
        "optical_discriminator_pool": (5, 4, 4, 4),
        "optical_discriminator_count": (1,),
    }


def test_without_a_pool_nothing_is_remembered() -> None:
    model = make("cyclegan", pool_size="0")
    train(model, make_batch(model), 2)
    assert model.training_state == {}


def _judged(logits: Tensor, truth: float, valid: Tensor) -> Tensor:
    share = patch_weight(valid, logits)
    return ((share * (logits - truth) ** 2).sum((1, 2, 3)) / share.sum((1, 2, 3))).mean()


def _apart(image: Tensor, other: Tensor, valid: Tensor) -> Tensor:
    return (((image - other).abs() * valid).sum((2, 3)) / valid.sum((2, 3))).mean()


@pytest.mark.parametrize("name", ["cyclegan", "s_cyclegan"])
def test_five_steps_equal_those_by_hand(name: str) -> None:
    """Generators first, by the discriminators of the step before; then these, by predictions from before the update."""
    settings = {"s2_bands": "B4,B3", "residual_blocks": "2"}
    model = make(name, seed=5, pool_size="3", **settings)
    twin, batch = copy.deepcopy(model), make_batch(model, invalid=True)
    torch.manual_seed(0)
    log = train(model, batch, 5)
    torch.manual_seed(0)
    there, back = twin.get_submodule("generators.to_optical"), twin.get_submodule("generators.to_radar")
    judges = [twin.get_submodule(f"{kind}_discriminator") for kind in ("optical", "radar")]
    modules = [nn.ModuleList([there, back]), *judges]
    optimizers = [torch.optim.Adam(module.parameters(), lr=2e-4, betas=(0.5, 0.999)) for module in modules]
    pools = [_ImagePool(3), _ImagePool(3)]
    images, masks = [batch["s2_t2"], batch["s1_t2"]], [batch.get("target_valid", batch["valid"]), batch["valid"]]
    for step in range(5):
        made = [there(images[1]), back(images[0])]
        again = [there(made[1]), back(made[0])]
        loss = 10 * sum(_apart(again[n], images[n], masks[n]) for n in (0, 1))
        fakes = [(made[n] * masks[1 - n], masks[1 - n]) for n in (0, 1)]
        loss = loss + sum(_judged(judges[n](fakes[n][0]), 1, fakes[n][1]) for n in (0, 1))
        if name == "s_cyclegan":
            squares = [(made[n] - images[n]).square() * batch["valid"] for n in (0, 1)]
            loss = loss + 10 * sum((square.sum((2, 3)) / batch["valid"].sum((2, 3))).mean() for square in squares)
        optimizers[0].zero_grad()
        loss.backward()
        optimizers[0].step()
        assert log[step]["generators_loss"] == pytest.approx(float(loss.detach()), rel=1e-3)
        for n in (0, 1):
            shown = torch.stack(pools[n].query(list(torch.cat([fakes[n][0].detach(), fakes[n][1]], dim=1))))
            fake, mask = shown[:, :-1], shown[:, -1:]
            optimizers[n + 1].zero_grad()
            real = _judged(judges[n](images[n]), 1, masks[n])
            judging = 0.5 * (real + _judged(judges[n](fake), 0, mask))
            judging.backward()
            optimizers[n + 1].step()
            name_of_loss = f"{('optical', 'radar')[n]}_discriminator"
            assert log[step][name_of_loss] == pytest.approx(float(judging.detach()), rel=1e-3)
    expected = twin.state_dict()
    compared = [key for key in expected if key.endswith("weight")]  # what a bias adds, the instance norm takes away
    assert len(compared) > len(expected) / 3
    for key in compared:
        torch.testing.assert_close(model.state_dict()[key], expected[key], atol=1e-5, rtol=1e-3, msg=key)


def test_each_mask_belongs_to_its_image() -> None:
    """What is invalid in one image has no say, what is valid there but invalid in the other does."""
    model = make("cyclegan")
    batch = make_batch(model, invalid=True)
    hole = ~batch["target_valid"]
    assert not torch.equal(batch["target_valid"], batch["valid"])
    logs = [
        train(make("cyclegan"), batch | {"s2_t2": batch["s2_t2"].masked_fill(where, 0.9)}, 1)
        for where in (torch.zeros_like(hole), hole, ~batch["valid"])
    ]
    assert logs[0] == logs[1]
    assert logs[0] != logs[2]


# ---- With the loop, and refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cyclegan", "s_cyclegan"])
def test_resumed_equals_undisturbed_with_a_full_pool(name: str, tiny_dataset: Path, tmp_path: Path) -> None:
    small = {"width": "2", "residual_blocks": "1", "pool_size": "3", "epochs": "2", "decay_epochs": "1", "crop": "32"}
    small |= {"workers": "0", "pictures": "0", "batch_size": "2"}

    def run(folder: str, *, steps: int | None = None, resume: bool = False) -> Callable[[str], dict[str, Tensor]]:
        out, again = (None, tmp_path / folder) if resume else (tmp_path / folder, None)
        limit = {"max_steps": "none" if steps is None else str(steps)}
        given = limit if resume else small | limit
        train_run(name, tiny_dataset, out=out, resume=again, settings=given, device="cpu", quiet=True)
        last = tmp_path / folder / "checkpoints/last"
        return lambda kind: load_file(next(last.glob(f"{kind}-*.safetensors")))

    whole = run("whole")
    part = run("parts", steps=5)
    assert part("state")["optical_discriminator_count"].tolist() == [[3]]
    parts = run("parts", resume=True)
    for kind in ("weights", "state"):
        expected, found = whole(kind), parts(kind)
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert whole("state")["radar_discriminator_pool"].shape == (1, 3, 3, 32, 32)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"lambda_identity": "0.5"}, ("lambda_identity=0.5", 2, 3, "radar_as=pseudo_colour")),
        ({**COLOURS, "s2_bands": "B4,B3,B2,B8"}, ("lambda_identity=0.5", 3, 4)),
        ({"radar_as": "pseudo_colour", "s1_bands": "VV"}, ("radar_as=pseudo_colour", "s1_bands=VV,VH", "VV")),
        ({"pool_size": "-1"}, ("pool_size=-1",)),
        ({"lambda_cycle": "0"}, ("lambda_cycle=0.0",)),
        ({"sup_loss": "huber"}, ("sup_loss", "none", "mse", "l1")),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, str], named: tuple[object, ...]) -> None:
    with refuses(RunError, *named):
        zoo.create("cyclegan", settings)
