"""The seam between a network and everything that trains, evaluates or applies one."""

import abc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.optim import Adam, Optimizer

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


class Translator(nn.Module, abc.ABC):
    """A network with its losses: predicts the target stack of its task and says how it wants to be trained.

    The training loop sets up each of `parts` with its optimiser on the devices in use. So a part is only ever used by
    calling it, never by reaching into its layers.
    """

    parts: ClassVar[tuple[str, ...]]
    """Attribute names of the sub-networks that are trained, each by its own optimiser."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.logged: dict[str, Tensor] = {}
        """Loss components of the last step, detached, for the log."""

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
        """

    def optimizers(self, *, fused: bool) -> dict[str, Optimizer]:
        """Return one optimiser per part: Adam, unless a network says otherwise.

        Args:
            fused: Use the implementation that updates all weights in one kernel.
        """
        settings = self.config
        return {
            part: Adam(self.get_submodule(part).parameters(), settings.learning_rate, settings.betas, fused=fused)
            for part in self.parts
        }

    def learning_rate_factor(self, epoch: int) -> float:
        """Return what the learning rate is multiplied by in `epoch`, which counts from 0.

        It is constant, then falls by equal steps over the last `decay_epochs` epochs; zero would come right after them.
        """
        return min(1.0, (self.config.epochs - epoch) / (self.config.decay_epochs + 1))

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
