"""Weights, images and dropped values by formulas, so that two writings of a network can be compared number by number."""

import torch
from torch import Tensor, nn


def wave(*shape: int, phase: float) -> Tensor:
    """Float64 values in [-1, 1] that neither repeat nor are symmetric."""
    steps = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return torch.sin(phase + 0.7 * steps + 0.013 * torch.sqrt(steps + 1)).reshape(shape)


class DropsByFormula(nn.Module):
    """In place of dropout: the same share is dropped, of places known beforehand."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        kept = wave(*x.shape, phase=0.3).abs() > self.probability
        return x * kept / (1 - self.probability)


def by_formula(network: nn.Module) -> nn.Module:
    """Fill a network's weights in the order of its layers, replace its dropout; float64, in training mode."""
    network.double().train()
    for number, parameter in enumerate(network.parameters()):
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
        scale = wave(*parameter.shape, phase=float(number)) * (3 / fan_in) ** 0.5
        parameter.data.copy_(scale)
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Dropout):
                setattr(parent, name, DropsByFormula(child.p))
    return network


def samples(values: Tensor) -> list[float]:
    """24 of the values, spread over all images, bands, rows and columns."""
    places = torch.arange(24) * 7919 % values.numel()
    return [float(value) for value in values.flatten()[places]]
