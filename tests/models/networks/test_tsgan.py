"""What is particular to TSGAN and its rivals: their losses, their step, the paper's parameters, attention."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.blocks import losses
from models.networks import tsgan
from models.task import Batch
from models.translator import Translator

from .conftest import make, make_batch, parameters, train

NAMES = ("tsgan", "tsgan_v1", "tsgan_v2", "tsgan_v3", "de_pix2pix", "pix2pix_opt2sar")
PAPER_PARAMETERS = {
    # name, settings: generator, discriminator, as counted in the published networks
    ("tsgan_v1", ()): (89_285_633, 5_542_913),
    ("tsgan_v2", ()): (89_809_921, 5_542_913),
    # 2 x 6 of these were idle where they were published: the key's convolution along the channels, which this network uses
    ("tsgan_v3", ()): (90_030_829, 5_542_913),
    ("tsgan_v1", (("change_maps", "false"),)): (89_272_577, 5_530_625),
    ("de_pix2pix", ()): (89_283_201, 5_542_913),
    ("pix2pix_opt2sar", ()): (54_403_649, 2_767_873),
}


@pytest.mark.parametrize("name", NAMES)
def test_twenty_steps_lower_l1_and_the_discriminators_loss(name: str) -> None:
    translator = make(name, learning_rate="1e-3")
    log = train(translator, make_batch(translator), 20)
    assert log[-1]["l1"] < 0.8 * log[0]["l1"]
    assert log[-1]["discriminator"] < log[0]["discriminator"]


def _change_weighted(prediction: Tensor, target: Tensor, reference: Tensor, gamma: float = 5.0) -> Tensor:
    """Equations 2 to 4 for images without invalid pixels."""
    error, change = (prediction - target).abs(), (target - reference).abs() / 2
    reverse = change.amax((2, 3), keepdim=True) - change + change.amin((2, 3), keepdim=True)
    terms = [(weight * error).sum((2, 3)) / weight.sum((2, 3)) for weight in (reverse, change)]
    return ((terms[0] + gamma * terms[1]) / (1 + gamma)).mean()


def _classical_step(model: Translator, batch: Batch, optimizers: dict[str, torch.optim.Optimizer]) -> None:
    """One step in the order the authors of pix2pix wrote down: predict, update D, then G by the updated D."""
    generator, discriminator = model.get_submodule("generator"), model.get_submodule("discriminator")
    target, valid, conditions = batch["s1_t2"], batch["valid"], [batch["s2_t2"]]
    if "s1_t1" in batch:
        change = (batch["s2_t2"] - batch["s2_t1"]) / 2
        conditions = [torch.cat([batch["s2_t2"], change], 1), torch.cat([batch["s1_t1"], 1 - change.abs()], 1)]
    prediction = generator(*conditions)
    if "s1_t1" in batch:
        l1 = losses.change_weighted_l1(prediction, target, batch["s1_t1"], valid, gamma=5.0)
    else:
        l1 = losses.masked_l1(prediction, target, valid)
    judged = prediction.masked_fill(~valid, 0.0)

    optimizers["discriminator"].zero_grad()
    real, fake = discriminator(target, *conditions), discriminator(judged.detach(), *conditions)
    losses.discriminator_loss(real, fake, valid).backward()
    optimizers["discriminator"].step()

    optimizers["generator"].zero_grad()
    adversarial = losses.adversarial_loss(discriminator(judged, *conditions), valid)
    (adversarial + 100 * l1).backward()
    optimizers["generator"].step()


@pytest.mark.parametrize("name", NAMES)
def test_five_steps_equal_the_classical_order_by_hand(name: str) -> None:
    model = make(name, seed=5)
    twin = copy.deepcopy(model)
    batch = make_batch(model, invalid=True)
    torch.manual_seed(0)
    train(model, batch, 5)
    torch.manual_seed(0)
    optimizers: dict[str, torch.optim.Optimizer] = {
        part: torch.optim.Adam(twin.get_submodule(part).parameters(), lr=1e-4, betas=(0.5, 0.999))
        for part in ("generator", "discriminator")
    }
    for _ in range(5):
        _classical_step(twin, batch, optimizers)
    expected = twin.state_dict()
    assert [key for key, value in model.state_dict().items() if not torch.equal(value, expected[key])] == []


@pytest.mark.parametrize(("name", "settings"), PAPER_PARAMETERS)
def test_parameters_at_the_papers_settings(name: str, settings: tuple[tuple[str, str], ...]) -> None:
    counts = parameters(name, **dict(settings))
    assert tuple(counts) == ("generator", "discriminator")
    assert tuple(counts.values()) == PAPER_PARAMETERS[name, settings]


def test_the_paper_recommends_version_2() -> None:
    assert tsgan.Config().version == "v2"


@pytest.mark.parametrize("name", ["tsgan", "de_pix2pix"])
def test_change_maps_are_the_only_way_the_earlier_optical_image_enters(name: str) -> None:
    for switch, matters in (("true", True), ("false", False)):
        translator = make(name, change_maps=switch).eval()
        batch = make_batch(translator)
        before = translator(batch).mean
        batch["s2_t1"] = -batch["s2_t1"]
        assert torch.equal(translator(batch).mean, before) is not matters


@pytest.mark.parametrize("name", ["tsgan", "de_pix2pix"])
def test_the_change_weighted_loss_can_be_switched_off(name: str) -> None:
    for switch in ("true", "false"):
        translator = make(name, change_weighted_loss=switch)
        batch = make_batch(translator)
        torch.manual_seed(0)
        prediction = translator(batch).mean
        torch.manual_seed(0)
        logged = train(translator, batch, 1)[0]["l1"]
        plain = functional.l1_loss(prediction, batch["s1_t2"])
        weighted = _change_weighted(prediction, batch["s1_t2"], batch["s1_t1"])
        assert logged == pytest.approx(float((weighted if switch == "true" else plain).detach()), abs=1e-6)


@pytest.mark.parametrize("kind", ["cbam", "se"])
def test_channel_attention_by_loops(kind: str) -> None:
    torch.manual_seed(0)
    attention = tsgan.ChannelAttention(32, kind)  # type: ignore[arg-type]
    features = torch.randn(2, 32, 3, 4)
    first, second = attention.shared[0].weight.detach().numpy(), attention.shared[2].weight.detach().numpy()
    assert first.shape[0] == (8 if kind == "cbam" else 2)
    for image, result in zip(features.numpy(), attention(features).detach().numpy(), strict=True):
        pooled = [image.mean((1, 2)), image.max((1, 2))][: 2 if kind == "cbam" else 1]
        score = sum(second @ np.maximum(first @ vector, 0) for vector in pooled)
        np.testing.assert_allclose(result, image * (1 / (1 + np.exp(-score)))[:, None, None], rtol=1e-4, atol=1e-6)


def _softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max())
    return powers / powers.sum()


def _conv1d(vector: np.ndarray, layer: nn.Module) -> np.ndarray:
    """Sigmoid of a 1-D convolution with zero padding."""
    kernel, bias = _weights(layer)
    reach = kernel.shape[-1] // 2
    padded = np.pad(vector, reach)
    sums = [padded[i : i + 2 * reach + 1] @ kernel[0, 0] + bias[0] for i in range(len(vector))]
    return 1 / (1 + np.exp(-np.array(sums)))


def _conv2d(image: np.ndarray, layer: nn.Module, dilation: int = 1) -> np.ndarray:
    """2-D convolution that keeps the size, tap by tap."""
    kernel, bias = _weights(layer)
    reach = kernel.shape[-1] // 2 * dilation
    padded = np.pad(image, ((0, 0), (reach, reach), (reach, reach)))
    height, width = image.shape[1:]
    result = np.zeros((kernel.shape[0], height, width)) + bias[:, None, None]
    for i, j in itertools.product(range(kernel.shape[2]), range(kernel.shape[3])):
        window = padded[:, i * dilation : i * dilation + height, j * dilation : j * dilation + width]
        result += np.tensordot(kernel[:, :, i, j], window, axes=1)
    return result


def _weights(layer: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    state = {key: value.double().numpy() for key, value in layer.state_dict().items()}
    return state["weight"], state["bias"]


def _glam_by_loops(image: np.ndarray, glam: tsgan.GlobalLocalAttention) -> np.ndarray:
    """Equations 15 to 23 for one image (channel, y, x)."""
    channels, height, width = image.shape
    pooled = image.mean((1, 2))
    local = image * _conv1d(pooled, glam.local_channel)[:, None, None] + image
    reduced = _conv2d(image, glam.local_reduce)
    scales = [_conv2d(reduced, layer, dilation) for dilation, layer in enumerate(glam.local_scales, start=1)]
    local = local * _conv2d(np.concatenate([reduced, *scales]), glam.local_place) + local

    query, key = _conv1d(pooled, glam.channel_query), _conv1d(pooled, glam.channel_key)
    mixed = np.zeros_like(image)
    for channel in range(channels):
        weights = _softmax(np.array([query[channel] * key[other] for other in range(channels)]))
        for other in range(channels):
            mixed[channel] += weights[other] * image[other]
    overall = image * mixed

    place_query, place_key, value = (
        _conv2d(image, layer).reshape(-1, height * width)
        for layer in (glam.place_query, glam.place_key, glam.place_value)
    )
    gathered = np.zeros_like(value)
    for place in range(height * width):
        weights = _softmax(np.array([place_query[:, place] @ place_key[:, other] for other in range(height * width)]))
        for other in range(height * width):
            gathered[:, place] += weights[other] * value[:, other]
    overall = overall * _conv2d(gathered.reshape(-1, height, width), glam.place_restore) + overall

    mix = _softmax(glam.mix.detach().double().numpy())
    return mix[0] * local + mix[1] * image + mix[2] * overall


def test_glam_by_loops() -> None:
    torch.manual_seed(0)
    glam = tsgan.GlobalLocalAttention(channels=12, reduced=3)
    nn.init.normal_(glam.mix)
    features = torch.randn(2, 12, 4, 6) * 2
    result = glam(features).detach().numpy()
    for image, attended in zip(features.double().numpy(), result, strict=True):
        np.testing.assert_allclose(attended, _glam_by_loops(image, glam), rtol=1e-4, atol=1e-5)


def test_glam_starts_with_equal_shares() -> None:
    assert functional.softmax(tsgan.GlobalLocalAttention(8, 2).mix, dim=0).tolist() == pytest.approx([1 / 3] * 3)


def test_attention_scales_the_fused_features_for_bottleneck_and_skip_alike() -> None:
    """With its last weights at zero the attention halves every channel; doubling the features before it undoes that."""
    generators = [make(name, seed=2).eval().get_submodule("generator") for name in ("tsgan_v1", "tsgan_v2")]
    plain, attending = generators
    assert isinstance(attending, tsgan.Generator)
    nn.init.zeros_(attending.fuse.shared[2].weight)
    attending.load_state_dict(plain.state_dict(), strict=False)
    images = torch.randn(1, 12, 128, 128), torch.randn(1, 7, 128, 128)
    assert not torch.allclose(plain(*images), attending(*images), atol=1e-3)
    attending.fuse = nn.Sequential(attending.fuse, layers_scale := nn.Identity())
    layers_scale.register_forward_hook(lambda _module, _inputs, output: output * 2)
    torch.testing.assert_close(plain(*images), attending(*images))
