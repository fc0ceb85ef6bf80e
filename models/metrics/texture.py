"""How sharp a prediction is beside its target: mean gradients, and power by spatial frequency.

Both tell blur from invented or noisy detail without a trained network, as pixel errors and SSIM do not. They rest on sums
that add up over images, as those of `pixels` do, so that a flat patch cannot spoil a ratio.

Everywhere: images are (batch, band, y, x) float in any unit; `valid` is (batch, 1, y, x) bool.
"""

import math
from typing import Final

import numpy as np
import torch
from torch import Tensor

from .pixels import FloatArray, ratio

RINGS: Final = 16
"""Rings of spatial frequency, each 1/32 of a cycle per pixel wide, up to half a cycle per pixel."""
LARGEST_DB: Final = 100.0
"""Farthest that the power of a ring may be from the target's: a constant prediction has none, and its logarithm no value."""


def gradient_magnitude(images: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Return how steep the image is at each pixel: the length of the forward differences to its right and lower neighbours.

    Returns:
        (batch, band, y, x) float64, unit of the images per pixel, 0 where there is none; and (batch, 1, y, x) bool, where there
        is one: the pixel and both neighbours are valid. The last row and column have none.
    """
    there = torch.zeros_like(valid)
    there[..., :-1, :-1] = valid[..., :-1, :-1] & valid[..., :-1, 1:] & valid[..., 1:, :-1]
    values = images.double()
    corner = values[..., :-1, :-1]
    steep = torch.zeros_like(values)
    steep[..., :-1, :-1] = torch.hypot(values[..., :-1, 1:] - corner, values[..., 1:, :-1] - corner)
    return torch.where(there, steep, 0.0), there


def gradient_sums(prediction: Tensor, target: Tensor, valid: Tensor, grounds: Tensor) -> Tensor:
    """Return the gradients of prediction and target, summed over each image and band once per ground.

    Args:
        prediction: Images.
        target: Images of the same shape and unit.
        valid: Where both count.
        grounds: (batch, ground, y, x) float, 1 on the pixels to sum over, else 0.

    Returns:
        (batch, ground, band, 2) float64: prediction, target.
    """
    steep = torch.stack([gradient_magnitude(image, valid)[0] for image in (prediction, target)], dim=-1)
    return torch.einsum("bcyxi,bgyx->bgci", steep, grounds.double())


def first_over_second(sums: FloatArray) -> FloatArray:
    """Return prediction / target from (..., 2) sums of gradients or energies; NaN where the target has none."""
    return ratio(sums[..., 0], sums[..., 1])


def ring_power(images: Tensor, valid: Tensor) -> Tensor:
    """Return the power in each ring of spatial frequency.

    The image's weighted mean is taken off, and a Hann window is put over it, so that the jump from one edge to the opposite one
    is not taken for detail. Invalid pixels have weight 0. What holes do to a spectrum they do to prediction and target alike.

    Returns:
        (batch, band, RINGS) float64, squared unit of the images; zeros where nothing is valid. A ring that holds no frequency
        of a small image is 0, too.
    """
    height, width = images.shape[-2:]
    weight = valid.double() * (_hann(height, images.device)[:, None] * _hann(width, images.device))
    values = torch.where(valid, images.double(), 0.0)
    total = weight.sum(dim=(-2, -1), keepdim=True)
    mean = (values * weight).sum(dim=(-2, -1), keepdim=True) / total.clamp(min=1e-300)
    deviation = values - mean
    rounding = deviation.abs() <= 1e-12 * mean.abs()  # of the mean of a constant image
    deviation = torch.where(rounding, 0.0, deviation)
    spectrum = torch.fft.fft2(deviation * weight, norm="ortho").abs().square()
    frequency_y, frequency_x = (torch.fft.fftfreq(side, dtype=torch.float64) for side in (height, width))
    frequency = torch.hypot(frequency_y[:, None], frequency_x)
    ring = (frequency * (2 * RINGS)).floor().clamp(max=RINGS - 1).long()
    counted = (frequency > 0) & (frequency <= 0.5)
    members = torch.nn.functional.one_hot(ring, RINGS).double() * counted[..., None]
    return torch.einsum("bcyx,yxr->bcr", spectrum, members.to(images.device))


def log_spectral_distance(powers: FloatArray) -> FloatArray:
    """Return the root mean square, over rings, of 10 log10(power of the prediction / power of the target), in dB.

    Args:
        powers: (..., 2 RINGS) those of the prediction, then those of the target.

    Returns:
        (...); NaN where the target has no power in any ring.
    """
    predicted, wanted = powers[..., :RINGS], powers[..., RINGS:]
    floor = 10.0 ** (-LARGEST_DB / 10)
    shares = np.clip(ratio(predicted, wanted), floor, 1 / floor)  # NaN stays
    squared, there = (10.0 * np.log10(shares)) ** 2, ~np.isnan(shares)
    return np.sqrt(ratio(np.where(there, squared, 0.0).sum(axis=-1), there.sum(axis=-1)))


def _hann(side: int, device: torch.device) -> Tensor:
    """Return (side,) float64: a Hann window whose ends lie half a pixel beyond the image, so that no pixel has weight 0."""
    return torch.sin((torch.arange(side, dtype=torch.float64, device=device) + 0.5) * (math.pi / side)).square()
