"""Scores of predictions, image by image, on all, changed and unchanged ground.

PSNR, SSIM and their weighted forms are taken on images scaled to [0, 1] by the fixed ranges (R = 1), errors and sums in dB or
reflectance against the images as they were observed, also where they lie beyond the ranges.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..metrics import pixels as metrics
from ..metrics.change import hard_change, soft_change
from ..metrics.pixels import FloatArray
from ..metrics.ssim import mean_ssim, ssim_map, weighted_ssim
from ..metrics.texture import gradient_sums, ring_power
from ..scaling import Scaling
from ..task import Batch, Task
from ..translator import Prediction
from .baselines import copy_t1
from .pooling import GROUNDS, NDVI, Ground, ScoreKey, Scores

RED, NEAR_INFRARED = "B4", "B8"
LARGEST: Final = 1e15
"""Predictions from here on count as infinite: their squared errors overflow single precision when summed over a patch."""


class _Comparison(NamedTuple):
    """Images to compare: the target's bands, or NDVI."""

    bands: tuple[str, ...]
    unit: tuple[Tensor, Tensor]
    """Prediction and target, (batch, band, y, x) float32, on the interval PSNR and SSIM are taken on."""
    data_range: float
    """Width of that interval."""
    physical: tuple[Tensor, Tensor, Tensor]
    """Prediction, target and copied reference, (batch, band, y, x) float32, dB, reflectance or NDVI."""

    def channels(self) -> dict[str | None, list[int]]:
        """Return which channels each band name covers; None is all bands of the target."""
        channels: dict[str | None, list[int]] = {band: [channel] for channel, band in enumerate(self.bands)}
        return channels if self.bands == (NDVI,) else channels | {None: list(range(len(self.bands)))}


def score_batch(
    prediction: Prediction,
    observed: Batch,
    batch: Batch,
    task: Task,
    scaling: Scaling,
    *,
    physical: Tensor | None = None,
) -> Scores:
    """Score a batch of predictions on the device they are on.

    Args:
        prediction: Of the task's target; its spread has no say yet.
        observed: The target and the earlier images of its bands by key, (batch, band, y, x) float each, in dB or reflectance,
            not clipped; any number where invalid.
        batch: The batch that was predicted, with its target.
        task: A task with two dates of radar or of the target's sensor (see `change`), and an earlier image of the target's bands.
        scaling: How the batch was scaled.
        physical: (batch, band, y, x) float, the prediction in dB or reflectance, for those that need no scaling; none means
            that it is scaled back.

    Raises:
        ValueError: The task has no two dates to compare.
    """
    soft = soft_change(batch, task)
    if soft is None:
        raise ValueError(f"task {task.name} has no two dates of one sensor: changed ground is undefined")
    valid = batch["valid"]
    changed = hard_change(soft, valid)
    masks: dict[Ground, Tensor] = {"all": valid, "changed": changed, "unchanged": valid & ~changed}
    weights = {
        **{("", ground): mask.float() for ground, mask in masks.items()},
        ("w", "all"): soft,
        ("2to1", "all"): valid * (2.0 - changed.float()),
    }
    per_image: dict[ScoreKey, FloatArray] = {}
    sums: dict[tuple[Ground, str | None], FloatArray] = {}
    gradients: dict[tuple[Ground, str | None], FloatArray] = {}
    energies: dict[str | None, FloatArray] = {}
    powers: dict[str | None, FloatArray] = {}
    grounds = torch.cat([weights["", ground] for ground in GROUNDS], dim=1)
    scaled = prediction.mean.float()
    physical = scaling.unscale(scaled, task.target) if physical is None else physical
    comparisons = _comparisons(scaled, physical, observed, batch, task)
    for comparison in comparisons:
        per_image.update(_similarities(comparison, weights, valid))
        totals = metrics.pixel_sums(*comparison.physical, grounds)
        pair = comparison.physical[:2]
        steepness = gradient_sums(*pair, valid, grounds)
        details = torch.stack([metrics.high_frequency_energy(image, valid) for image in pair], dim=-1)
        spectra = torch.cat([ring_power(image, valid) for image in pair], dim=-1)
        for band, channels in comparison.channels().items():
            for row, ground in enumerate(GROUNDS):
                sums[ground, band] = _numpy(totals[:, row, channels].sum(dim=1))
                gradients[ground, band] = _numpy(steepness[:, row, channels].sum(dim=1))
            energies[band] = _numpy(details[:, channels].sum(dim=1))
            powers[band] = _numpy(spectra[:, channels].sum(dim=1))
    if task.target.sensor == "s2" and len(task.target.bands) > 1:
        per_image.update(_angles(*comparisons[0].physical[:2], masks))
    pixels = valid[0].numel()
    usable = (scaled.abs() < LARGEST).all(dim=1, keepdim=True)  # NaN is not below it
    broken = (valid & ~usable).sum(dim=(1, 2, 3)).cpu().numpy()
    for values in per_image.values():
        values[broken > 0] = np.nan
    return Scores(
        samples=batch["sample"].cpu().numpy(),
        per_image=per_image,
        fractions={ground: _numpy(mask.sum(dim=(1, 2, 3)) / pixels) for ground, mask in masks.items()},
        sums=sums,
        gradients=gradients,
        energies=energies,
        powers=powers,
        not_finite=broken,
        sensor=task.target.sensor,
    )


