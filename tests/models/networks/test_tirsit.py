"""What is particular to TIRSIT: its dates, losses, mixture, schedule, and that training never reads the target's image."""

import copy
import re
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from models import cost, zoo
from models.networks import tirsit
from models.task import Batch
from models.train.loop import train as train_run
from models.translator import TrainingProgress
from s1s2pairs.errors import RunError
from tests.refusals import refuses

from .conftest import make, make_batch, parameters, train

ENDING = TrainingProgress(step=60, epochs=60.0, share=0.75)


@pytest.mark.parametrize(
    ("name", "settings", "counted"),
    [
        ("tirsit", {}, (5_909_603, 36_513)),
        ("tirsit_swir", {}, (5_908_578, 36_513)),
        ("tirsit", {"guidance": "none"}, (4_169_219, 36_513)),
        ("tirsit", {"adversarial_weight": "0"}, (5_909_603,)),
    ],
)
def test_parameters_at_the_papers_settings(name: str, settings: dict[str, str], counted: tuple[int, ...]) -> None:
    assert tuple(parameters(name, **settings).values()) == counted


def test_its_work_for_two_changes_of_50_px() -> None:
    with torch.device("meta"):
        model = zoo.create("tirsit")
        gmac, _ = cost._work(model, cost.random_batch(model.task, side=50, device="meta"))
    assert gmac == pytest.approx(2 * 0.12, abs=0.01)


def test_the_settings_of_both_translations_are_the_papers() -> None:
    radar, swir = zoo.create("tirsit").config, zoo.create("tirsit_swir").config
    both = {"width": 32, "epochs": 80, "batch_size": 16, "eta": 0.5, "kappa": 10.0, "adversarial_weight": 1e-3}
    for config, own in ((radar, (2.0, 51, 5e-4)), (swir, (5.0, 11, 2e-3))):
        values = config.values()
        assert both.items() <= values.items()
        assert (values["uniqueness_weight"], values["smoothing_px"], values["learning_rate"]) == own
        assert config.training_defaults == {"crop": 50, "orders": "all"}
    assert zoo.create("tirsit", swir.values()).config == swir
    assert zoo.create("tirsit_swir", {"uniqueness_weight": 0}).config.values()["uniqueness_weight"] == 0


def test_sixty_epochs_and_twenty_at_half_the_rate() -> None:
    model = make("tirsit")
    for part in model.parts:
        factors = [
            model.learning_rate_factor(part, TrainingProgress(step=epoch, epochs=epoch, share=epoch / 80))
            for epoch in range(80)
        ]
        assert factors == [1.0] * 60 + [0.5] * 20


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("tirsit", ["s1_t2", "s1_t1", "s2_t1", "s1_t3", "s2_t3", "s2_t2"]),
        ("tirsit_swir", ["s2_t2", "s2_t1", "swir_t1", "s2_t3", "swir_t3", "swir_t2"]),
    ],
)
def test_three_dates_with_the_target_in_the_middle(name: str, keys: list[str]) -> None:
    task = make(name).task
    assert [stack.key for stack in task.stacks] == keys
    assert (task.n_periods, [stack.date for stack in task.earlier_targets]) == (3, [0, 2])


# ---- The mixture (eq. 8 to 12) -------------------------------------------------------------------------------------


def _smoothed_by_loops(image: np.ndarray, present: np.ndarray, side: int) -> np.ndarray:
    """Means over the squares around each pixel of the (y, x) that are present."""
    margin = side // 2
    image, present = (np.pad(values, margin, mode="reflect") for values in (image, present))
    smoothed = np.zeros(np.subtract(image.shape, 2 * margin))
    for row, column in np.ndindex(smoothed.shape):
        window = (slice(row, row + side), slice(column, column + side))
        if present[window].any():
            smoothed[row, column] = image[window][present[window]].mean()
    return smoothed


@pytest.mark.parametrize(("references", "side", "hole"), [(2, 5, False), (2, 5, True), (2, 51, True), (3, 3, True)])
def test_the_weights_by_loops(references: int, side: int, hole: bool) -> None:
    rng, kappa = np.random.default_rng(0), 10.0
    source, *others = rng.uniform(-1, 1, size=(references + 1, 2, 3, 12, 9))
    if hole:
        source[0, :, 2:5, :] = 0.0
        others[1][1, :, :7, :7] = 0.0
    weights = tirsit.mixing_weights(
        torch.from_numpy(source), [torch.from_numpy(o) for o in others], kappa, side
    ).numpy()
    for image in range(2):
        smoothed = []
        for other in others:
            difference = np.abs(source[image] - other[image]).mean(axis=0) / 2  # on [0, 1]
            present = (source[image] != 0).any(axis=0) & (other[image] != 0).any(axis=0)
            smoothed.append(_smoothed_by_loops(difference, present, side))
        for j in range(references):
            # one over one and the others' terms of equation 11
            expected = 1 / sum(np.exp(-kappa * (smoothed[k] - smoothed[j])) for k in range(references))
            np.testing.assert_allclose(weights[image, j], expected, rtol=1e-9)


