"""By which figure of the val split the best checkpoint is chosen, and the evaluation's scores, of which it may be one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from s1s2pairs.dataset.dataset import Dataset
from s1s2pairs.errors import RunError

from ..data.dataset import PairDataset
from ..data.loader import in_order, make_loader, to_network
from ..data.patches import RawBatch
from ..evaluate.entries import begin_group
from ..evaluate.pooling import GROUNDS, ScoreKey, Scores
from ..evaluate.scores import score_batch
from ..metrics.names import METRICS, MetricName
from ..network_names import nearest
from ..scaling import Scaling
from ..task import Orders, Task
from ..translator import Prediction, Translator

OF_VALIDATION: Final = {
    "l1": MetricName(label="L1", best="low", meaning="mean absolute error on the network's scale"),
    "psnr_db": MetricName(label="PSNR", unit="dB", meaning="peak signal-to-noise ratio on the network's scale"),
}
"""Figures that every validation has."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A figure of the val split, and which way it is better."""

    name: str
    """As in `--set select=NAME`."""
    metric: MetricName
    key: ScoreKey | None
    """In the evaluation's scores, over all images and bands; None for a figure of every validation."""

    @property
    def way(self) -> str:
        """Return which value it chooses: `lowest`, `highest` or `nearest to 1:`."""
        return {"low": "lowest", "high": "highest", "one": "nearest to 1:"}[self.metric.best]

    @property
    def shown(self) -> str:
        """Return its name for people: `L1`, `psnr_changed`."""
        return "L1" if self.name == "l1" else self.name

    def is_better(self, value: float, than: float | None) -> bool:
        """Return whether a value is better than the best so far; than none, any value is."""
        return than is None or self.metric.better(value) > self.metric.better(than)


def select_by(name: str) -> Selection:
    """Return the figure of a name.

    Raises:
        RunError: There is none of this name; the text names the nearest.
    """
    if name in OF_VALIDATION:
        return Selection(name, OF_VALIDATION[name], None)
    keys = {_named(key): key for key in (ScoreKey(m, ground, None) for m in METRICS for ground in GROUNDS)}
    if name not in keys:
        raise RunError(
            f"select={name} does not fit: there is no such figure.{nearest(name, [*OF_VALIDATION, *keys])} Choose from "
            f"{', '.join(OF_VALIDATION)}, or a metric of the evaluation, alone or with _changed or _unchanged: "
            f"{', '.join(METRICS)}"
        )
    return Selection(name, METRICS[keys[name].metric], keys[name])


def _named(key: ScoreKey) -> str:
    return key.metric if key.ground == "all" else f"{key.metric}_{key.ground}"


class ValScores:
    """The val split as the evaluation scores it."""

    def __init__(
        self, datasets: Sequence[Dataset], task: Task, selection: Selection, *, scaling: Scaling, orders: Orders
    ) -> None:
        """Open the val split of datasets.

        Args:
            datasets: Those that have one.
            task: Of the network.
            selection: The figure that is wanted, a metric of the evaluation.
            scaling: How the network sees images.
            orders: In which orders the periods of a location are used.

        Raises:
            RunError: The target has no such metric, or no image of the split such ground.
        """
        self._selection, self._task = selection, task
        self._group = begin_group(task, scaling)
        self._group.include(task)
        self._data = PairDataset(datasets, self._group.task, split="val", scaling=scaling, orders=orders)
        self._check()

    def _check(self) -> None:
        figure = self._selection
        for number in range(len(self._data)):
            perfect = self._score(self._data.read([number]), torch.device("cpu"), None)
            found = {key: value for key, value in perfect.pool(np.ones(1, np.bool_)).items() if key.band is None}
            if figure.key not in found:
                raise RunError(
                    f"select={figure.name} does not fit: a prediction of {self._task.target.key} has "
                    f"{', '.join(sorted(map(_named, found)))}"
                )
            if found[figure.key].n:
                return
        ground = "valid" if figure.key is None or figure.key.ground == "all" else figure.key.ground
        raise RunError(
            f"select={figure.name} does not fit: no image of the val split has {ground} ground; choose another figure"
        )

    @torch.no_grad()
    def figure(self, translator: Translator, device: torch.device, *, rank: int, world_size: int) -> float:
        """Return what the evaluation would say of a translator, which is left in evaluation mode.

        Args:
            translator: On the device.
            device: Where to compute.
            rank: Number of this process.
            world_size: Number of processes; each scores its share.

        Raises:
            RunError: It has no value: a prediction is not finite, or the metric is undefined for it.
        """
        translator.eval()
        batches = in_order(self._data, translator.config.batch_size, rank=rank, world_size=world_size)
        loader = make_loader(self._data, batches, workers=0, pin_memory=False)
        scores = Scores.concatenate(
            _of_all_processes([self._score(raw, device, translator) for raw in loader], world_size)
        )
        pooled = scores.pool(np.ones(len(scores.samples), np.bool_))
        found = next(value for key, value in pooled.items() if key == self._selection.key)
        if found.value is None:
            raise RunError(
                f"{self._selection.name} has no value on the val split: {int((scores.not_finite > 0).sum())} predictions are "
                f"not finite, it rests on {found.n} images; lower --set learning_rate, use --precision 32-true, or choose "
                "another figure with --set select=NAME"
            )
        return found.value

    def _score(self, raw: RawBatch, device: torch.device, translator: Translator | None) -> Scores:
        """Score what a translator makes of a batch; without one, a perfect prediction."""
        data, group, target = self._data, self._group, self._task.target
        batch = to_network(data, raw, device)
        observed = {
            stack.key: data.observed(raw, stack).to(device) for stack in (*data.task.earlier_targets, data.task.target)
        }
        mean = batch[group.target.key]
        if translator is not None:
            mean = target.pick(translator(group.batch_of(self._task, batch)).mean, group.target.bands)
        return score_batch(Prediction(mean), observed, batch, data.task, data.scaling)


def _of_all_processes(own: list[Scores], world_size: int) -> Sequence[Scores]:
    if world_size == 1:
        return own
    gathered: list[list[Scores]] = [[]] * world_size
    torch.distributed.all_gather_object(gathered, own)
    return [part for parts in gathered for part in parts]
