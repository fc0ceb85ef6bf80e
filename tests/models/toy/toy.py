"""A small conditional GAN in the shape of the zoo's networks, for tests of the loop: found as `models.networks.toy`."""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..blocks.losses import masked_l1
from ..config import NetworkConfig
from ..task import Batch, Stack, Task
from ..translator import Prediction, Translator, frozen

PAPER = "none"
YEAR = 2026
SUMMARY = "for tests"
ALIASES = {"toy_wide": {"width": "8"}, "toy_narrow": {"width": "4"}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(NetworkConfig):
    """Small; the last two fields make it fail on purpose, and the variable TOY_STALLS_AT stops it at a step."""

    s2_bands: tuple[str, ...] = ("B3", "B4")
    width: int = 4
    learning_rate: float = 1e-3
    epochs: int = 2
    batch_size: int = 2
    dropout: float = 0.0
    poisoned_sample: int = -1
    hog_bytes: int = 0
    patch_multiple: ClassVar[int] = 4

    @property
    def task(self) -> Task:
        """S2 of both dates and S1 of the first to S1 of the second."""
        return Task(
            name="toy",
            sources=(Stack(sensor="s2", date=1, bands=self.s2_bands),),
            references=(Stack(sensor="s1", date=0, bands=self.s1_bands),),
            target=Stack(sensor="s1", date=1, bands=self.s1_bands),
        )


class Network(Translator):
    """Two convolutions each, with instance norm."""

    parts = ("generator", "discriminator")
    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        width = config.width
        self.generator = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, bias=False),  # a norm takes a bias away; Adam would follow its noise
            nn.InstanceNorm2d(width),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Conv2d(width, 1, 3, padding=1),
            nn.Tanh(),
        )
        self.discriminator = nn.Sequential(
            nn.Conv2d(4, width, 4, 2, 1, bias=False),
            nn.InstanceNorm2d(width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 1, 4, 2, 1),
        )

    def forward(self, batch: Batch) -> Prediction:
        """Predict."""
        return Prediction(self.generator(torch.cat([batch["s2_t2"], batch["s1_t1"]], dim=1)))

    def training_step(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Yield the discriminator's loss, then the generator's."""
        if self.config.hog_bytes:
            torch.empty(self.config.hog_bytes, dtype=torch.uint8)
        self.steps_here = getattr(self, "steps_here", 0) + 1
        if self.steps_here == int(os.environ.get("TOY_STALLS_AT", "-1")):
            threading.Event().wait()  # until it is killed
        condition = torch.cat([batch["s2_t2"], batch["s1_t1"]], dim=1)
        prediction = self.generator(condition)
        real = self.discriminator(torch.cat([condition, batch["s1_t2"]], dim=1))
        fake = self.discriminator(torch.cat([condition, prediction.detach()], dim=1))
        yield "discriminator", 0.5 * (functional.softplus(-real).mean() + functional.softplus(fake).mean())
        with frozen(self.discriminator):
            adversarial = functional.softplus(-self.discriminator(torch.cat([condition, prediction], dim=1))).mean()
        l1 = masked_l1(prediction, batch["s1_t2"], batch["valid"])
        if bool((batch["sample"] == self.config.poisoned_sample).any()):
            l1 = l1 * torch.nan
        self.logged = {"l1": l1.detach()}
        yield "generator", adversarial + 100 * l1
