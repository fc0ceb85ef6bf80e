"""A network from physical values to physical values, its scaling included."""

import torch
from torch import Tensor, nn

from ..missing import BLANK
from ..scaling import Scaling
from ..task import Batch
from ..translator import Translator


class PhysicalNetwork(nn.Module):
    """A network with its scaling.

    Inputs are the stacks of the task by key, (batch, band, y, x) float32 in dB or reflectance, NaN where missing, then the
    conditions that the network reads. The output is the target in its unit, NaN where an input is missing.
    """

    def __init__(self, translator: Translator, scaling: Scaling) -> None:
        super().__init__()
        self.translator = translator
        self._scaling = scaling
        self.inputs = (*(stack.key for stack in translator.task.inputs), *translator.conditions)
        """Names of the arguments, in order."""

    def forward(self, *values: Tensor) -> Tensor:
        """Predict the target of a batch."""
        given = dict(zip(self.inputs, values, strict=True))
        batch: Batch = {key: given[key] for key in self.translator.conditions}
        missing = []
        for stack in self.translator.task.inputs:
            image = given[stack.key]
            absent = torch.isnan(image).any(dim=1, keepdim=True)
            batch[stack.key] = torch.where(absent, BLANK, self._scaling.scale(image, stack))
            missing.append(absent)
        anywhere = torch.cat(missing, dim=1).any(dim=1, keepdim=True)
        batch["valid"] = ~anywhere
        prediction = self._scaling.unscale(self.translator(batch).mean, self.translator.task.target)
        return torch.where(anywhere, torch.nan, prediction)
