"""Losses that leave invalid pixels out.

Every loss is a mean per image first and over the batch second. So a batch split over several devices gives the same
gradients as the whole batch on one. An image without a valid pixel adds zero.
"""

import torch
from torch import Tensor
from torch.nn import functional

from ..scaling import change_map

EMPTY_WEIGHT = 1e-4
"""Stands in for a sum of weights that is zero."""


def weighted_l1(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean absolute error per image and band, averaged over batch and band (TSGAN, eq. 2).

    The equation prints two nested sums over the same pixels; it is read as one weighted mean.

    Args:
        prediction: (batch, band, y, x) float.
        target: Same shape.
        weight: Same shape, or with one band, >= 0. Images and bands whose weights are all zero give zero.
    """
    return _weighted_mean((prediction.float() - target.float()).abs(), weight)


def masked_l1(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return the mean absolute error over valid pixels.

    Args:
        prediction: (batch, band, y, x) float.
        target: Same shape.
        valid: (batch, 1, y, x) bool.
    """
    return weighted_l1(prediction, target, valid)


def masked_l2(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return the mean squared error over valid pixels.

    Args:
        prediction: (batch, band, y, x) float.
        target: Same shape.
        valid: (batch, 1, y, x) bool.
    """
    return _weighted_mean((prediction.float() - target.float()).square(), valid)


def reversed_weight_map(change: Tensor, valid: Tensor) -> Tensor:
    """Return RCWM = max(CWM) - CWM + min(CWM), extremes over the valid pixels of each image and band (TSGAN, eq. 3).

    As printed. (The code published with TSGAN takes the maximum in place of the minimum.)

    Args:
        change: (batch, band, y, x) float, >= 0.
        valid: (batch, 1, y, x) bool.

    Returns:
        Same shape as `change`, 0 where invalid.
    """
    highest = change.masked_fill(~valid, 0.0).amax(dim=(2, 3), keepdim=True)
    lowest = change.masked_fill(~valid, torch.inf).amin(dim=(2, 3), keepdim=True)
    return (highest - change + lowest).masked_fill(~valid, 0.0)


def change_weighted_l1(prediction: Tensor, target: Tensor, reference: Tensor, valid: Tensor, *, gamma: float) -> Tensor:
    """Return (WL1(RCWM) + gamma * WL1(CWM)) / (1 + gamma) (TSGAN, eq. 4).

    An image whose target equals its reference everywhere has no weight in either term and gives zero.

    Args:
        prediction: (batch, band, y, x) float, [-1, 1].
        target: Same shape and range.
        reference: Same shape and range: the target's sensor at the reference date.
        valid: (batch, 1, y, x) bool.
        gamma: Weight of changed ground.
    """
    change = change_map(target, reference).abs()  # the paper's CWM: soft, not thresholded
    unchanged_error = weighted_l1(prediction, target, reversed_weight_map(change, valid))
    changed_error = weighted_l1(prediction, target, change.masked_fill(~valid, 0.0))
    return (unchanged_error + gamma * changed_error) / (1.0 + gamma)


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor, valid: Tensor) -> Tensor:
    """Return the discriminator's loss: the mean of 'the target is real' and 'the prediction is not'.

    Args:
        real_logits: (batch, 1, row, col) float, for the target.
        fake_logits: Same shape, for the prediction.
        valid: (batch, 1, y, x) bool.
    """
    weight = patch_weight(valid, real_logits)
    return 0.5 * (_cross_entropy(real_logits, 1.0, weight) + _cross_entropy(fake_logits, 0.0, weight))


def adversarial_loss(fake_logits: Tensor, valid: Tensor) -> Tensor:
    """Return the generator's loss: 'the prediction is real' (the non-saturating form).

    Args:
        fake_logits: (batch, 1, row, col) float, for the prediction.
        valid: (batch, 1, y, x) bool.
    """
    return _cross_entropy(fake_logits, 1.0, patch_weight(valid, fake_logits))


def patch_weight(valid: Tensor, logits: Tensor) -> Tensor:
    """Return the share of valid pixels around each logit, (batch, 1, row, col) float32.

    The mask is averaged over a grid of the logits' size. A logit sees more ground than its cell, but target and prediction
    are both zero at invalid pixels, so the logit judges the valid part; the share says how much that counts.
    """
    return functional.adaptive_avg_pool2d(valid.float(), (logits.shape[-2], logits.shape[-1]))


def _cross_entropy(logits: Tensor, truth: float, weight: Tensor) -> Tensor:
    logits = logits.float()
    entropy = functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, truth), reduction="none")
    return _weighted_mean(entropy, weight)


def _weighted_mean(error: Tensor, weight: Tensor) -> Tensor:
    """Return the mean per image and band, averaged over both; float32, as sums over a whole image need."""
    weight = weight.float().expand_as(error)
    total = weight.sum(dim=(2, 3))
    total = total.masked_fill(total == 0, EMPTY_WEIGHT)
    return ((weight * error).sum(dim=(2, 3)) / total).mean()
