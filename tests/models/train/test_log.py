"""Losses of several processes: their mean, and the one that was no number."""

import math

import torch
from torch import Tensor

from models.data.samples import Sample
from models.train.log import LossMeter
from s1s2pairs.errors import RunError
from tests.refusals import refuses

SAMPLES = [
    Sample(patch_id=f"roi_{n}", roi="roi", periods=("2019", "2021"), direction="forward", rows=(0, 1))
    for n in range(40)
]


def meter_of_first(other: list[float], other_numbers: list[int]) -> LossMeter:
    """Return the meter of process 0 of two; process 1 sends `other` and, when asked for its samples, `other_numbers`."""
    answers = [torch.tensor(other, dtype=torch.float64), torch.tensor(other_numbers)]

    def gather(own: Tensor) -> Tensor:
        answer = answers.pop(0)
        assert answer.dtype == own.dtype
        return torch.stack([own, answer])

    return LossMeter(SAMPLES, torch.device("cpu"), gather)


def test_means_go_over_steps_and_processes_and_begins_anew() -> None:
    meter = meter_of_first([-1.0, 5.0], [])
    for step, loss in enumerate((1.0, 3.0)):
        meter.begin_step(step, torch.tensor([step]))
        meter.add(step, "l1", torch.tensor(loss))
    assert meter.means() == {"l1": 3.5}
    assert meter.means() == {}


def test_first_bad_step_counts_even_if_later_ones_are_bad_too() -> None:
    meter = meter_of_first([-1.0, 1.0], [8, 9])
    for step, loss in enumerate((1.0, math.inf, math.nan)):
        meter.begin_step(step, torch.tensor([2 * step, 2 * step + 1]))
        meter.add(step, "l1", torch.tensor(loss))
    with refuses(RunError, 2, "roi_2", "roi_3", "learning_rate", but_not=("roi_0", "roi_4")):
        meter.means()


def test_another_processes_patches_are_named() -> None:
    meter = meter_of_first([0.0, math.nan], [8, 9])
    meter.begin_step(0, torch.tensor([0, 1]))
    meter.add(0, "l1", torch.tensor(1.0))
    with refuses(RunError, 1, "roi_8", "roi_9", "learning_rate", but_not=("roi_0",)):
        meter.means()


def test_long_lists_are_cut() -> None:
    meter = meter_of_first([], [])
    meter.begin_step(0, torch.arange(20))
    meter.add(0, "l1", torch.tensor(math.nan))
    with refuses(RunError, 1, "roi_0", "roi_7", 12, but_not=("roi_8",)):
        meter.check()
