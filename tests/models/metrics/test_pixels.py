"""Metrics against scikit-image, scipy, numpy and closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from models.metrics import pixels, ssim
from tests.refusals import refuses

RADIUS = ssim.RADIUS


def _images(
    seed: int, *, batch: int = 2, band: int = 3, size: int = 48, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Return a smooth, bright-edged target on [0, 1] and a noisy prediction of it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    target = 0.5 + 0.3 * np.sin(9 * x + rng.uniform(0, 6, (batch, band, 1, 1))) * np.cos(7 * y) + 0.2 * (x > 0.6)
    prediction = target * 0.9 + rng.normal(0, 0.05, target.shape)
    return torch.tensor(prediction.clip(0, 1), dtype=dtype), torch.tensor(target.clip(0, 1), dtype=dtype)


def _valid(images: Tensor) -> Tensor:
    return torch.ones_like(images[:, :1], dtype=torch.bool)


def _holes(images: Tensor) -> Tensor:
    valid = _valid(images)
    valid[:, :, 10:20, 5:30] = False
    valid[0, :, :, -7:] = False
    return valid


def _skimage_ssim(prediction: Tensor, target: Tensor, data_range: float = 1.0) -> float:
    """SSIM of one (y, x) image. scikit-image leaves a border of 5 px out of its mean, so mirrored borders are added first."""
    padded = [np.pad(image.double().numpy(), RADIUS, mode="reflect") for image in (prediction, target)]
    return float(
        structural_similarity(
            *padded, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=data_range
        )
    )


@pytest.mark.parametrize("data_range", [1.0, 2.0])
def test_ssim_and_psnr_equal_scikit_image(data_range: float) -> None:
    prediction, target = _images(0)
    valid = _valid(target)
    similarity = ssim.mean_ssim(ssim.ssim_map(prediction, target, valid, data_range=data_range), valid)
    ratio = pixels.psnr(pixels.weighted_mse(prediction, target, valid.float()), data_range=data_range)
    for image in range(2):
        for band in range(3):
            pair = prediction[image, band], target[image, band]
            assert similarity[image, band].item() == pytest.approx(_skimage_ssim(*pair, data_range), abs=1e-6)
            expected = peak_signal_noise_ratio(pair[1].numpy(), pair[0].numpy(), data_range=data_range)
            assert ratio[image, band].item() == pytest.approx(expected, rel=1e-6)


def test_ssim_map_equals_scikit_image_pixel_for_pixel() -> None:
    prediction, target = _images(1, batch=1, band=1, dtype=torch.float64)
    mine = ssim.ssim_map(prediction, target, _valid(target))[0, 0].numpy()
    padded = [np.pad(image[0, 0].numpy(), RADIUS, mode="reflect") for image in (prediction, target)]
    _, expected = structural_similarity(
        *padded, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, full=True
    )
    np.testing.assert_allclose(mine, expected[RADIUS:-RADIUS, RADIUS:-RADIUS], atol=1e-10)


def test_ssim_stays_exact_in_single_precision_on_flat_bright_ground() -> None:
    target = torch.full((1, 1, 32, 32), 0.9) + 1e-3 * torch.randn(
        1, 1, 32, 32, generator=torch.Generator().manual_seed(0)
    )
    prediction = target + 5e-4
    mine = ssim.mean_ssim(ssim.ssim_map(prediction, target, _valid(target)), _valid(target))
    assert mine.item() == pytest.approx(_skimage_ssim(prediction[0, 0], target[0, 0]), abs=1e-6)


def test_wssim_with_a_constant_map_is_the_mean_ssim() -> None:
    prediction, target = _images(2)
    for valid in (_valid(target), _holes(target)):
        similarity = ssim.ssim_map(prediction, target, valid)
        constant = torch.full_like(target[:, :1], 0.3)
        torch.testing.assert_close(
            ssim.weighted_ssim(similarity, constant, valid), ssim.mean_ssim(similarity, valid), rtol=0, atol=1e-6
        )


def test_wssim_follows_equation_10() -> None:
    prediction, target = _images(3, batch=1, band=1, size=16, dtype=torch.float64)
    weight = torch.rand(1, 1, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    similarity = ssim.ssim_map(prediction, target, _valid(target))
    window = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / 1.5) ** 2)
    window = np.outer(window, window) / window.sum() ** 2
    padded = np.pad(weight[0, 0].numpy(), RADIUS, mode="reflect")
    local = np.array([[(window * padded[y : y + 11, x : x + 11]).sum() for x in range(16)] for y in range(16)])
    expected = (local * similarity[0, 0].numpy()).sum() / local.sum()
    assert ssim.weighted_ssim(similarity, weight, _valid(target)).item() == pytest.approx(expected, abs=1e-12)


def test_masked_ssim_is_ssim_of_the_valid_pixels_by_brute_force() -> None:
    prediction, target = _images(4, batch=1, band=1, size=20, dtype=torch.float64)
    valid = _valid(target)
    valid[0, 0, 4:9, 6:15] = False
    mine = ssim.ssim_map(prediction, target, valid)[0, 0].numpy()
    taps = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / 1.5) ** 2)
    window = np.outer(taps, taps)
    x, y, v = (np.pad(a[0, 0].numpy(), RADIUS, mode="reflect") for a in (prediction, target, valid))
    for row, col in ((3, 5), (10, 10), (0, 0), (9, 14)):
        box = np.s_[row : row + 11, col : col + 11]
        mean = np.array([np.average(a[box], weights=window * v[box]) for a in (x, y)])
        cov = np.cov(np.stack([x[box].ravel(), y[box].ravel()]), aweights=(window * v[box]).ravel(), ddof=0)
        c1, c2 = 1e-4, 9e-4
        luminance = (2 * mean.prod() + c1) / ((mean**2).sum() + c1)
        assert mine[row, col] == pytest.approx(luminance * (2 * cov[0, 1] + c2) / (cov.trace() + c2), abs=1e-10)
    assert (mine[4:9, 6:15] == 0).all()


@pytest.mark.parametrize("junk", [1e6, math.nan])
def test_invalid_pixels_have_no_say(junk: float) -> None:
    prediction, target = _images(5)
    valid = _holes(target)
    weight = valid.float()
    spoilt = torch.where(valid, prediction, junk)

    def all_metrics(image: Tensor) -> list[Tensor]:
        similarity = ssim.ssim_map(image, target, valid)
        return [
            ssim.mean_ssim(similarity, valid),
            ssim.weighted_ssim(similarity, weight * 0.2, valid),
            pixels.weighted_mse(image, target, weight),
            pixels.mean_angle(pixels.spectral_angles(image, target), weight),
            pixels.high_frequency_energy(image, valid),
            pixels.pixel_sums(image, target, target * 0.9, weight),
        ]

    for clean, dirty in zip(all_metrics(prediction), all_metrics(spoilt), strict=True):
        assert torch.isfinite(clean).all()
        assert torch.equal(clean, dirty)


def test_nothing_valid_gives_nan_not_zero() -> None:
    prediction, target = _images(6)
    nothing = torch.zeros_like(_valid(target))
    assert pixels.weighted_mse(prediction, target, nothing.float()).isnan().all()
    assert ssim.mean_ssim(ssim.ssim_map(prediction, target, nothing), nothing).isnan().all()
    assert ssim.weighted_ssim(target, nothing.float(), nothing).isnan().all()
    assert pixels.mean_angle(pixels.spectral_angles(prediction, target), nothing.float()).isnan().all()
    sums = pixels.pixel_sums(prediction, target, target, nothing.float()).numpy()[0, 0, 0]
    for pooled in (pixels.mae, pixels.rmse, pixels.r2, pixels.cc, pixels.kge, pixels.flat_angle, pixels.skill):
        assert math.isnan(pooled(sums))


def test_weighted_psnr_has_the_closed_form() -> None:
    target = torch.zeros(1, 1, 8, 8)
    prediction = torch.full((1, 1, 8, 8), 0.1)
    prediction[..., :4] = 0.2
    weight = torch.ones(1, 1, 8, 8)
    weight[..., :4] = 3.0
    mse = pixels.weighted_mse(prediction, target, weight)
    assert mse.item() == pytest.approx((3 * 0.04 + 0.01) / 4)
    assert pixels.psnr(mse, data_range=2.0).item() == pytest.approx(
        10 * math.log10(4 / ((3 * 0.04 + 0.01) / 4)), rel=1e-6
    )
    assert pixels.psnr(torch.zeros(1)).item() == pytest.approx(pixels.PSNR_CEILING_DB)


def test_pooled_metrics_equal_numpy_and_scipy() -> None:
    prediction, target = _images(7, batch=3, band=2)
    prediction, target = prediction * 35 - 25, target * 35 - 25  # dB
    copied = target + 1.5
    valid = _holes(target)
    valid[2] = True
    sums = pixels.pixel_sums(prediction, target, copied, valid.float()).numpy()[:, 0, 1].sum(axis=0)
    p, t, c = (image[:, 1][valid[:, 0]].double().numpy() for image in (prediction, target, copied))
    r = stats.pearsonr(p, t).statistic
    assert sums[pixels.Sums.COUNT] == p.size
    assert pixels.mae(sums) == pytest.approx(np.abs(p - t).mean())
    assert pixels.rmse(sums) == pytest.approx(np.sqrt(np.mean((p - t) ** 2)))
    assert pixels.r2(sums) == pytest.approx(1 - ((t - p) ** 2).sum() / ((t - t.mean()) ** 2).sum())
    assert pixels.cc(sums) == pytest.approx(r)
    assert pixels.kge(sums) == pytest.approx(
        1 - math.sqrt((r - 1) ** 2 + (p.std() / t.std() - 1) ** 2 + (p.mean() / t.mean() - 1) ** 2)
    )
    assert pixels.flat_angle(sums) == pytest.approx(math.acos(p @ t / np.linalg.norm(p) / np.linalg.norm(t)))
    assert pixels.skill(sums) == pytest.approx(1 - np.mean((p - t) ** 2) / np.mean((c - t) ** 2))


def test_constant_images_have_no_correlation() -> None:
    flat = torch.full((1, 1, 16, 16), 0.1)
    sums = pixels.pixel_sums(torch.rand(1, 1, 16, 16), flat, flat, torch.ones_like(flat)).numpy()[0, 0, 0]
    assert all(math.isnan(pooled(sums)) for pooled in (pixels.r2, pixels.cc, pixels.kge))


def test_spectral_angle_closed_form_and_zero_spectra() -> None:
    target = torch.zeros(1, 2, 4, 4)
    target[:, 0] = 0.3
    tilt = math.radians(10.0)
    prediction = torch.stack([torch.full((4, 4), math.cos(tilt)), torch.full((4, 4), math.sin(tilt))])[None] * 0.7
    weight = torch.ones(1, 1, 4, 4)
    assert pixels.mean_angle(pixels.spectral_angles(prediction, target), weight).item() == pytest.approx(tilt, rel=1e-5)
    assert pixels.mean_angle(pixels.spectral_angles(target * 5, target), weight).item() == 0.0
    target[..., :2, :] = 0  # black pixels have no direction
    assert pixels.mean_angle(pixels.spectral_angles(prediction, target), weight).item() == pytest.approx(tilt, rel=1e-5)


def test_spectral_angle_resolves_small_angles() -> None:
    target = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    prediction = torch.tensor([1.0, 1e-5]).view(1, 2, 1, 1)
    assert pixels.mean_angle(
        pixels.spectral_angles(prediction, target), torch.ones(1, 1, 1, 1)
    ).item() == pytest.approx(1e-5, rel=1e-3)


def test_high_frequency_energy_of_waves_and_blur() -> None:
    x = torch.arange(64.0)
    fine = torch.cos(2 * math.pi * 0.375 * x).expand(1, 1, 64, 64)
    coarse = torch.cos(2 * math.pi * 0.125 * x).expand(1, 1, 64, 64)
    valid = _valid(fine)
    assert pixels.high_frequency_energy(fine, valid).item() == pytest.approx(64 * 64 / 2)  # Parseval: all of the energy
    assert pixels.high_frequency_energy(coarse, valid).item() == pytest.approx(0.0, abs=1e-6)
    assert pixels.high_frequency_energy(fine * 0.5, valid).item() == pytest.approx(64 * 64 / 8)


def test_ndvi_formula() -> None:
    red, near_infrared = torch.tensor([0.1, 0.0]), torch.tensor([0.5, 0.0])
    torch.testing.assert_close(pixels.ndvi(red, near_infrared), torch.tensor([0.4 / 0.600001, 0.0]))


def test_images_too_small_for_the_window_are_refused() -> None:
    with refuses(ValueError, 6, "5 x 40"):
        ssim.gaussian_mean(torch.zeros(1, 1, 5, 40))
