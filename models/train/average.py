"""The moving average of a network's weights, which predicts in their place."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..runs.loading import read_weights
from .start import Start


class Average:
    """An exponential moving average over the steps of all weights that learn.

    Buffers (batch statistics) are not averaged: the average predicts with those of the latest weights.
    """

    def __init__(self, translator: nn.Module, ema: float, saved: Mapping[str, Tensor] | None) -> None:
        """Begin at the present weights, or go on.

        Args:
            translator: On the device, in its memory layout; its parts are not wrapped for training yet.
            ema: Share of itself that the average keeps at each step, once there have been enough.
            saved: What `state_dict` gave before; None for a run that begins.
        """
        self._translator, self._ema = translator, ema
        named = dict(translator.named_parameters())
        self._weights: list[Tensor] = list(named.values())
        self._values = [
            torch.empty_like(weight).copy_(weight.detach() if saved is None else saved[name])
            for name, weight in named.items()
        ]

    def update(self, step: int) -> None:
        """Take in the weights after a step.

        It keeps (1 + step) / (10 + step) of itself as long as that is less than `ema`, so that the first weights, which
        know nothing, are soon forgotten.

        Args:
            step: Steps before this one.
        """
        keep = min(self._ema, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(self._values, self._weights, 1.0 - keep)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the network predict with the average."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def state_dict(self) -> dict[str, Tensor]:
        """Return average and buffers, named like the weights."""
        with self.in_place():
            return self._translator.state_dict()

    def _exchange(self) -> None:
        for place, weight in enumerate(self._weights):
            weight.data, self._values[place] = self._values[place], weight.data


def begin_average(start: Start) -> Average | None:
    """Return the average of a run whose translator is on the device already; None where it keeps none.

    Raises:
        RunError: The average in the run's checkpoint is damaged.
    """
    if start.training.ema is None:
        return None
    saved = None
    if start.checkpoint is not None and start.checkpoint_folder is not None:
        saved = read_weights(start.checkpoint_folder, start.checkpoint, start.translator, "average")
    return Average(start.translator, start.training.ema, saved)
