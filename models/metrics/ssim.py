"""Structural similarity (SSIM) with valid masks and weight maps, batched on any device.

Definition: Wang et al. 2004 with the Gaussian window of the paper (11 x 11, sigma 1.5), K1 = 0.01, K2 = 0.03 and population
variances; borders are mirrored, so that the map has the size of the image. WSSIM is equations 9 and 10 of the TSGAN paper.

Invalid pixels never count: every window mean is a *normalised convolution*, the Gaussian mean over the valid pixels of the
window (weights summing to 1 again), and the map is averaged over valid pixels only. Without invalid pixels this is plain SSIM.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

SIGMA = 1.5
RADIUS = 5
K1 = 0.01
K2 = 0.03

_GAUSS = [math.exp(-0.5 * (offset / SIGMA) ** 2) for offset in range(RADIUS + 1)]
_TAPS = [value / (_GAUSS[0] + 2 * sum(_GAUSS[1:])) for value in _GAUSS]  # weight at distance 0, 1, ... RADIUS
_PLANES_IN_CACHE = 4
"""Planes filtered at once on a CPU: 22 passes over memory that no longer fits its cache are three times slower."""


def gaussian_mean(images: Tensor) -> Tensor:
    """Filter with the 11 x 11 Gaussian, borders mirrored without repeating the edge pixel.

    Written as shifted sums, not as a convolution: several times faster on a CPU, and neither TF32 nor autocast, which a
    training in the same process may have switched on, can round it.

    Args:
        images: (batch, band, y, x) float, both sides at least 6 px.

    Returns:
        Same shape and dtype.

    Raises:
        ValueError: An image side is too short to be mirrored.
    """
    height, width = images.shape[-2:]
    if min(height, width) <= RADIUS:
        raise ValueError(
            f"SSIM needs images of at least {RADIUS + 1} px a side, got {height} x {width}; use larger patches"
        )
    planes = images.flatten(0, 1)
    together = _PLANES_IN_CACHE if images.device.type == "cpu" else len(planes)
    return torch.cat([_filter(part) for part in torch.split(planes, together)]).view_as(images)


def _filter(planes: Tensor) -> Tensor:
    """Filter (plane, y, x) along x, then along y."""
    height, width = planes.shape[-2:]
    padded = functional.pad(planes, (RADIUS, RADIUS, RADIUS, RADIUS), mode="reflect")
    rows = padded[..., RADIUS : RADIUS + width] * _TAPS[0]
    for distance in range(1, RADIUS + 1):
        for start in (RADIUS - distance, RADIUS + distance):
            rows.add_(padded[..., start : start + width], alpha=_TAPS[distance])
    result = rows[..., RADIUS : RADIUS + height, :] * _TAPS[0]
    for distance in range(1, RADIUS + 1):
        for start in (RADIUS - distance, RADIUS + distance):
            result.add_(rows[..., start : start + height, :], alpha=_TAPS[distance])
    return result


def ssim_map(prediction: Tensor, target: Tensor, valid: Tensor, *, data_range: float = 1.0) -> Tensor:
    """Return the SSIM of the window around every pixel.

    Args:
        prediction: (batch, band, y, x) float, same unit as the target.
        target: (batch, band, y, x) float.
        valid: (batch, 1, y, x) bool, True where the pixel counts.
        data_range: Width R of the interval the values may take (1 for images on [0, 1]).

    Returns:
        (batch, band, y, x) float in [-1, 1]; 0 where the pixel is invalid.
    """
    # Variances as E[x^2] - E[x]^2 cancel in single precision; both images are shifted alike first, which changes no variance.
    total = torch.where(valid, target, 0.0).sum(dim=(-2, -1), keepdim=True)
    shift = total / valid.sum(dim=(-2, -1), keepdim=True).clamp(min=1)
    x = torch.where(valid, prediction - shift, 0.0)
    y = torch.where(valid, target - shift, 0.0)
    means = gaussian_mean(torch.cat([x, y, x * x, y * y, x * y], dim=1))
    if not bool(valid.all()):
        inside = gaussian_mean(valid.to(means.dtype))
        means = means / torch.where(valid, inside, 1.0)
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = means.chunk(5, dim=1)
    covariance = mean_xy - mean_x * mean_y
    variances = mean_xx - mean_x * mean_x + mean_yy - mean_y * mean_y
    mean_x, mean_y = mean_x + shift, mean_y + shift
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
    return torch.where(valid, luminance * (2 * covariance + c2) / (variances + c2), 0.0)


def weighted_ssim(similarity: Tensor, weight: Tensor, valid: Tensor) -> Tensor:
    """Average an SSIM map with weights, each band by itself (WSSIM; with a constant weight the mean SSIM).

    The weight of a window is the Gaussian mean of the weight map over it, as in equation 10 of the TSGAN paper.

    Args:
        similarity: (batch, band, y, x) float from `ssim_map`.
        weight: (batch, 1, y, x) float, not negative. Its values at invalid pixels are not used.
        valid: (batch, 1, y, x) bool.

    Returns:
        (batch, band) float; NaN where the weights of an image sum to 0.
    """
    window_weight = gaussian_mean(torch.where(valid, weight, 0.0).to(similarity.dtype))
    if not bool(valid.all()):
        known = valid.to(similarity.dtype)
        window_weight = window_weight / torch.where(valid, gaussian_mean(known), 1.0) * known
    return (similarity * window_weight).sum(dim=(-2, -1)) / window_weight.sum(dim=(-2, -1))


def mean_ssim(similarity: Tensor, valid: Tensor) -> Tensor:
    """Average an SSIM map over valid pixels, each band by itself: (batch, band); NaN where nothing is valid."""
    return similarity.sum(dim=(-2, -1)) / valid.to(similarity.dtype).sum(dim=(-2, -1))
