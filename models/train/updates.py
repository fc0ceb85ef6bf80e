"""How the losses that a network yields become steps of its optimisers."""

from collections.abc import Mapping

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import Optimizer

from ..runs.loading import load_training_state
from ..runs.settings import TrainSettings
from . import setup
from .start import Start


class Updates:
    """The optimisers of a network's parts on the devices of a run.

    Making it prepares the parts of the translator for these devices, in place.
    """

    def __init__(self, fabric: Fabric, start: Start) -> None:
        """Set up a translator that is on the device already, with what its checkpoint holds beside weights."""
        self._fabric, self._translator = fabric, start.translator
        self._training: TrainSettings = start.training
        precision = fabric.strategy.precision
        self.plain: dict[str, Optimizer] = setup.make_optimizers(start, scaled_loss=bool(precision.state_dict()))
        """By part, to be saved; those that Fabric wraps take the steps."""
        if start.checkpoint is not None and start.checkpoint.precision_state:
            precision.load_state_dict(start.checkpoint.precision_state)
        self._optimizers = {}
        for part in self._translator.parts:
            module = getattr(self._translator, part)
            if self._training.compile:
                module = torch.compile(module)
            module, self._optimizers[part] = fabric.setup(module, self.plain[part])
            setattr(self._translator, part, module)
        if start.checkpoint is not None and start.checkpoint_folder is not None:
            self._remember(load_training_state(start.checkpoint_folder, start.checkpoint))

    def _remember(self, saved: Mapping[str, Tensor]) -> None:
        """Take this process's part (process, ...) of what training remembered; with other numbers of processes, that of one."""
        fabric = self._fabric
        self._translator.training_state = {
            key: values[fabric.global_rank % len(values)].to(fabric.device, copy=True) for key, values in saved.items()
        }

    def begin_step(self) -> None:
        """Set the learning rates for where the translator says that training is."""
        for part, optimizer in self.plain.items():
            factor = self._translator.learning_rate_factor(part, self._translator.progress)
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor

    def take(self, part: str, loss: Tensor) -> None:
        """Update one part, in the usual order: clear the gradients of the last update, propagate back, clip, step."""
        optimizer, norm = self._optimizers[part], self._training.clip_norm
        optimizer.zero_grad(set_to_none=True)
        self._fabric.backward(loss)
        if norm is not None:
            module = getattr(self._translator, part)
            self._fabric.clip_gradients(module, optimizer, max_norm=norm, error_if_nonfinite=False)
        optimizer.step()
