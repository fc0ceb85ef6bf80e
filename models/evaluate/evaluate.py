"""Score trained runs and the baselines on one split of a dataset.

Every run is scored on the same pixels as the others that predict the same target, and so are the baselines. A network
that reads no reference (a plain translation) still is scored on changed and unchanged ground: the evaluation loads the
reference beside its inputs.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from s1s2pairs.dataset.dataset import open_dataset
from s1s2pairs.errors import RunError
from s1s2pairs.progress import Progress, Silence, stage

from ..data.dataset import PairDataset
from ..data.patches import RawBatch
from ..hardware import choose_device, memory_advice
from ..pictures import sample_panels
from ..task import Batch
from ..translator import Prediction, Translator
from .entries import baseline_entries, load_groups
from .results import DIRECTIONS, Direction, Entry, Evaluation, Example, NotFinite, Rank, Row
from .scores import ScoreKey, Scores, score_batch

logger = logging.getLogger(__name__)

DEFAULT_BATCH_SIZE: Final = 8


def evaluate(
    runs: Sequence[Path],
    data: str | Path,
    *,
    split: str = "test",
    which: Literal["best", "last"] = "best",
    device: str = "auto",
    batch_size: int = DEFAULT_BATCH_SIZE,
    progress: Progress | None = None,
) -> Evaluation:
    """Score runs, and the baselines that apply to their tasks.

    Args:
        runs: Folders of runs, or of checkpoints.
        data: A built dataset.
        split: `train`, `val` or `test`.
        which: Which checkpoint of each run.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        batch_size: Samples predicted at once.
        progress: Told how far it is.

    Raises:
        RunError: No runs; a run is missing or broken; the dataset lacks what a task needs; the split is empty.
        DatasetError: The dataset is missing or damaged.
    """
    if not runs:
        raise RunError("no runs to evaluate: give one or more run folders, as made by `s1s2 train`")
    choose_device(device)  # refuse a device that is not there before anything is loaded
    entries: list[Entry] = []
    rows: list[Row] = []
    examples: list[Example] = []
    groups, opened = load_groups(runs, which), open_dataset(data)
    for group in groups:
        dataset = PairDataset(opened, group.task, split=split, scaling=group.scaling)
        scorer = _Scorer(
            dataset=dataset, device=choose_device(device), batch_size=batch_size, progress=progress or Silence()
        )
        for entry, predict in baseline_entries(group, marked=len(groups) > 1):
            scores = scorer.score(entry.run, predict)
            entries.append(_with_not_finite(entry, scores, dataset))
            rows.extend(_rows(entry, scores, dataset))
        for entry, loaded in group.runs:
            loaded.translator.to(scorer.device)
            scores = scorer.score(entry.run, loaded.translator)
            entries.append(_with_not_finite(entry, scores, dataset))
            rows.extend(_rows(entry, scores, dataset))
            examples.extend(scorer.examples(entry.run, loaded.translator, scores))
            loaded.translator.cpu()
    return Evaluation(
        dataset=str(data), split=split, entries=tuple(entries), rows=tuple(rows), examples=tuple(examples)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scorer:
    """Runs predictors over one dataset."""

    dataset: PairDataset
    device: torch.device
    batch_size: int
    progress: Progress

    @torch.inference_mode()
    def score(self, name: str, predict: Callable[[Batch], Prediction]) -> Scores:
        """Score every sample."""
        task, scaling = self.dataset.task, self.dataset.scaling
        parts: list[Scores] = []
        total = len(self.dataset)
        with stage(self.progress, f"scoring {name}", total):
            for start in range(0, total, self.batch_size):
                numbers = range(start, min(start + self.batch_size, total))
                raw = self._read(numbers)
                batch = self.dataset.scale(raw)
                with memory_advice(f"{len(numbers)} patches"):
                    parts.append(score_batch(predict(batch), self.dataset.observed(raw), batch, task, scaling))
                self.progress.step(steps=len(numbers))
        return Scores.concatenate(parts)

    @torch.inference_mode()
    def examples(self, run: str, translator: Translator, scores: Scores) -> Iterator[Example]:
        """Draw the worst, the median and the best sample by PSNR."""
        psnr = scores.per_image[ScoreKey("psnr", "all", None)]
        order = np.argsort(psnr, kind="stable")[: int(np.isfinite(psnr).sum())]  # NaN (nothing valid) sorts last
        if not order.size:
            return
        ranks: tuple[Rank, ...] = ("worst", "median", "best")
        for rank, position in zip(ranks, (0, (order.size - 1) // 2, -1), strict=True):
            number = int(scores.samples[order[position]])
            sample = self.dataset.samples[number]
            batch = self.dataset.scale(self._read([number]))
            yield Example(
                run=run,
                rank=rank,
                patch_id=sample.patch_id,
                direction=sample.direction,
                psnr_db=float(psnr[order[position]]),
                panels=sample_panels(
                    batch,
                    translator(batch).mean.float(),
                    row=0,
                    task=translator.task,  # shows what this network read, not what others read besides
                    scaling=self.dataset.scaling,
                ),
            )

    def _read(self, numbers: Sequence[int]) -> RawBatch:
        return {key: values.to(self.device, non_blocking=True) for key, values in self.dataset.read(numbers).items()}


def _with_not_finite(entry: Entry, scores: Scores, dataset: PairDataset) -> Entry:
    """Return an entry that names the samples whose prediction is invalid."""
    found: list[NotFinite] = []
    for number, pixels in zip(scores.samples.tolist(), scores.not_finite.tolist(), strict=True):
        if pixels:
            sample = dataset.samples[number]
            found.append(NotFinite(patch_id=sample.patch_id, direction=sample.direction, pixels=pixels))
    entry = replace(entry, not_finite=tuple(found))
    if entry.problem is not None:
        logger.warning("%s", entry.problem)
    return entry


def _rows(entry: Entry, scores: Scores, dataset: PairDataset) -> Iterator[Row]:
    """Pool scores for every direction over all ROIs, and for every ROI over both directions and all bands."""
    samples = [dataset.samples[number] for number in scores.samples]
    directions = np.array([sample.direction for sample in samples])
    rois = np.array([sample.roi for sample in samples])
    groups: list[tuple[Direction, str | None, NDArray[np.bool_]]] = [
        *((direction, None, (directions == direction) | (direction == "both")) for direction in DIRECTIONS),
        *(("both", str(roi), rois == roi) for roi in np.unique(rois)),
    ]
    for direction, roi, members in groups:
        for column, value in scores.pool(members).items():
            if roi is None or column.band is None:
                yield Row(
                    run=entry.run,
                    network=entry.network,
                    seed=entry.seed,
                    split=dataset.split,
                    direction=direction,
                    ground=column.ground,
                    roi=roi,
                    band=column.band,
                    metric=column.metric,
                    value=value.value,
                    n=value.n,
                )
