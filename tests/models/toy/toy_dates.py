"""A small generator whose task has one, two or three dates, in whatever order."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ..config import NetworkConfig
from ..task import Batch, Stack, Task
from ..translator import Prediction, Translator

PAPER = "none"
YEAR = 2026
SUMMARY = "for tests"
DATES = {"one": (0, ()), "one_late": (1, ()), "two": (1, (0,)), "two_reversed": (0, (1,)), "between": (1, (0, 2))}


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(NetworkConfig):
    """Small."""

    s2_bands: tuple[str, ...] = ("B3", "B4")
    width: int = 4
    layout: Literal["one", "one_late", "two", "two_reversed", "between"] = "two"
    named: bool = False
    patch_multiple: ClassVar[int] = 4

    @property
    def task(self) -> Task:
        """S2 of the target's date, and S1 of the other dates, to S1."""
        date, others = DATES[self.layout]
        return Task(
            name=f"toy_{self.layout}",
            sources=(Stack(sensor="s2", date=date, bands=self.s2_bands, name="optical" if self.named else ""),),
            references=tuple(Stack(sensor="s1", date=other, bands=self.s1_bands) for other in others),
            target=Stack(sensor="s1", date=date, bands=self.s1_bands, name="radar" if self.named else ""),
        )


class Network(Translator):
    """One convolution over all inputs and the days at the target's date."""

    parts = ("generator",)
    conditions = ("days",)
    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        channels = sum(len(stack.bands) for stack in self.task.inputs)
        self.generator = nn.Sequential(nn.Conv2d(channels + 1, len(config.s1_bands), 3, padding=1), nn.Tanh())

    def forward(self, batch: Batch) -> Prediction:
        """Predict."""
        images = torch.cat([batch[stack.key] for stack in self.task.inputs], dim=1)
        days = batch["days"][:, self.task.target.date, None, None, None] / 3000
        return Prediction(self.generator(torch.cat([images, days.expand_as(images[:, :1])], dim=1)))

    def training_step(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Yield no loss that means anything."""
        yield "generator", self(batch).mean.square().mean()
