"""Means of the losses since the last look, and which step first had a loss that is no number.

On a GPU, reading a loss makes the CPU wait for every kernel queued so far. So losses stay on the device until someone looks.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from s1s2pairs.errors import RunError

from ..data.dataset import Sample

PATCHES_NAMED = 8
"""Patches named in a message; the rest are counted."""


class LossWatch:
    """Keeps the losses of the steps since the last look."""

    def __init__(self, samples: Sequence[Sample], device: torch.device, gather: Callable[[Tensor], Tensor]) -> None:
        """Start with nothing kept.

        Args:
            samples: What the sample numbers of batches mean.
            device: Where losses are.
            gather: Turns a (k,) tensor of this process into (process, k), the same in every process.
        """
        self._samples, self._device, self._gather = samples, device, gather
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._numbers: dict[int, Tensor] = {}
        self._first_bad = torch.full((), -1.0, dtype=torch.float64, device=device)

    def begin(self, step: int, numbers: Tensor) -> None:
        """Note which samples (batch,) a step uses."""
        self._numbers[step] = numbers.cpu()

    def add(self, step: int, name: str, loss: Tensor) -> None:
        """Keep one loss of a step, a scalar."""
        value = loss.detach().double()
        self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._counts[name] = self._counts.get(name, 0) + 1
        self._first_bad = torch.where((self._first_bad < 0) & ~torch.isfinite(value), float(step), self._first_bad)

    def check(self) -> None:
        """Stop if a loss so far was no number. Waits for the device; processes do not talk to each other.

        Raises:
            RunError: Names the step and its patches.
        """
        if self._first_bad.item() >= 0:
            self._stop(int(self._first_bad), [self._numbers[int(self._first_bad)]])

    def look(self) -> Mapping[str, float]:
        """Return the mean of each loss since the last look, over all processes, and begin anew.

        Raises:
            RunError: A loss was no number, in any process; all of them raise.
        """
        if not self._sums:
            return {}
        names = list(self._sums)
        means = [self._sums[name] / self._counts[name] for name in names]
        seen = self._gather(torch.stack([self._first_bad, *means])).cpu()  # (process, 1 + loss)
        if (seen[:, 0] >= 0).any():
            step = int(seen[:, 0][seen[:, 0] >= 0].min())
            everyone = self._gather(self._numbers[step].to(self._device)).cpu()  # (process, batch)
            self._stop(step, [numbers for numbers, first in zip(everyone, seen[:, 0], strict=True) if first == step])
        self._sums, self._counts, self._numbers = {}, {}, {}
        return dict(zip(names, seen[:, 1:].mean(dim=0).tolist(), strict=True))

    def _stop(self, step: int, numbers: Sequence[Tensor]) -> None:
        used = [self._samples[number] for number in torch.cat(list(numbers)).tolist()]
        named = ", ".join(f"{sample.patch_id} ({sample.direction})" for sample in used[:PATCHES_NAMED])
        more = f" and {len(used) - PATCHES_NAMED} more" if len(used) > PATCHES_NAMED else ""
        raise RunError(
            f"A loss is not a finite number at step {step + 1}; the batch's patches: {named}{more}. The checkpoints are "
            "from before it. Look at these patches, lower --set learning_rate, or use --precision 32-true."
        )
