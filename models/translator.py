"""The seam between a network and everything that trains, evaluates or applies one."""

import abc
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from s1s2pairs.errors import RunError

from .config import NetworkConfig
from .task import Batch, Task


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a network says about the target stack."""

    mean: Tensor
    """(batch, band, y, x) float, [-1, 1] on the scale of the target stack."""
    spread: Tensor | None = None
    """(batch, band, y, x) float, standard deviation on the same scale; None where a network gives none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingProgress:
    """How far a training has come when a step begins."""

    step: int = 0
    """Steps before this one."""
    epochs: float = 0.0
    """Epochs that have passed, with the part of the one under way."""
    share: float = 0.0
    """Part of all epochs that has passed, from 0 to 1."""

    @property
    def epoch(self) -> int:
        """The epoch under way, from 0."""
        return int(self.epochs)


class Translator(nn.Module, abc.ABC):
    """A network with its losses: predicts the target stack of its task and says how it wants to be trained.

    The training loop sets up each of `parts` with its optimiser on the devices in use. So a part is only ever used by
    calling it, never by reaching into its layers.
    """

    parts: tuple[str, ...]
    """Attribute names of the sub-networks that are trained, each by its own optimiser; a setting may take one away."""
    conditions: ClassVar[tuple[str, ...]] = ()
    """Entries of a batch among `task.CONDITIONS` that the network reads."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.logged: dict[str, Tensor] = {}
        """Loss components of the last step, detached, for the log."""
        self.progress = TrainingProgress()
        """Set by the loop before each step."""
        self.training_state: dict[str, Tensor] = {}
        """What training must remember beside weights, such as earlier predictions; each process has its own. Checkpoints
        keep it, so that a run that goes on learns what an undisturbed one would have."""

    @property
    def task(self) -> Task:
        """What goes in and what comes out."""
        return self.config.task

    @abc.abstractmethod
    def forward(self, batch: Batch) -> Prediction:
        """Predict the target stack without reading it."""

    @abc.abstractmethod
    def training_step(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Yield (part, loss) whenever that part's weights should be updated.

        Before it resumes the step, the loop clears the part's gradients, propagates the loss back and takes one
        optimiser step. Pixels that are not valid have no say in any loss.

        With `accumulate`, the steps on several batches advance side by side, from one update to the next: each yields the
        same parts in the same order, and nothing is `frozen` while it yields.
        """

    def optimizers(self, *, fused: bool) -> dict[str, Optimizer]:
        """Return one optimiser per part, as the config says, unless a network says otherwise.

        Args:
            fused: Use the implementation that updates all weights in one kernel.
        """
        config = self.config
        kind = {"adam": Adam, "adamw": AdamW}[config.optimizer]
        return {
            part: kind(
                self.get_submodule(part).parameters(),
                lr=config.learning_rate,
                betas=config.betas,
                weight_decay=config.weight_decay,
                fused=fused,
            )
            for part in self.parts
        }

    def learning_rate_factor(self, part: str, progress: TrainingProgress) -> float:  # noqa: ARG002 - for networks that differ
        """Return what the learning rate of a part is multiplied by in a step.

        It rises evenly over `warmup_steps`, is constant, then falls over the last `decay_epochs` epochs: by equal steps from
        epoch to epoch, where zero would come right after the last, or along half a cosine from step to step.

        Args:
            part: One of `parts`; all have the same schedule unless a network says otherwise.
            progress: Where the training is.
        """
        config = self.config
        warm = min(1.0, (progress.step + 1) / (config.warmup_steps + 1))
        if config.decay == "linear":
            return warm * min(1.0, (config.epochs - progress.epoch) / (config.decay_epochs + 1))
        fallen = max(0.0, progress.epochs - (config.epochs - config.decay_epochs)) / max(1, config.decay_epochs)
        return warm * 0.5 * (1.0 + math.cos(math.pi * min(1.0, fallen)))

    def check_patch(self, batch: Batch) -> None:
        """Refuse patches whose size the network cannot halve as often as it must.

        Raises:
            RunError: The patch is too small or no multiple of `config.patch_multiple`.
        """
        height, width = batch[self.task.inputs[0].key].shape[-2:]
        multiple = self.config.patch_multiple
        if height % multiple or width % multiple or not height or not width:
            raise RunError(
                f"patches of {height} x {width} px do not fit: both sides must be multiples of {multiple} px; "
                "build the dataset with a fitting patch size, or choose another network"
            )


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Let gradients pass through `module` without computing them for its weights."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
