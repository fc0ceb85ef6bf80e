"""The U-Net of TIRSIT against plain formulas."""

from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.blocks.guided_unet import Guidance, GuidedUNet, feature_mask, mirrored


@pytest.mark.parametrize("margins", [((0, 0), (0, 0)), ((7, 7), (1, 2)), ((4, 5), (0, 3)), ((23, 2), (11, 40))])
@pytest.mark.parametrize("shape", [(6, 5), (2, 9), (1, 4)])
def test_margins_are_mirrored_as_numpy_does(
    margins: tuple[tuple[int, int], tuple[int, int]], shape: tuple[int, int]
) -> None:
    image = np.random.default_rng(0).normal(size=(2, 3, *shape))
    expected = np.pad(image, ((0, 0), (0, 0), *margins), mode="reflect")
    assert np.array_equal(mirrored(torch.from_numpy(image), *margins).numpy(), expected)


@pytest.mark.parametrize("eta", [0.0, 0.5, 0.9])
def test_the_feature_mask_by_loops(eta: float) -> None:
    guide = np.random.default_rng(1).normal(3, 2, size=(2, 3, 4, 5))
    expected = np.empty_like(guide)
    for image in range(2):
        for channel in range(3):
            values = guide[image, channel].ravel().tolist()
            mean = sum(values) / len(values)
            deviation = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
            for place, value in np.ndenumerate(guide[image, channel]):
                normal = (value - mean) / (deviation + 1e-5)  # eq. 1
                expected[(image, channel, *place)] = (1 - eta) / (1 + np.exp(-normal)) + eta  # eq. 2
    np.testing.assert_allclose(feature_mask(torch.from_numpy(guide), eta).numpy(), expected, rtol=1e-12)


def test_a_guide_without_a_pattern_masks_nothing_and_has_gradients() -> None:
    guide = torch.full((1, 2, 3, 3), 0.7, dtype=torch.float64, requires_grad=True)
    mask = feature_mask(guide, 0.5)
    assert torch.equal(mask, torch.full_like(mask, 0.75))
    mask.sum().backward()
    assert guide.grad is not None
    assert guide.grad.isfinite().all()


def _conv(x: Tensor, state: dict[str, Tensor], key: str, *, up: bool = False) -> Tensor:
    layer = functional.conv_transpose2d if up else functional.conv2d
    return layer(x, state[f"{key}.weight"], state[f"{key}.bias"], stride=2, padding=1)


def _normed(x: Tensor, state: dict[str, Tensor], key: str) -> Tensor:
    """Batch norm by the averages of training."""
    mean, variance, scale, shift = (
        state[f"{key}.{name}"][:, None, None] for name in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + 1e-5).sqrt() * scale + shift


def _encoded(x: Tensor, state: dict[str, Tensor], encoder: str, level: int) -> Tensor:
    x = _conv(x, state, f"{encoder}.{level}.0")
    x = _normed(x, state, f"{encoder}.{level}.1") if level else x
    return torch.where(x > 0, x, 0.2 * x)


def _guided(x: Tensor, guide: Tensor, state: dict[str, Tensor], guidance: str, level: int) -> Tensor:
    if guidance == "mask":
        return x * feature_mask(guide, 0.5)
    if guidance == "cin":
        x = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
    pooled = guide.mean((2, 3)) @ state[f"modulations.{level}.weight"].T + state[f"modulations.{level}.bias"]
    channels = x.shape[1]
    return x + pooled[:, :channels, None, None] * x + pooled[:, channels:, None, None]


@pytest.mark.parametrize("guidance", get_args(Guidance))
def test_the_network_by_hand(guidance: Guidance) -> None:
    """50 px become 64 px; the guided features go on and into the skips, the guide's own go on as they are."""
    torch.manual_seed(0)
    network = GuidedUNet(2, 3, 4, guidance=guidance, eta=0.5).double()
    change, guide = (torch.rand(2, bands, 50, 50, dtype=torch.float64) * 2 - 1 for bands in (2, 3))
    network(change, guide)  # gathers averages that are not those of a new network
    network.eval()
    state = network.state_dict()

    x, g = (
        torch.from_numpy(np.pad(i.numpy(), ((0, 0), (0, 0), (7, 7), (7, 7)), mode="reflect")) for i in (change, guide)
    )
    if guidance == "concat":
        x = torch.cat([x, g], dim=1)
    features = []
    for level in range(5):
        x = _encoded(x, state, "source", level)
        if guidance in ("mask", "film", "cin"):
            g = _encoded(g, state, "guide", level)
            x = _guided(x, g, state, guidance, level)
        features.append(x)
    assert features[-1].shape == (2, 32, 2, 2)
    for level in range(4):
        x = _conv(x, state, f"decoder.levels.{level}.0", up=True)
        x = torch.cat([_normed(x, state, f"decoder.levels.{level}.1").clamp(min=0), features[3 - level]], dim=1)
    expected = _conv(x, state, "decoder.last", up=True).tanh()[..., 7:57, 7:57]
    torch.testing.assert_close(network(change, guide), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("size", [(8, 8), (37, 21), (64, 64), (65, 100)])
def test_any_size_comes_back_as_it_went_in(size: tuple[int, int]) -> None:
    network = GuidedUNet(2, 3, 2, guidance="mask", eta=0.5)
    assert network(torch.rand(1, 2, *size), torch.rand(1, 3, *size)).shape == (1, 3, *size)


@pytest.mark.parametrize(("side", "padded"), [(8, 64), (32, 64), (50, 64), (51, 96), (64, 96), (256, 288)])
def test_nothing_is_cut_out_nearer_to_the_border_than_of_50_px(side: int, padded: int) -> None:
    """Of the 64 px that 50 px become, no loss reaches the outer 7: what a network gives there is noise."""
    network = GuidedUNet(1, 1, 1, guidance="mask", eta=0.5)
    seen: list[tuple[int, ...]] = []
    network.source[0].register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[-2:])))
    network(torch.rand(1, 1, side, 50), torch.rand(1, 1, side, 50))
    assert seen == [(padded, 64)]


def test_a_network_trained_on_50_px_holds_to_the_borders_of_larger_images() -> None:
    torch.manual_seed(0)
    network = GuidedUNet(1, 1, 4, guidance="mask", eta=0.5)
    change = functional.interpolate(torch.rand(8, 1, 8, 8) - 0.5, size=(64, 64), mode="bilinear")
    guide = functional.interpolate(torch.rand(8, 1, 8, 8) - 0.5, size=(64, 64), mode="bilinear")
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(60):
        row, column = torch.randint(15, (2,)).tolist()
        part = (..., slice(row, row + 50), slice(column, column + 50))
        optimizer.zero_grad()
        (network(change[part], guide[part]) - change[part]).square().mean().backward()
        optimizer.step()
    error = (network(change, guide) - change).detach().square()
    assert float(error.mean()) < 2 * float(error[..., 7:-7, 7:-7].mean())
