"""Gradients and spectra against loops, numpy and closed forms."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from models.metrics import texture


def images(
    seed: int, *, batch: int = 2, band: int = 2, size: tuple[int, int] = (24, 20)
) -> tuple[Tensor, Tensor, Tensor]:
    """Return prediction, target, and where they are valid."""
    rng = np.random.default_rng(seed)
    target = rng.normal(-12, 3, (batch, band, *size)).cumsum(axis=-1) / 9
    prediction = target * 0.8 + rng.normal(0, 0.2, target.shape)
    valid = np.ones((batch, 1, *size), bool)
    valid[0, :, 3:7, 5:11], valid[1, :, -4:] = False, False
    return torch.tensor(prediction).float(), torch.tensor(target).float(), torch.tensor(valid)


def test_gradient_sums_equal_a_loop_over_pixels() -> None:
    prediction, target, valid = images(0)
    changed = valid & (torch.rand(valid.shape, generator=torch.Generator().manual_seed(0)) > 0.6)
    sums = texture.gradient_sums(prediction, target, valid, torch.cat([valid, changed], dim=1).float())
    for image in range(2):
        for row, ground in enumerate((valid, changed)):
            expected = np.zeros((2, 2))
            for y in range(23):
                for x in range(19):
                    there = [bool(valid[image, 0, y + dy, x + dx]) for dy, dx in ((0, 0), (0, 1), (1, 0))]
                    if all(there) and ground[image, 0, y, x]:
                        for place, picture in enumerate((prediction, target)):
                            here = picture[image, :, y, x].double()
                            right, below = picture[image, :, y, x + 1].double(), picture[image, :, y + 1, x].double()
                            expected[:, place] += torch.sqrt((right - here) ** 2 + (below - here) ** 2).numpy()
            np.testing.assert_allclose(sums[image, row].numpy(), expected, rtol=1e-12)
    ratio = texture.first_over_second(sums.numpy()[0, 0, 0])
    assert ratio == pytest.approx(float(sums[0, 0, 0, 0] / sums[0, 0, 0, 1]))


def test_the_gradient_of_a_ramp_is_its_slope() -> None:
    ramp = (3 * torch.arange(16.0)[:, None] + 4 * torch.arange(16.0)).expand(1, 1, 16, 16)
    steep, there = texture.gradient_magnitude(ramp, torch.ones(1, 1, 16, 16, dtype=torch.bool))
    assert torch.equal(steep[there], torch.full((15 * 15,), 5.0, dtype=torch.float64))


def test_blur_lowers_and_noise_raises_the_gradient() -> None:
    _, target, valid = images(1, size=(40, 40))
    blurred = torch.nn.functional.avg_pool2d(target, 3, 1, 1, count_include_pad=False)
    noisy = target + torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    ratios = [
        texture.first_over_second(texture.gradient_sums(image, target, valid, valid.float()).sum(dim=(0, 1, 2)).numpy())
        for image in (blurred, target, noisy)
    ]
    assert ratios[0] < 0.9
    assert ratios[1] == 1
    assert ratios[2] > 1.1


def test_ring_power_equals_numpy() -> None:
    _, target, valid = images(2, batch=2, band=1, size=(48, 40))
    powers = texture.ring_power(target, valid)
    assert powers.shape == (2, 1, texture.RINGS)
    for image in range(2):
        x, mask = target[image, 0].double().numpy(), valid[image, 0].numpy()
        tapers = [np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2 for side in x.shape]
        weight = np.outer(*tapers) * mask
        spectrum = np.abs(np.fft.fft2((x - np.average(x, weights=weight)) * weight)) ** 2 / x.size
        radius = np.hypot(*np.meshgrid(np.fft.fftfreq(48), np.fft.fftfreq(40), indexing="ij"))
        for ring in range(texture.RINGS):
            last = ring == texture.RINGS - 1
            inside = (radius >= ring / 32) & ((radius < (ring + 1) / 32) | (last & (radius <= 0.5))) & (radius > 0)
            assert float(powers[image, 0, ring]) == pytest.approx(spectrum[inside].sum(), rel=1e-9)


def test_the_power_of_a_wave_lies_in_its_ring() -> None:
    wave = torch.cos(2 * math.pi * 0.2 * torch.arange(80.0)).expand(1, 1, 80, 80)
    powers = texture.ring_power(wave, torch.ones(1, 1, 80, 80, dtype=torch.bool))[0, 0]
    assert int(powers.argmax()) == int(0.2 * 32)
    assert float(powers[5:8].sum() / powers.sum()) > 0.999, "the window lets little leak"


def test_log_spectral_distance_has_the_closed_form() -> None:
    _, target, valid = images(3)
    wanted = texture.ring_power(target, valid).numpy()
    halved = texture.ring_power(target * 0.5, valid).numpy()
    distances = texture.log_spectral_distance(np.concatenate([halved, wanted], axis=-1))
    np.testing.assert_allclose(distances, np.full((2, 2), 20 * math.log10(2)), rtol=1e-6)
    bias = texture.ring_power(target + 7.0, valid).numpy()
    np.testing.assert_allclose(texture.log_spectral_distance(np.concatenate([bias, wanted], -1)), 0, atol=1e-4)
    rng = np.random.default_rng(0)
    predicted, other = rng.uniform(1, 9, (2, texture.RINGS))
    other[3] = predicted[3] = 0  # a ring that a small image does not have
    kept = np.arange(texture.RINGS) != 3
    expected = np.sqrt(np.mean((10 * np.log10(predicted[kept] / other[kept])) ** 2))
    assert texture.log_spectral_distance(np.concatenate([predicted, other])) == pytest.approx(expected)


def test_constant_images_have_an_end_or_no_value() -> None:
    _, target, valid = images(4)
    flat = torch.full_like(target, 0.1)
    powers = [texture.ring_power(image, valid)[0, 0].numpy() for image in (flat, target)]
    assert not powers[0].any(), "no rounding of the mean is taken for texture"
    assert texture.log_spectral_distance(np.concatenate(powers)) == pytest.approx(texture.LARGEST_DB)
    assert math.isnan(texture.log_spectral_distance(np.concatenate(powers[::-1])))
    sums = texture.gradient_sums(target, flat, valid, valid.float()).numpy()[0, 0, 0]
    assert math.isnan(texture.first_over_second(sums))


@pytest.mark.parametrize("junk", [1e6, math.nan])
def test_invalid_pixels_have_no_say(junk: float) -> None:
    prediction, target, valid = images(5)
    spoilt = torch.where(valid, prediction, junk)
    for image in (prediction, spoilt):
        assert torch.equal(texture.ring_power(image, valid), texture.ring_power(prediction, valid))
        sums = [texture.gradient_sums(picture, target, valid, valid.float()) for picture in (image, prediction)]
        assert torch.equal(*sums)
    nothing = torch.zeros_like(valid)
    assert not texture.ring_power(target, nothing).any()
    assert not texture.gradient_sums(prediction, target, nothing, nothing.float()).any()
