"""What an evaluation found, as plain values: numbers, who they belong to, examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..data.samples import Sample
from ..pictures import Panel
from .pooling import BoolArray, Ground, Measure, ScoreKey
from .uncertainty import Clusters

Direction: TypeAlias = Literal["both", "forward", "backward"]
DIRECTIONS: Final[tuple[Direction, ...]] = ("both", "forward", "backward")
SAMPLES_NAMED: Final = 8
"""Samples named in a message; the rest are counted."""
Rank: TypeAlias = Literal["worst", "median", "best"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One number of an evaluation."""

    run: str
    network: str
    seed: int | None
    split: str
    direction: Direction
    ground: Ground
    roi: str | None
    """None: all ROIs of the split."""
    band: str | None
    """None: all bands of the target together. `NDVI` stands beside the bands where the target has B4 and B8."""
    metric: str
    value: float | None
    """None where no pixel supports it (n is 0 then), where it is undefined, or where a prediction that it rests on is not finite
    (the entry says so)."""
    n: int
    """Samples the value rests on."""
    low: float | None = None
    """Lower end of the 95 % interval; None where fewer than two ROIs (in a row of one ROI: patches) support it."""
    high: float | None = None
    """Upper end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NotFinite:
    """A sample whose prediction is NaN or infinite where the target is valid: its scores are invalid."""

    patch_id: str
    direction: str
    pixels: int
    """Valid pixels without a finite prediction."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One run or baseline: a line of the tables."""

    run: str
    network: str
    label: str
    """The network's name, with the settings that differ between the runs of it; runs of one label differ in their seed only."""
    seed: int | None
    target: str
    """What is predicted, such as `s1_t2 (VV)`; only entries of one target are ranked against each other."""
    baseline: bool
    path: str | None
    not_finite: tuple[NotFinite, ...] = ()
    """Samples with an invalid prediction; an entry that has any ranks last."""

    @property
    def problem(self) -> str | None:
        """Return what is wrong with the predictions, naming the first samples; None where nothing is."""
        if not self.not_finite:
            return None
        named = ", ".join(f"{sample.patch_id} ({sample.direction})" for sample in self.not_finite[:SAMPLES_NAMED])
        more = len(self.not_finite) - SAMPLES_NAMED
        return (
            f"{self.run}: NaN or infinity is predicted where the target is valid, in {len(self.not_finite)} "
            f"{'sample' if len(self.not_finite) == 1 else 'samples'}: {named}{f' and {more} more' if more > 0 else ''}. "
            "Scores that rest on them are invalid, and it ranks last."
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One sample as a run predicted it, to look at."""

    run: str
    rank: Rank
    patch_id: str
    direction: str
    psnr_db: float
    panels: tuple[Panel, ...]
    """Inputs, prediction, target and error."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleTable:
    """The samples that scores are of, in their order."""

    samples: tuple[Sample, ...]
    directions: NDArray[Any]
    """(image,) direction of each."""
    rois: NDArray[Any]
    """(image,) ROI of each."""
    by_roi: Clusters
    by_patch: Clusters

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> "SampleTable":
        """Make the table of some samples."""
        rois = [sample.roi for sample in samples]
        return cls(
            samples=tuple(samples),
            directions=np.array([sample.direction for sample in samples]),
            rois=np.array(rois),
            by_roi=Clusters.of(rois),
            by_patch=Clusters.of([sample.patch_id for sample in samples]),
        )

    def group(self, direction: Direction, roi: str | None) -> BoolArray:
        """Return which samples have a direction and lie in an ROI, (image,) bool; `both` and None take all."""
        everyone = np.ones(len(self.samples), dtype=bool)
        members: BoolArray = everyone if direction == "both" else self.directions == direction
        return members if roi is None else members & (self.rois == roi)

    def clusters(self, roi: str | None) -> Clusters:
        """Return what a bootstrap draws: ROIs, or the patches of one ROI."""
        return self.by_roi if roi is None else self.by_patch


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """All scores of one run or baseline, sample by sample."""

    measures: Mapping[ScoreKey, Measure]
    table: SampleTable


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Everything known about some runs on one split."""

    dataset: str
    split: str
    entries: tuple[Entry, ...]
    rows: tuple[Row, ...]
    examples: tuple[Example, ...]
    scored: Mapping[str, Scored] = field(default_factory=dict)
    """By run: what the rows are pooled from."""

    def of_run(self, run: str) -> "Evaluation":
        """Return the part about one run and the baselines of its target."""
        target = next(entry.target for entry in self.entries if entry.run == run)
        kept = tuple(entry for entry in self.entries if entry.run == run or (entry.baseline and entry.target == target))
        names = {entry.run for entry in kept}
        return replace(
            self,
            entries=kept,
            rows=tuple(row for row in self.rows if row.run in names),
            examples=tuple(example for example in self.examples if example.run == run),
            scored={name: scored for name, scored in self.scored.items() if name in names},
        )
