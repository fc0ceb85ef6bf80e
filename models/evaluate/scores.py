"""Scores of predictions, image by image, on all, changed and unchanged ground; and how they pool over any group of images.

PSNR, SSIM and their weighted forms are taken on images scaled to [0, 1] by the fixed ranges (R = 1), errors and sums in dB or
reflectance against the target as it was observed, also where that lies beyond the ranges. Scores keep a few numbers per
image, so that a split of any size streams through, and every grouping (direction, ROI) is pooled from the same numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..metrics import pixels as metrics
from ..metrics.change import hard_change, soft_change
from ..metrics.names import METRICS
from ..metrics.pixels import FloatArray
from ..metrics.ssim import mean_ssim, ssim_map, weighted_ssim
from ..scaling import Scaling
from ..task import Batch, Sensor, Task
from ..translator import Prediction
from .baselines import copy_t1

Ground: TypeAlias = Literal["all", "changed", "unchanged"]
GROUNDS: Final[tuple[Ground, ...]] = ("all", "changed", "unchanged")
NDVI: Final = "NDVI"
RED, NEAR_INFRARED = "B4", "B8"
LARGEST: Final = 1e15
"""Predictions from here on count as infinite: their squared errors overflow single precision when summed over a patch."""
ERROR_SUFFIX: Final[Mapping[Sensor, str]] = {"s1": "db", "s2": "reflectance"}


class ScoreKey(NamedTuple):
    """What one number per image is about."""

    metric: str
    ground: Ground
    band: str | None
    """None: all bands of the target together."""


class Value(NamedTuple):
    """A metric over a group of images."""

    value: float | None
    """None where nothing supports it, where it is undefined (a correlation with a constant), or where a prediction that it rests
    on is not finite."""
    n: int
    """Images it rests on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Scores of some images. The first axis of every array is the image."""

    samples: NDArray[np.int64]
    """(image,) numbers of the samples in their dataset."""
    per_image: Mapping[ScoreKey, FloatArray]
    """(image,) float64, NaN where the image has no such ground or an invalid prediction."""
    fractions: Mapping[Ground, FloatArray]
    """(image,) float64: part of the image's pixels that are valid and of this ground."""
    sums: Mapping[tuple[Ground, str | None], FloatArray]
    """(image, len(metrics.Sums)) float64 per ground and band."""
    energies: Mapping[str | None, FloatArray]
    """(image, 2) float64 per band: energy of fine detail in prediction and target."""
    not_finite: NDArray[np.int64]
    """(image,) valid pixels where the prediction is NaN or infinite. One of them makes every score of the image invalid."""
    sensor: Sensor
    """Of the target; says the unit of errors."""

    @classmethod
    def concatenate(cls, parts: Sequence["Scores"]) -> "Scores":
        """Join the parts of several batches, in order."""
        first = parts[0]
        return cls(
            samples=np.concatenate([part.samples for part in parts]),
            per_image={key: np.concatenate([part.per_image[key] for part in parts]) for key in first.per_image},
            fractions={key: np.concatenate([part.fractions[key] for part in parts]) for key in first.fractions},
            sums={key: np.concatenate([part.sums[key] for part in parts]) for key in first.sums},
            energies={key: np.concatenate([part.energies[key] for part in parts]) for key in first.energies},
            not_finite=np.concatenate([part.not_finite for part in parts]),
            sensor=first.sensor,
        )

    def pool(self, group: NDArray[np.bool_]) -> dict[ScoreKey, Value]:
        """Return every metric over the images of a group.

        Per-image values of `all` are averaged plainly; those of changed or unchanged ground are weighted by how much of the
        image is such ground, and images without any are skipped. The other metrics are worked out once, on the group's
        summed pixels. Where one of the images has an invalid prediction, the group has no value.

        Args:
            group: (image,) bool.
        """
        pooled = {column: self._mean(column, values, group) for column, values in self.per_image.items()}
        for (ground, band), sums in self.sums.items():
            total = sums[group].sum(axis=0)
            members = group & (sums[:, metrics.Sums.COUNT] > 0)
            for metric, formula in self._formulas(band).items():
                value = np.nan if self._is_invalid(members) else formula(total)
                pooled[ScoreKey(metric, ground, band)] = _value(value, int(members.sum()))
        for band, energies in self.energies.items():
            predicted, wanted = energies[group].sum(axis=0)
            members = group & (self.fractions["all"] > 0)
            ratio = predicted / wanted if wanted > 0 and not self._is_invalid(members) else np.nan
            pooled[ScoreKey("hf_ratio", "all", band)] = _value(ratio, int(members.sum()))
        return pooled

    def _is_invalid(self, members: NDArray[np.bool_]) -> bool:
        return bool((self.not_finite[members] > 0).any())

    def _mean(self, column: ScoreKey, values: FloatArray, group: NDArray[np.bool_]) -> Value:
        weights = self.fractions[column.ground]
        members = group & (weights > 0)
        if self._is_invalid(members):
            return Value(None, int(members.sum()))
        counted = members & np.isfinite(values)
        if not counted.any():
            return Value(None, 0)
        shares = np.ones(int(counted.sum())) if column.ground == "all" else weights[counted]
        return Value(float(np.average(values[counted], weights=shares)), int(counted.sum()))

    def _formulas(self, band: str | None) -> dict[str, Callable[[FloatArray], float]]:
        suffix = NDVI.lower() if band == NDVI else ERROR_SUFFIX[self.sensor]
        errors = {f"mae_{suffix}": metrics.mae, f"rmse_{suffix}": metrics.rmse}
        angle = {"sam_flat_rad": metrics.flat_angle} if self.sensor == "s2" else {}
        pooled = {name: metric.pooled for name, metric in METRICS.items() if metric.pooled is not None}
        return {**errors, **pooled, **angle}


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


