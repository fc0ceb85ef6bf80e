"""A small network without adversary or dropout, with batch norm and three dates, for tests of the zoo's contract."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..blocks.losses import masked_l1
from ..config import NetworkConfig
from ..task import Batch, Stack, Task
from ..translator import Prediction, Translator

PAPER = "none"
YEAR = 2026
SUMMARY = "for tests"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(NetworkConfig):
    """Small."""

    width: int = 4
    patch_multiple: ClassVar[int] = 1

    @property
    def task(self) -> Task:
        """S1 of the second of three dates, and S2 of the two others, to S2 of the second."""
        return Task(
            name="toy_regressor",
            sources=(Stack(sensor="s1", date=1, bands=self.s1_bands),),
            references=tuple(Stack(sensor="s2", date=date, bands=self.s2_bands) for date in (0, 2)),
            target=Stack(sensor="s2", date=1, bands=self.s2_bands),
        )


class Network(Translator):
    """Two convolutions with a batch norm between them."""

    parts = ("regressor",)
    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        hidden = 8 * config.width
        self.regressor = nn.Sequential(
            nn.Conv2d(sum(len(stack.bands) for stack in self.task.inputs), hidden, 3, padding=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, len(config.s2_bands), 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, batch: Batch) -> Prediction:
        """Predict."""
        return Prediction(self.regressor(torch.cat([batch[stack.key] for stack in self.task.inputs], dim=1)))

    def training_step(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Yield the one loss there is."""
        loss = masked_l1(self(batch).mean, batch["s2_t2"], batch["valid"])
        self.logged = {"error": loss.detach()}
        yield "regressor", loss
