"""How the losses that a network yields become steps of its optimisers."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import Optimizer

from s1s2pairs.errors import RunError

from ..runs.loading import load_training_state
from ..runs.settings import TrainSettings
from ..task import Batch
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

    @property
    def precision_state(self) -> dict[str, Any]:
        """Return the state of the loss scaler; nothing where there is none."""
        return self._fabric.strategy.precision.state_dict()

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

    def step(self, batches: Sequence[Batch], note: Callable[[str, Tensor], None]) -> list[Mapping[str, Tensor]]:
        """Train on batches as on one: each loss that the network yields updates its part before the network goes on.

        With several batches, the network's steps on them advance side by side, from one update to the next. The losses of an
        update are averaged over the batches, so that it is the update of one batch as large as all together, where the
        network's losses are means over images.

        Args:
            batches: On the device. What a step needs after an update stays in memory for all of them.
            note: Told every loss, with its part, before it is propagated back.

        Returns:
            Loss components for the log, of each batch.

        Raises:
            RunError: The network updates other parts for some batches than for others.
        """
        translator = self._translator
        steps = [translator.training_step(batch) for batch in batches]
        logged: list[dict[str, Tensor]] = [{} for _ in batches]
        several = len(batches) > 1
        with self._each_process_alone() if several else contextlib.nullcontext():
            while True:
                parts: list[str | None] = []
                for number, step in enumerate(steps):
                    translator.logged = logged[number]
                    part, loss = next(step, (None, None))
                    logged[number] = translator.logged
                    parts.append(part)
                    if len(set(parts)) > 1:
                        raise RunError(
                            f"this network cannot be trained with accumulate={len(batches)}: for one batch its step updates "
                            f"{parts[0] or 'nothing'}, for another {part or 'nothing'}; use accumulate=1"
                        )
                    if part is None or loss is None:
                        continue
                    note(part, loss)
                    if number == 0:
                        self._optimizers[part].zero_grad(set_to_none=True)
                    self._fabric.backward(loss / len(batches))
                if parts[0] is None:
                    return list(logged)
                self._update(parts[0], several=several)

    def _update(self, part: str, *, several: bool) -> None:
        """Clip the gradients of a part, and step."""
        optimizer, norm = self._optimizers[part], self._training.clip_norm
        module = getattr(self._translator, part)
        if several and self._fabric.world_size > 1:
            self._average_gradients(module)
        if norm is not None:
            self._fabric.clip_gradients(module, optimizer, max_norm=norm, error_if_nonfinite=False)
        optimizer.step()

    @contextlib.contextmanager
    def _each_process_alone(self) -> Iterator[None]:
        """Keep processes from averaging gradients: DDP does so once for each forward pass, which here are many."""
        with contextlib.ExitStack() as until_end:
            for part in self._translator.parts:
                until_end.enter_context(self._fabric.no_backward_sync(getattr(self._translator, part)))
            yield

    def _average_gradients(self, module: torch.nn.Module) -> None:
        """Average the gradients of a part over all processes, in one message."""
        gradients = [weight.grad for weight in module.parameters() if weight.grad is not None]
        joined = torch.cat([gradient.flatten() for gradient in gradients])
        mean = cast(Tensor, self._fabric.all_reduce(joined, reduce_op="mean"))
        for gradient, values in zip(gradients, torch.split(mean, [one.numel() for one in gradients]), strict=True):
            gradient.copy_(values.view_as(gradient))