def test_the_more_alike_source_counts_more() -> None:
    source, near, far = torch.full((1, 2, 8, 8), 0.5), torch.full((1, 2, 8, 8), 0.4), torch.full((1, 2, 8, 8), -0.3)
    weights = tirsit.mixing_weights(source, [far, near], 10.0, 3)
    torch.testing.assert_close(weights[0, 1], torch.full((8, 8), 1 / (1 + np.exp(-10 * (0.4 - 0.05)))).float())


@pytest.mark.parametrize(("fusion", "references"), [("local", 2), ("mean", 2), ("local", 3)])
def test_what_follows_from_each_reference_is_mixed(fusion: str, references: int) -> None:
    model = make("tirsit", fusion=fusion, references=str(references), smoothing_px="5").eval()
    batch = make_batch(model)
    dates = [1, 3, 4][:references]
    reached = []
    for date in dates:
        change = (batch["s1_t2"] - batch[f"s1_t{date}"]) / 2
        translated = model.get_submodule("generator")(change, batch[f"s2_t{date}"])
        reached.append(batch[f"s2_t{date}"] + 2 * translated)
    weights = torch.full((2, references, 1, 1), 1 / references)
    if fusion == "local":
        weights = tirsit.mixing_weights(batch["s1_t2"], [batch[f"s1_t{date}"] for date in dates], 10.0, 5)
    expected = sum(weights[:, [number]] * image for number, image in enumerate(reached))
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(model(batch).mean, expected.clamp(-1, 1), atol=1e-6, rtol=0)


class _Perfect(nn.Module):
    """Translates each change to itself."""

    def forward(self, change: Tensor, guide: Tensor) -> Tensor:
        assert guide.shape == change.shape
        return change


def _same_in_both(model: tirsit.Network, batch: Batch) -> Batch:
    """A batch whose targets are its sources."""
    stacks = model.task.stacks
    sources = {stack.date: batch[stack.key] for stack in stacks if stack.sensor == "s1"}
    return batch | {stack.key: sources[stack.date] for stack in stacks if stack.sensor == "s2"}


@pytest.mark.parametrize("references", [2, 3])
def test_a_perfect_translation_has_no_loss_and_reaches_the_target(references: int) -> None:
    """With the sign of T_jk as printed in equation 6 the uniqueness loss would be large."""
    model = make("tirsit", references=str(references), s2_bands="B4,B3", adversarial_weight="0")
    assert isinstance(model, tirsit.Network)
    model.generator = _Perfect()  # type: ignore[assignment]
    batch = _same_in_both(model, make_batch(model))
    ((_, loss),) = model.training_step(batch)
    assert float(loss) == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(model(batch).mean, batch["s2_t2"])


# ---- The losses (eq. 5 to 7) ---------------------------------------------------------------------------------------


def _mean_square_by_loops(one: Tensor, other: Tensor, valid: Tensor) -> float:
    """Mean of the squares over the valid pixels of each image and band, averaged over both."""
    means = []
    for image in range(len(one)):
        for band in range(one.shape[1]):
            squares = [
                float(one[image, band, row, column] - other[image, band, row, column]) ** 2
                for row, column in np.argwhere(valid[image, 0].numpy())
            ]
            means.append(sum(squares) / len(squares))
    return sum(means) / len(means)


