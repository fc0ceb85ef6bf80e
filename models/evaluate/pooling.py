"""Scores of images, and how they pool over any group of images.

Every metric rests on a few sums per image, whose formula holds for one image, for a group, and for a draw of a bootstrap
alike. So a split of any size streams through, and every grouping (direction, ROI) is pooled from the same numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..metrics import pixels, texture
from ..metrics.names import METRICS
from ..metrics.pixels import FloatArray
from ..task import Sensor

Ground: TypeAlias = Literal["all", "changed", "unchanged"]
GROUNDS: Final[tuple[Ground, ...]] = ("all", "changed", "unchanged")
NDVI: Final = "NDVI"
ERROR_SUFFIX: Final[Mapping[Sensor, str]] = {"s1": "db", "s2": "reflectance"}

Formula: TypeAlias = Callable[[FloatArray], FloatArray]
"""From sums (..., term) to values (...), NaN where they do not support one."""
BoolArray: TypeAlias = NDArray[np.bool_]


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


class Measure(NamedTuple):
    """One metric of some images, as sums that add up over them."""

    terms: FloatArray
    """(image, term) float64, 0 for images that do not count."""
    formula: Formula
    reached: BoolArray
    """(image,) whether the image has such ground."""
    counted: BoolArray
    """(image,) whether the metric can rest on the image."""
    invalid: BoolArray
    """(image,) whether it has such ground, and a prediction that is not finite."""
    weights: FloatArray
    """(image,) float64: what an image's own value weighs in a mean over images; 0 where it has none and none is missing."""

    def pool(self, group: BoolArray) -> Value:
        """Return the metric over the images of a group, (image,) bool. An invalid one among them leaves it without value."""
        if (group & self.invalid).any():
            return Value(None, int((group & self.reached).sum()))
        members = group & self.counted
        value, n = float(self.formula(self.terms[members].sum(axis=0))), int(members.sum())
        return Value(value if n and np.isfinite(value) else None, n)

    def values(self) -> FloatArray:
        """Return the metric of each image by itself, (image,) float64; NaN where it has none."""
        return np.where(self.counted & ~self.invalid, self.formula(self.terms), np.nan)


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
    """(image, len(pixels.Sums)) float64 per ground and band."""
    gradients: Mapping[tuple[Ground, str | None], FloatArray]
    """(image, 2) float64 per ground and band: summed gradients of prediction and target."""
    energies: Mapping[str | None, FloatArray]
    """(image, 2) float64 per band: energy of fine detail in prediction and target."""
    powers: Mapping[str | None, FloatArray]
    """(image, 2 RINGS) float64 per band: power by spatial frequency in prediction, then in target."""
    not_finite: NDArray[np.int64]
    """(image,) valid pixels where the prediction is NaN or infinite. One of them makes every score of the image invalid."""
    sensor: Sensor
    """Of the target; says the unit of errors."""

    @classmethod
    def concatenate(cls, parts: Sequence["Scores"]) -> "Scores":
        """Join the parts of several batches, in order."""
        joined: dict[str, Any] = {}
        for name in (field.name for field in fields(cls)):
            values = [getattr(part, name) for part in parts]
            if isinstance(values[0], Mapping):
                joined[name] = {key: np.concatenate([value[key] for value in values]) for key in values[0]}
            else:
                joined[name] = values[0] if isinstance(values[0], str) else np.concatenate(values)
        return cls(**joined)

    def measures(self) -> dict[ScoreKey, Measure]:
        """Return every metric as sums.

        Per-image values of `all` are averaged plainly; those of changed or unchanged ground are weighted by how much of the
        image is such ground, and images without any are skipped. The other metrics are worked out once, on the group's sums.
        """
        found = {}
        for key, values in self.per_image.items():
            weights = np.ones(len(values)) if key.ground == "all" else self.fractions[key.ground]
            there = np.isfinite(values)
            terms = np.stack([np.where(there, values, 0.0) * weights, weights], axis=1)
            found[key] = self._measure(key.ground, terms, _mean, there, weights)
        for (ground, band), sums in self.sums.items():
            for metric, formula in self._formulas(band).items():
                found[ScoreKey(metric, ground, band)] = self._measure(ground, sums, formula)
        for (ground, band), sums in self.gradients.items():
            found[ScoreKey("gradient_ratio", ground, band)] = self._measure(ground, sums, texture.first_over_second)
        for band, energies in self.energies.items():
            found[ScoreKey("hf_ratio", "all", band)] = self._measure("all", energies, texture.first_over_second)
        for band, powers in self.powers.items():
            found[ScoreKey("lsd_db", "all", band)] = self._measure("all", powers, texture.log_spectral_distance)
        return found

    def _measure(
        self,
        ground: Ground,
        terms: FloatArray,
        formula: Formula,
        there: BoolArray | None = None,
        weights: FloatArray | None = None,
    ) -> Measure:
        reached = self.fractions[ground] > 0
        counted = reached if there is None else reached & there
        invalid = reached & (self.not_finite > 0)
        usable = np.where((counted & ~invalid)[:, None], terms, 0.0)
        weights = self.fractions[ground] if weights is None else weights
        return Measure(usable, formula, reached, counted, invalid, np.where(counted | invalid, weights, 0.0))

    def _formulas(self, band: str | None) -> dict[str, Formula]:
        suffix = NDVI.lower() if band == NDVI else ERROR_SUFFIX[self.sensor]
        errors: dict[str, Formula] = {f"mae_{suffix}": pixels.mae, f"rmse_{suffix}": pixels.rmse}
        angle: dict[str, Formula] = {"sam_flat_rad": pixels.flat_angle} if self.sensor == "s2" else {}
        pooled = {name: metric.pooled for name, metric in METRICS.items() if metric.pooled is not None}
        return {**errors, **pooled, **angle}

    def pool(self, group: BoolArray) -> dict[ScoreKey, Value]:
        """Return every metric over the images of a group, (image,) bool."""
        return {key: measure.pool(group) for key, measure in self.measures().items()}


def _mean(terms: FloatArray) -> FloatArray:
    return pixels.ratio(terms[..., 0], terms[..., 1])
