"""Score trained runs and the baselines on one split of a dataset.

Every run is scored on the same pixels as the others that predict the same target, and so are the baselines. A network
that reads no reference (a plain translation) still is scored on changed and unchanged ground: the evaluation loads the
reference beside its inputs.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from s1s2pairs.dataset.dataset import open_dataset
from s1s2pairs.errors import RunError
from s1s2pairs.progress import Progress, Silence, stage

from ..data.dataset import PairDataset
from ..data.patches import RawBatch
from ..hardware import choose_device, memory_advice
from ..pictures import sample_panels
from ..runs.loading import Loaded
from ..task import Batch
from ..translator import Prediction
from .baselines import Baseline, as_observed, on_network_scale
from .entries import Group, at_shared_dates, baseline_entries, load_groups
from .pooling import ScoreKey, Scores
from .results import Entry, Evaluation, Example, NotFinite, Rank, Row, SampleTable, Scored
from .rows import kept_for_tables, rows_of
from .scores import score_batch

logger = logging.getLogger(__name__)

DEFAULT_BATCH_SIZE: Final = 8
Predictor: TypeAlias = Callable[[Batch, Batch], tuple[Prediction, Tensor | None]]
"""From a batch and what was observed to a prediction, and to the same in dB or reflectance where that is no scaling back."""


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
    found: dict[str, Scored] = {}
    groups, opened = load_groups(runs, which), open_dataset(data)
    for group in groups:
        dataset = PairDataset(opened, group.task, split=split, scaling=group.scaling)
        scorer = _Scorer(
            dataset=dataset, device=choose_device(device), batch_size=batch_size, progress=progress or Silence()
        )
        table = SampleTable.of(dataset.samples)
        results: list[tuple[Entry, Scores]] = []
        for entry, baseline in baseline_entries(group, marked=len(groups) > 1):
            results.append((entry, scorer.score(entry.run, scorer.baseline(baseline))))
        for entry, loaded in group.runs:
            loaded.translator.to(scorer.device)
            scores = scorer.score(entry.run, scorer.run(group, loaded))
            results.append((entry, scores))
            examples.extend(scorer.examples(entry.run, group, loaded, scores))
            loaded.translator.cpu()
        for entry, scores in results:
            measures = scores.measures()
            entries.append(_with_not_finite(entry, scores, table))
            rows.extend(rows_of(entry, measures, table, split))
            found[entry.run] = Scored(measures=kept_for_tables(measures), table=table)
    return Evaluation(
        dataset=str(data), split=split, entries=tuple(entries), rows=tuple(rows), examples=tuple(examples), scored=found
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scorer:
    """Runs predictors over one dataset."""

    dataset: PairDataset
    device: torch.device
    batch_size: int
    progress: Progress

    @torch.inference_mode()
    def score(self, name: str, predict: Predictor) -> Scores:
        """Score every sample."""
        task, scaling = self.dataset.task, self.dataset.scaling
        parts: list[Scores] = []
        total = len(self.dataset)
        with stage(self.progress, f"scoring {name}", total):
            for start in range(0, total, self.batch_size):
                numbers = range(start, min(start + self.batch_size, total))
                raw = self._read(numbers)
                batch, observed = self.dataset.scale(raw), self._observed(raw)
                with memory_advice(f"{len(numbers)} patches"):
                    prediction, physical = predict(batch, observed)
                    parts.append(score_batch(prediction, observed, batch, task, scaling, physical=physical))
                self.progress.step(steps=len(numbers))
        return Scores.concatenate(parts)

    def run(self, group: Group, loaded: Loaded) -> Predictor:
        """Return a run as a predictor."""
        return lambda batch, _: (group.predict(loaded, batch), None)

    def baseline(self, baseline: Baseline) -> Predictor:
        """Return a baseline as a predictor: its errors are those of what was observed, not of what the scaling left of it."""
        task = self.dataset.task
        return lambda batch, observed: (
            Prediction(on_network_scale(baseline, batch, task)),
            as_observed(baseline, batch, observed, task),
        )

    @torch.inference_mode()
    def examples(self, run: str, group: Group, loaded: Loaded, scores: Scores) -> Iterator[Example]:
        """Draw the worst, the median and the best sample by PSNR."""
        psnr = scores.per_image[ScoreKey("psnr", "all", None)]
        order = np.argsort(psnr, kind="stable")[: int(np.isfinite(psnr).sum())]  # NaN (nothing valid) sorts last
        if not order.size:
            return
        task = loaded.translator.task  # shows what this network read, not what others read besides
        shown = at_shared_dates(task)
        ranks: tuple[Rank, ...] = ("worst", "median", "best")
        for rank, position in zip(ranks, (0, (order.size - 1) // 2, -1), strict=True):
            number = int(scores.samples[order[position]])
            sample = self.dataset.samples[number]
            batch = group.batch_of(task, self.dataset.scale(self._read([number])))
            prediction = loaded.translator(batch).mean.float()
            batch |= {new.key: batch[old.key] for old, new in zip(task.stacks, shown.stacks, strict=True)}
            yield Example(
                run=run,
                rank=rank,
                patch_id=sample.patch_id,
                direction=sample.direction,
                psnr_db=float(psnr[order[position]]),
                panels=sample_panels(batch, prediction, row=0, task=shown, scaling=self.dataset.scaling),
            )

    def _read(self, numbers: Sequence[int]) -> RawBatch:
        return {key: values.to(self.device, non_blocking=True) for key, values in self.dataset.read(numbers).items()}

    def _observed(self, raw: RawBatch) -> Batch:
        task = self.dataset.task
        return {stack.key: self.dataset.observed(raw, stack) for stack in (*task.earlier_targets, task.target)}


def _with_not_finite(entry: Entry, scores: Scores, table: SampleTable) -> Entry:
    """Return an entry that names the samples whose prediction is invalid."""
    broken = [
        NotFinite(patch_id=sample.patch_id, direction=sample.direction, pixels=pixels)
        for sample, pixels in zip(table.samples, scores.not_finite.tolist(), strict=True)
        if pixels
    ]
    entry = replace(entry, not_finite=tuple(broken))
    if entry.problem is not None:
        logger.warning("%s", entry.problem)
    return entry