@pytest.mark.parametrize(("name", "references"), [("tirsit", 2), ("tirsit_swir", 2), ("tirsit", 3)])
def test_the_losses_by_loops(name: str, references: int) -> None:
    model = make(name, references=str(references)).eval()  # so that an image does not depend on the others of its batch
    batch, config = make_batch(model, invalid=True), model.config
    assert isinstance(config, tirsit.Config)
    source = {date: batch[config.source(date).key] for date in range(references + 1)}
    target = {date: batch[config.target(date).key] for date in range(references + 1) if date != 1}

    def translated(a: int, b: int) -> Tensor:
        change: Tensor = model.get_submodule("generator")((source[a] - source[b]) / 2, target[b])
        return change.detach()

    pairs = list(combinations(target, 2))
    reconstruction = [
        _mean_square_by_loops(translated(j, k), (target[j] - target[k]) / 2, batch["valid"]) for j, k in pairs
    ]
    uniqueness = [
        _mean_square_by_loops(translated(1, j) - translated(1, k), (target[k] - target[j]) / 2, batch["valid"])
        for j, k in pairs
    ]
    yielded = dict(model.training_step(batch))
    assert list(yielded) == ["discriminator", "generator"]
    logged = {key: float(value) for key, value in model.logged.items()}
    assert logged["reconstruction"] == pytest.approx(np.mean(reconstruction), rel=1e-4)
    assert logged["uniqueness"] == pytest.approx(np.mean(uniqueness), rel=1e-4)
    weight = 2.0 if name == "tirsit" else 5.0
    total = logged["reconstruction"] + weight * logged["uniqueness"] + 1e-3 * logged["adversarial"]
    assert float(yielded["generator"].detach()) == pytest.approx(total, rel=1e-5)


def _cross_entropy(logits: Tensor, truth: float, valid: Tensor) -> Tensor:
    """Weighed by the share of valid pixels in the cell of each logit."""
    share = functional.adaptive_avg_pool2d(valid.float(), logits.shape[-2:])
    entropy = functional.softplus(-logits if truth else logits)
    return ((share * entropy).sum((1, 2, 3)) / share.sum((1, 2, 3))).mean()


def test_five_steps_equal_those_by_hand() -> None:
    model = make("tirsit", seed=5)
    twin, batch = copy.deepcopy(model), make_batch(model, invalid=True)
    log = train(model, batch, 5)
    generator, discriminator = twin.get_submodule("generator"), twin.get_submodule("discriminator")
    optimizers = [
        torch.optim.Adam(part.parameters(), lr=5e-4, betas=(0.5, 0.999)) for part in (generator, discriminator)
    ]
    s_i, s_j, t_j, s_k, t_k, _ = (batch[stack.key] for stack in model.task.stacks)
    s_jk, t_jk, valid = (s_j - s_k) / 2, (t_j - t_k) / 2, batch["valid"]
    for step in range(5):
        both = generator(torch.cat([s_jk, (s_i - s_j) / 2, (s_i - s_k) / 2]), torch.cat([t_k, t_j, t_k]))
        made, from_j, from_k = both.chunk(3)
        real, fake = (torch.cat([s_jk, image.masked_fill(~valid, 0.0)], dim=1) for image in (t_jk, made))
        judging = 0.5 * (
            _cross_entropy(discriminator(real), 1, valid) + _cross_entropy(discriminator(fake.detach()), 0, valid)
        )
        optimizers[1].zero_grad()
        judging.backward()
        optimizers[1].step()
        pixels = valid.sum((2, 3)).expand(2, 3)
        squares = [(made - t_jk).square(), (from_j - from_k - (t_k - t_j) / 2).square()]
        rec, con = (((square * valid).sum((2, 3)) / pixels).mean() for square in squares)
        optimizers[0].zero_grad()
        whole = rec + 2 * con + 1e-3 * _cross_entropy(discriminator(fake), 1, valid)
        whole.backward()
        optimizers[0].step()
        assert log[step]["generator_loss"] == pytest.approx(float(whole.detach()), rel=1e-4)
        assert log[step]["discriminator_loss"] == pytest.approx(float(judging.detach()), rel=1e-4)
    expected = twin.state_dict()
    for key, value in model.state_dict().items():
        # What a bias adds, the norm after it takes away: its gradient is rounding noise, which Adam follows.
        if not re.search(r"((source|guide)\.[1-4]|levels\.\d)\.(0\.bias|1\.running_mean)", key):
            torch.testing.assert_close(value, expected[key], atol=1e-5, rtol=1e-4, msg=key)


def test_near_the_end_the_discriminator_judges_but_learns_no_more() -> None:
    model = make("tirsit")
    batch = make_batch(model)
    model.progress = ENDING
    ((part, _),) = model.training_step(batch)
    assert part == "generator"
    assert model.logged.keys() == {"reconstruction", "uniqueness", "adversarial"}


@pytest.mark.parametrize(
    "settings", [{}, {"uniqueness_weight": "0"}, {"adversarial_weight": "0"}, {"guidance": "none"}]
)
def test_what_training_reads_of_the_target_date(settings: dict[str, str]) -> None:
    """The source's image, for the uniqueness constraint alone; of the target's neither pixels nor mask."""
    logs = []
    for changed in (None, "s2_t2", "target_valid", "s1_t2"):
        model = make("tirsit", **settings)
        batch = make_batch(model, invalid=True)
        if changed:
            batch[changed] = batch[changed].flip(3)
        logs.append(train(model, batch, 2))
    assert logs[0] == logs[1] == logs[2]
    assert (logs[0] == logs[3]) is (settings == {"uniqueness_weight": "0"})