def score_batch(prediction: Prediction, observed: Tensor, batch: Batch, task: Task, scaling: Scaling) -> Scores:
    """Score a batch of predictions on the device they are on.

    Args:
        prediction: Of the task's target; its spread has no say yet.
        observed: (batch, band, y, x) float, the target in dB or reflectance, not clipped; any number where invalid.
        batch: The batch that was predicted, with its target.
        task: A task with two dates of radar or of the target's sensor (see `change`).
        scaling: How the batch was scaled.

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
    energies: dict[str | None, FloatArray] = {}
    grounds = torch.cat([weights["", ground] for ground in GROUNDS], dim=1)
    comparisons = _comparisons(prediction.mean.float(), observed, batch, task, scaling)
    for comparison in comparisons:
        per_image.update(_similarities(comparison, weights, valid))
        totals = metrics.pixel_sums(*comparison.physical, grounds)
        details = torch.stack(
            [metrics.high_frequency_energy(image, valid) for image in comparison.physical[:2]], dim=-1
        )
        for band, channels in comparison.channels().items():
            sums.update(
                {(ground, band): _numpy(totals[:, row, channels].sum(dim=1)) for row, ground in enumerate(GROUNDS)}
            )
            energies[band] = _numpy(details[:, channels].sum(dim=1))
    if task.target.sensor == "s2" and len(task.target.bands) > 1:
        per_image.update(_angles(*comparisons[0].physical[:2], masks))
    pixels = valid[0].numel()
    usable = (prediction.mean.float().abs() < LARGEST).all(dim=1, keepdim=True)  # NaN is not below it
    broken = (valid & ~usable).sum(dim=(1, 2, 3)).cpu().numpy()
    for values in per_image.values():
        values[broken > 0] = np.nan
    return Scores(
        samples=batch["sample"].cpu().numpy(),
        per_image=per_image,
        fractions={ground: _numpy(mask.sum(dim=(1, 2, 3)) / pixels) for ground, mask in masks.items()},
        sums=sums,
        energies=energies,
        not_finite=broken,
        sensor=task.target.sensor,
    )


def _comparisons(prediction: Tensor, observed: Tensor, batch: Batch, task: Task, scaling: Scaling) -> list[_Comparison]:
    stack = task.target
    target = batch[stack.key]
    p, t, c = scaling.unscale(prediction, stack), observed, scaling.unscale(copy_t1(batch, task), stack)
    comparisons = [_Comparison(stack.bands, ((prediction + 1) / 2, (target + 1) / 2), 1.0, (p, t, c))]
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


def _value(number: float, n: int) -> Value:
    return Value(float(number), n) if n and np.isfinite(number) else Value(None, n)
