"""Two small generators that train on unpaired images, remember earlier predictions and read the incidence angle."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ..blocks.losses import masked_l1
from ..config import NetworkConfig
from ..task import Batch, Stack, Task
from ..translator import Prediction, TrainingProgress, Translator, frozen

PAPER = "none"
YEAR = 2026
SUMMARY = "for tests"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(NetworkConfig):
    """Small; trains on squares of 16 px of dark ground unless told otherwise."""

    s2_bands: tuple[str, ...] = ("B3", "B4")
    width: int = 4
    epochs: int = 2
    batch_size: int = 2
    depth: Literal[1, 4] = 1
    paired: bool = False
    patch_multiple: ClassVar[int] = 4
    training_defaults: ClassVar = {"crop": 16, "s2_range": (0.0, 0.5)}

    @property
    def task(self) -> Task:
        """S1 to S2 of one date."""
        return Task(
            name="toy_unpaired",
            sources=(Stack(sensor="s1", date=0, bands=self.s1_bands),),
            references=(),
            target=Stack(sensor="s2", date=0, bands=self.s2_bands),
            paired=self.paired,
        )


class Network(Translator):
    """One convolution each way."""

    parts = ("there", "back")
    conditions = ("incidence",)
    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        radar, optical = len(config.s1_bands), len(config.s2_bands)
        self.there = nn.Sequential(nn.Conv2d(radar + 1, optical, 3, padding=1), nn.Tanh())
        self.back = nn.Sequential(nn.Conv2d(optical, radar, 3, padding=1), nn.Tanh())

    def forward(self, batch: Batch) -> Prediction:
        """Predict."""
        self.check_patch(batch)
        angle = (batch["incidence"][:, :1, None, None] / 90).expand(-1, -1, *batch["s1_t1"].shape[-2:])
        return Prediction(self.there(torch.cat([batch["s1_t1"], angle], dim=1)))

    def learning_rate_factor(self, part: str, progress: TrainingProgress) -> float:
        """The way back learns in the first half only."""
        return float(part == "there" or progress.share < 0.5)

    def training_step(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Yield a loss that depends on this batch, on the one before it and on the progress."""
        prediction = self(batch).mean
        before = self.training_state.get("before", torch.zeros_like(prediction))
        self.training_state = {"before": prediction.detach()}
        with frozen(self.back):
            cycle = masked_l1(self.back(prediction), batch["s1_t1"], batch["valid"])
        mean = (batch["s2_t1"] * batch["target_valid"]).mean() if "target_valid" in batch else batch["s2_t1"].mean()
        self.logged = {"l1": cycle.detach()}
        yield (
            "there",
            cycle + (prediction.mean() - mean).abs() + (0.1 + self.progress.share) * (prediction - before).abs().mean(),
        )
        yield "back", masked_l1(self.back(prediction.detach()), batch["s1_t1"], batch["valid"])