def _comparisons(prediction: Tensor, physical: Tensor, observed: Batch, batch: Batch, task: Task) -> list[_Comparison]:
    stack = task.target
    p, t, c = physical, observed[stack.key], copy_t1(observed, task)
    unit = ((prediction + 1) / 2, (batch[stack.key] + 1) / 2)
    comparisons = [_Comparison(stack.bands, unit, 1.0, (p, t, c))]
    if stack.sensor == "s2" and {RED, NEAR_INFRARED} <= set(stack.bands):
        red, near_infrared = stack.bands.index(RED), stack.bands.index(NEAR_INFRARED)
        p, t, c = (metrics.ndvi(image[:, red, None], image[:, near_infrared, None]) for image in (p, t, c))
        comparisons.append(_Comparison((NDVI,), (p, t), metrics.NDVI_RANGE, (p, t, c)))
    return comparisons


def _similarities(
    comparison: _Comparison, weights: Mapping[tuple[str, Ground], Tensor], valid: Tensor
) -> dict[ScoreKey, FloatArray]:
    """Return PSNR and SSIM under each weight: plain (""), by the soft change map ("w") and unchanged : changed 2 : 1 ("2to1")."""
    prediction, target = comparison.unit
    similarity = ssim_map(prediction, target, valid, data_range=comparison.data_range)
    values: dict[ScoreKey, FloatArray] = {}
    for (kind, ground), weight in weights.items():
        mse = metrics.weighted_mse(prediction, target, weight)
        plain = kind == "" and ground == "all"
        ssim = mean_ssim(similarity, valid) if plain else weighted_ssim(similarity, weight, valid)
        for band, channels in comparison.channels().items():
            psnr = metrics.psnr(mse[:, channels].mean(dim=1), data_range=comparison.data_range)
            values[ScoreKey(_named("psnr", kind), ground, band)] = _numpy(psnr)
            values[ScoreKey(_named("ssim", kind), ground, band)] = _numpy(ssim[:, channels].mean(dim=1))
    return values


def _named(metric: str, kind: str) -> str:
    return {"": metric, "w": f"w{metric}", "2to1": f"{metric}_2to1"}[kind]


def _angles(predicted: Tensor, observed: Tensor, masks: Mapping[Ground, Tensor]) -> dict[ScoreKey, FloatArray]:
    angles = metrics.spectral_angles(predicted, observed)
    values: dict[ScoreKey, FloatArray] = {}
    for ground, mask in masks.items():
        angle = _numpy(metrics.mean_angle(angles, mask.float()))
        values[ScoreKey("sam_rad", ground, None)] = angle
        values[ScoreKey("sam_deg", ground, None)] = np.degrees(angle)
    return values


def _numpy(values: Tensor) -> FloatArray:
    array: FloatArray = values.double().cpu().numpy()
    return array
