"""By which figure of the val split the best checkpoint is chosen, and the evaluation's scores, of which it may be one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, get_args

import numpy as np
import torch
from torch import Tensor

from s1s2pairs.errors import RunError

from ..data.dataset import PairDataset
from ..data.loader import in_order, make_loader, to_network
from ..data.patches import RawBatch
from ..evaluate.scores import Ground, ScoreKey, Scores, score_batch
from ..metrics.names import METRICS, MetricName
from ..network_names import nearest
from ..task import Batch
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

    def check(self, data: PairDataset) -> None:
        """Refuse a figure that the val split cannot have.

        Args:
            data: The val split, of a task in which changed ground is defined.

        Raises:
            RunError: The target has no such metric, or no image of the split such ground.
        """
        if self.key is None:
            return
        for number in range(len(data)):
            perfect = _scores(data, data.read([number]), torch.device("cpu"), lambda batch: batch[data.task.target.key])
            found = perfect.pool(np.ones(1, np.bool_))
            if self.key not in found:
                there = sorted(_named(key) for key in found if key.band is None)
                raise RunError(
                    f"select={self.name} does not fit: a prediction of {data.task.target.key} has {', '.join(there)}"
                )
            if found[self.key].n:
                return
        raise RunError(
            f"select={self.name} does not fit: no image of the val split has {self.key.ground} ground to work it out on; "
            "choose another figure"
        )


def select_by(name: str) -> Selection:
    """Return the figure of a name.

    Raises:
        RunError: There is none of this name; the text names the nearest.
    """
    if name in OF_VALIDATION:
        return Selection(name, OF_VALIDATION[name], None)
    keys = {_named(key): key for key in (ScoreKey(m, ground, None) for m in METRICS for ground in get_args(Ground))}
    if name not in keys:
        raise RunError(
            f"select={name} does not fit: there is no such figure.{nearest(name, [*OF_VALIDATION, *keys])} Choose from "
            f"{', '.join(OF_VALIDATION)}, or a metric of the evaluation, alone or with _changed or _unchanged: "
            f"{', '.join(METRICS)}"
        )
    return Selection(name, METRICS[keys[name].metric], keys[name])


def _named(key: ScoreKey) -> str:
    return key.metric if key.ground == "all" else f"{key.metric}_{key.ground}"


@torch.no_grad()
def score(
    translator: Translator,
    dataset: PairDataset,
    device: torch.device,
    selection: Selection,
    *,
    rank: int,
    world_size: int,
) -> float:
    """Return what the evaluation would say of a translator, which is left in evaluation mode.

    Args:
        translator: On the device.
        dataset: The val split, of a task in which changed ground is defined.
        device: Where to compute.
        selection: Which figure of the evaluation.
        rank: Number of this process.
        world_size: Number of processes; each scores its share.

    Raises:
        RunError: It has no value: a prediction is not finite, or the metric is undefined for it.
    """
    translator.eval()
    batches = in_order(dataset, translator.config.batch_size, rank=rank, world_size=world_size)
    loader = make_loader(dataset, batches, workers=0, pin_memory=False)
    own = [_scores(dataset, raw, device, lambda batch: translator(batch).mean) for raw in loader]
    scores = Scores.concatenate(_of_all_processes(own, world_size))
    pooled = scores.pool(np.ones(len(scores.samples), np.bool_))
    found = next(value for key, value in pooled.items() if key == selection.key)
    if found.value is None:
        raise RunError(
            f"{selection.name} has no value on the val split: {int((scores.not_finite > 0).sum())} predictions are not finite, "
            f"it rests on {found.n} images; lower --set learning_rate, use --precision 32-true, or choose another figure with "
            "--set select=NAME"
        )
    return found.value


def _scores(data: PairDataset, raw: RawBatch, device: torch.device, predict: Callable[[Batch], Tensor]) -> Scores:
    batch = to_network(data, raw, device)
    return score_batch(Prediction(predict(batch)), data.observed(raw).to(device), batch, data.task, data.scaling)


def _of_all_processes(own: list[Scores], world_size: int) -> Sequence[Scores]:
    if world_size == 1:
        return own
    gathered: list[list[Scores]] = [[]] * world_size
    torch.distributed.all_gather_object(gathered, own)
    return [part for parts in gathered for part in parts]