def test_the_ablations_take_away_what_they_say() -> None:
    whole, alone = make("tirsit"), make("tirsit", guidance="none", uniqueness_weight="0", adversarial_weight="0")
    batch = make_batch(alone)
    assert [part for part, _ in alone.training_step(batch)] == ["generator"] == list(alone.parts)
    assert alone.logged.keys() == {"reconstruction"}
    generator = alone.get_submodule("generator")
    noise = torch.rand_like(batch["s2_t1"])
    assert torch.equal(generator(batch["s1_t1"], batch["s2_t1"]), generator(batch["s1_t1"], noise))
    generator = whole.get_submodule("generator")
    assert not torch.equal(generator(batch["s1_t1"], batch["s2_t1"]), generator(batch["s1_t1"], noise))


@pytest.mark.parametrize("guidance", ["none", "concat", "film", "cin"])
def test_every_guidance_trains(guidance: str) -> None:
    model = make("tirsit", guidance=guidance, learning_rate="3e-3")
    log = train(model, make_batch(model), 20)
    assert log[-1]["reconstruction"] < 0.7 * log[0]["reconstruction"]
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"references": "1"}, ("references=1", 2)),
        ({"smoothing_px": "10"}, ("smoothing_px=10", "odd")),
        ({"smoothing_px": "-3"}, ("smoothing_px=-3",)),
        ({"eta": "1"}, ("eta=1.0",)),
        ({"finishing_share": "1"}, ("finishing_share=1.0",)),
        ({"kappa": "0"}, ("kappa=0.0",)),
        ({"uniqueness_weight": "-2"}, ("uniqueness_weight=-2.0",)),
        ({"guidance": "bft"}, ("guidance", "mask", "none", "concat", "film", "cin")),
        ({"translation": "visible_to_swir", "s2_bands": "B4,B11"}, ("B11",)),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, str], named: tuple[object, ...]) -> None:
    with refuses(RunError, *named):
        zoo.create("tirsit", settings)


def test_patches_of_any_size_but_tiny_ones() -> None:
    model = make("tirsit").eval()
    for side in (8, 50, 70):
        batch = make_batch(model)
        batch = {
            key: value[..., :1, :1].expand(-1, -1, side, side) if value.ndim == 4 else value
            for key, value in batch.items()
        }
        assert model(batch).mean.shape == (2, 3, side, side)
        assert torch.stack([loss.detach() for _, loss in model.training_step(batch)]).isfinite().all()
    with refuses(RunError, "7 x 7", 8):
        model({key: value[..., :7, :7] if value.ndim == 4 else value for key, value in batch.items()})


# ---- With the loop -------------------------------------------------------------------------------------------------


def _trained(dataset: Path, out: Path, **settings: object) -> dict[str, Tensor]:
    given = {"width": "4", "batch_size": "2", "workers": "0", "pictures": "0", "crop": "24", "epochs": "2"}
    given |= {key: str(value) for key, value in settings.items()}
    train_run("tirsit", dataset, out=out, settings=given, device="cpu", quiet=True)
    return load_file(next(out.glob("checkpoints/last/weights-*")))


def test_trained_on_the_scene_itself_the_targets_image_changes_nothing(
    make_dataset: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The paper's way: one scene, no val split to choose a checkpoint by, the target's date always in the middle."""
    how = {"size": 32, "splits": ("train",), "rois": 1, "periods": ("2019", "2020", "2021")}
    scene = make_dataset(tmp_path / "scene", **how)
    as_it_was = make_dataset.__globals__["patch_values"]

    def another_target(*args: object, changed: bool, holes: bool) -> tuple[np.ndarray, np.ndarray]:
        radar, optical = as_it_was(*args, changed=changed, holes=holes)
        if changed:  # in the middle period
            optical[:6] = np.where(optical[:6] > 0, 10_000 - optical[:6], 0)
        return radar, optical

    monkeypatch.setitem(make_dataset.__globals__, "patch_values", another_target)
    hidden = make_dataset(tmp_path / "hidden", **how)
    trained = [_trained(data, tmp_path / f"run-{data.name}", orders="two_way") for data in (scene, hidden)]
    assert all(torch.equal(trained[0][key], trained[1][key]) for key in trained[0])
    trained = [_trained(data, tmp_path / f"all-{data.name}", orders="all") for data in (scene, hidden)]
    assert not all(torch.equal(trained[0][key], trained[1][key]) for key in trained[0]), "the datasets do differ"
