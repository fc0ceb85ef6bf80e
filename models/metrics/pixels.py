"""How far a prediction is from its target: per-image values and sums that pool over many images.

Two kinds of metric stand here. Per-image values (PSNR, SSIM, spectral angle) are worked out image by image and averaged later.
The others (MAE, RMSE, R2, KGE, CC, angle of whole arrays, skill, sharpness) rest on sums over pixels; sums of different
images add up, so that a flat patch, on which R2 or a correlation mean nothing, cannot spoil the mean.

Formulas on sums take (..., len(Sums)) and return (...): of one group of images, or of many draws of a bootstrap at once.

Everywhere: images are (batch, band, y, x) float; a weight is (batch, 1, y, x), not negative, 0 at invalid pixels (a valid or
ground mask turned to float, or a soft map). What no pixel supports is NaN. SSIM has its own module, `ssim`.
"""

from enum import IntEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PSNR_CEILING_DB = 100.0
"""PSNR of a perfect image: an error this small is float32 rounding, and one infinity would swallow every mean."""
NDVI_RANGE = 2.0
HIGH_FREQUENCY = 0.25
"""Cycles per pixel above which energy counts as detail: half the highest frequency of the grid."""

FloatArray = NDArray[np.float64]


class Sums(IntEnum):
    """Places of the pixel sums on the last axis of what `pixel_sums` returns. p: prediction, t: target, c: copied reference."""

    COUNT = 0
    P = 1
    T = 2
    PP = 3
    TT = 4
    PT = 5
    ABSOLUTE = 6
    SQUARED = 7
    SQUARED_OF_COPY = 8


