"""The learning rates and the optimiser that a run's steps really have."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from .helpers import Toy, assert_same, tensors

LR = 1e-3
Taken = list[tuple[type[Optimizer], dict[str, Any]]]


@pytest.fixture
def taken() -> Iterator[Taken]:
    """Kind and settings of the optimiser at each of its steps, as it is about to take it."""
    seen: Taken = []

    def note(optimizer: Optimizer, *_: object) -> None:
        (group,) = optimizer.param_groups
        seen.append((type(optimizer), {key: value for key, value in group.items() if key != "params"}))

    handle = register_optimizer_step_pre_hook(note)
    yield seen
    handle.remove()


def factors(taken: Taken) -> list[float]:
    """Return learning rate / `LR` of each step of the loop, in which both parts take one."""
    rates = [group["lr"] / LR for _, group in taken]
    assert rates[0::2] == rates[1::2]
    return rates[0::2]


def test_warmup_rises_evenly_and_then_stays(toys: Toy, taken: Taken) -> None:
    toys("run", warmup_steps=3)
    assert factors(taken) == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1, 1, 1, 1, 1])


def test_linear_decay_falls_from_epoch_to_epoch(toys: Toy, taken: Taken) -> None:
    toys("run", epochs=4, decay_epochs=2, warmup_steps=1)
    assert factors(taken) == pytest.approx([0.5, *[1.0] * 7, *[2 / 3] * 4, *[1 / 3] * 4])


def test_cosine_decay_falls_from_step_to_step(toys: Toy, taken: Taken) -> None:
    """Four steps an epoch: the last two of three epochs are steps 5 to 12, of which 0/8, 1/8, ... have passed."""
    toys("run", epochs=3, decay_epochs=2, decay="cosine")
    assert factors(taken) == pytest.approx([1.0] * 4 + [0.5 * (1 + math.cos(math.pi * step / 8)) for step in range(8)])


def test_accumulated_batches_are_one_step_of_the_schedule(toys: Toy, taken: Taken) -> None:
    toys("run", batch_size=1, accumulate=2, warmup_steps=3)
    assert factors(taken) == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1, 1, 1, 1, 1])


@pytest.mark.parametrize("stopped_after", [2, 4, 7])
def test_a_resumed_run_goes_on_with_its_schedule(toys: Toy, taken: Taken, stopped_after: int) -> None:
    settings = {"warmup_steps": 3, "decay_epochs": 1, "decay": "cosine", "optimizer": "adamw", "weight_decay": 0.1}
    whole = toys("whole", **settings).run
    expected = factors(taken)
    taken.clear()
    part = toys("part", **settings, max_steps=stopped_after).run
    toys("part", resume=part, max_steps="none")
    assert factors(taken) == expected
    assert_same(tensors(part), tensors(whole))


@pytest.mark.parametrize(("name", "kind"), [("adam", Adam), ("adamw", AdamW)])
def test_the_optimizer_is_the_one_asked_for(toys: Toy, taken: Taken, name: str, kind: type[Optimizer]) -> None:
    run = toys("run", optimizer=name, betas="0.8,0.9", weight_decay=0.2, max_steps=1).run
    assert {one for one, _ in taken} == {kind}
    assert {(group["betas"], group["weight_decay"]) for _, group in taken} == {((0.8, 0.9), 0.2)}
    assert all(torch.isfinite(value).all() for value in tensors(run).values())


def test_adamw_takes_the_decay_apart_from_the_gradients(toys: Toy) -> None:
    """With a tiny gradient step, a weight shrinks by learning rate x decay and nothing else; Adam would not."""
    start = tensors(toys("start", learning_rate=1e-30, max_steps=1).run)
    run = toys("run", optimizer="adamw", learning_rate=0.01, weight_decay=10, clip_norm=1e-30, max_steps=1).run
    for key, value in tensors(run).items():
        torch.testing.assert_close(value, start[key] * (1 - 0.01 * 10), atol=1e-6, rtol=1e-5)