def weighted_mse(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return sum(w e^2) / sum(w) per image and band: (batch, band); NaN where the weights sum to 0.

    Equation 14 of the TSGAN paper prints a further division by the number of pixels; a weighted mean has none.
    """
    squared = torch.where(weight > 0, (prediction - target).square() * weight, 0.0)
    return squared.sum(dim=(-2, -1)) / weight.sum(dim=(-2, -1))


def psnr(mse: Tensor, *, data_range: float = 1.0) -> Tensor:
    """Return 10 log10(R^2 / MSE) in dB, at most `PSNR_CEILING_DB`. With a weighted MSE this is WPSNR."""
    floor = data_range**2 * 10.0 ** (-PSNR_CEILING_DB / 10.0)
    return 10.0 * torch.log10(data_range**2 / mse.clamp(min=floor))


def spectral_angles(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the angle between the spectra of prediction and target at each pixel.

    The half-angle form (Kahan) is used, as the arc cosine of a number near 1 loses half the digits.

    Returns:
        (batch, 1, y, x) float, radians in [0, pi]; NaN where either spectrum is zero, which has no direction.
    """
    unit_p, unit_t = prediction / _length(prediction), target / _length(target)
    return 2 * torch.atan2(_length(unit_p - unit_t), _length(unit_p + unit_t))


def _length(spectra: Tensor) -> Tensor:
    # `Tensor.norm` over the band axis is ten times slower
    return spectra.square().sum(dim=1, keepdim=True).sqrt()


def mean_angle(angles: Tensor, weight: Tensor) -> Tensor:
    """Average a map of angles with weights: (batch,); pixels without an angle do not count. NaN where none does."""
    counted = torch.where(angles.isnan(), 0.0, weight)
    return torch.where(counted > 0, angles * counted, 0.0).sum(dim=(1, 2, 3)) / counted.sum(dim=(1, 2, 3))


def ndvi(red: Tensor, near_infrared: Tensor) -> Tensor:
    """Return (NIR - red) / (NIR + red + 1e-6) of two reflectance bands of one shape."""
    return (near_infrared - red) / (near_infrared + red + 1e-6)


def high_frequency_energy(images: Tensor, valid: Tensor) -> Tensor:
    """Return the energy of detail finer than four pixels; the ratio prediction / target says how sharp a prediction is.

    Invalid pixels are set to the image's mean, in prediction and target alike.

    Args:
        images: (batch, band, y, x) float.
        valid: (batch, 1, y, x) bool.

    Returns:
        (batch, band) float64, squared unit of the images.
    """
    height, width = images.shape[-2:]
    values = images.double()
    mean = torch.where(valid, values, 0.0).sum(dim=(-2, -1), keepdim=True) / valid.sum(
        dim=(-2, -1), keepdim=True
    ).clamp(min=1)
    spectrum = torch.fft.fft2(torch.where(valid, values - mean, 0.0), norm="ortho").abs().square()
    frequency_y = torch.fft.fftfreq(height, device=images.device)[:, None]
    frequency_x = torch.fft.fftfreq(width, device=images.device)[None, :]
    fine = torch.hypot(frequency_y, frequency_x) > HIGH_FREQUENCY
    energy: Tensor = (spectrum * fine).sum(dim=(-2, -1))
    return energy


def pixel_sums(prediction: Tensor, target: Tensor, copied: Tensor, weights: Tensor) -> Tensor:
    """Return what the pooled metrics need, summed over each image and band once per weight.

    Args:
        prediction: (batch, band, y, x) float.
        target: Same shape and unit.
        copied: Same shape and unit: the earlier image of the target's sensor, which the skill score compares with.
        weights: (batch, weight, y, x), not negative; one plane for every ground the sums are wanted for.

    Returns:
        (batch, weight, band, len(Sums)) float64: single precision would lose the variance of a large split.
    """
    counted = (weights > 0).any(dim=1, keepdim=True)  # a NaN at an uncounted pixel must not reach a product
    p, t, c = (torch.where(counted, image, 0.0).double() for image in (prediction, target, copied))
    error = p - t
    terms = (torch.ones_like(p), p, t, p * p, t * t, p * t, error.abs(), error.square(), (c - t).square())
    stacked = torch.stack(terms, dim=2).flatten(start_dim=3)  # batch, band, term, pixel
    return torch.einsum("bkjp,bwp->bwkj", stacked, weights.double().flatten(start_dim=2))


def mae(sums: FloatArray) -> FloatArray:
    """Return the mean absolute error, in the unit of the images."""
    return ratio(sums[..., Sums.ABSOLUTE], sums[..., Sums.COUNT])


def rmse(sums: FloatArray) -> FloatArray:
    """Return the root mean squared error, in the unit of the images (MCcGAN paper, eq. 4, with the root over the whole mean)."""
    root: FloatArray = np.sqrt(ratio(sums[..., Sums.SQUARED], sums[..., Sums.COUNT]))
    return root


def r2(sums: FloatArray) -> FloatArray:
    """Return 1 - SSE / SST; NaN where the target is constant."""
    return 1.0 - ratio(sums[..., Sums.SQUARED], _variance(sums, Sums.T, Sums.TT) * sums[..., Sums.COUNT])


def cc(sums: FloatArray) -> FloatArray:
    """Return Pearson's correlation over pixels; NaN where prediction or target is constant."""
    count = sums[..., Sums.COUNT]
    means = ratio(sums[..., Sums.P], count) * ratio(sums[..., Sums.T], count)
    variances = _variance(sums, Sums.P, Sums.PP) * _variance(sums, Sums.T, Sums.TT)
    return ratio(ratio(sums[..., Sums.PT], count) - means, np.sqrt(variances))


def kge(sums: FloatArray) -> FloatArray:
    """Return the Kling-Gupta efficiency 1 - sqrt((r-1)^2 + (sd ratio - 1)^2 + (mean ratio - 1)^2), ratios prediction / target."""
    deviation_ratio = np.sqrt(ratio(_variance(sums, Sums.P, Sums.PP), _variance(sums, Sums.T, Sums.TT)))
    mean_ratio = ratio(sums[..., Sums.P], sums[..., Sums.T])
    distance: FloatArray = np.sqrt((cc(sums) - 1) ** 2 + (deviation_ratio - 1) ** 2 + (mean_ratio - 1) ** 2)
    return 1.0 - distance


def flat_angle(sums: FloatArray) -> FloatArray:
    """Return the angle in radians between prediction and target as two long vectors (the SAM of the MCcGAN paper)."""
    cosine = ratio(sums[..., Sums.PT], np.sqrt(sums[..., Sums.PP] * sums[..., Sums.TT]))
    return np.arccos(np.clip(cosine, -1.0, 1.0))


def skill(sums: FloatArray) -> FloatArray:
    """Return 1 - MSE / MSE of copying the reference: 1 is perfect, 0 no better than the copy, negative worse."""
    return 1.0 - ratio(sums[..., Sums.SQUARED], sums[..., Sums.SQUARED_OF_COPY])


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return numerator / denominator, NaN where the denominator is 0."""
    quotient: FloatArray = np.divide(numerator, np.where(denominator == 0, np.nan, denominator))
    return quotient


def _variance(sums: FloatArray, first: Sums, second: Sums) -> FloatArray:
    """Return the population variance; exactly 0 where it is no more than the rounding of the sums."""
    mean = ratio(sums[..., first], sums[..., Sums.COUNT])
    variance = ratio(sums[..., second], sums[..., Sums.COUNT]) - mean * mean
    return np.where(variance <= 1e-13 * mean * mean, 0.0, variance)
