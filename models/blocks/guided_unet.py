"""The U-Net of TIRSIT (Liu et al., IEEE TGRS 60, 2022): five halvings, guided by the features of another image."""

import itertools
from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from .layers import NEGATIVE_SLOPE, InstanceNorm

HALVINGS = 5
LEAST_PADDED = 2 ** (HALVINGS + 1)
"""Pixels; the innermost features must have more than one, or there is no pattern to mask by."""
LEAST_MARGIN = 7
"""Pixels on each side, which the translation is cut out of."""

Guidance: TypeAlias = Literal["mask", "none", "concat", "film", "cin"]
"""How an image guides the translation.

- `mask`: its features say at each pixel how much those of the change count
- `none`: not at all
- `concat`: it goes in beside the change
- `film`: its features, averaged over the image, give a factor and an offset for each channel
- `cin`: the same, after an instance norm
"""


def mirrored(image: Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    """Return (batch, band, y, x) with rows and columns added before and after, mirrored at the borders.

    Unlike PyTorch's padding it takes margins of any width: the image is mirrored as often as needed.
    """

    def places(side: int, before: int, after: int) -> Tensor:
        last = side - 1
        place = torch.arange(-before, side + after, device=image.device)
        return last - (place.remainder(max(1, 2 * last)) - last).abs()

    height, width = image.shape[-2:]
    return image[:, :, places(height, *rows)][..., places(width, *columns)]


def _margins(side: int) -> tuple[int, int]:
    """Return how many pixels to add before and after so many."""
    least = max(LEAST_PADDED, side + 2 * LEAST_MARGIN)
    added = -(-least // 2**HALVINGS) * 2**HALVINGS - side
    return added // 2, added - added // 2


def feature_mask(guide: Tensor, eta: float) -> Tensor:
    """Return the weights of features, from `eta` to 1, by those of the guide (TIRSIT, eq. 1 and 2).

    Args:
        guide: (batch, channel, y, x) float. A channel that is the same everywhere gives the middle weight everywhere.
        eta: The least weight.
    """
    deviation, mean = torch.std_mean(guide, dim=(2, 3), correction=0, keepdim=True)
    return (1 - eta) * torch.sigmoid((guide - mean) / (deviation + 1e-5)) + eta


class Encoder(nn.ModuleList):
    """Five 4x4 convolutions that halve the image, with LeakyReLU, and batch norm from the second on."""

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        for number, (before, after) in enumerate(itertools.pairwise([channels, *widths])):
            layers: list[nn.Module] = [nn.Conv2d(before, after, 4, 2, 1)]
            layers += [nn.BatchNorm2d(after)] if number else []
            self.append(nn.Sequential(*layers, nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True)))


class Decoder(nn.Module):
    """Five 4x4 transposed convolutions that double the image, with batch norm and ReLU; the last one with tanh."""

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        outs = [*reversed(widths[:-1]), channels]
        ins = [widths[-1], *(2 * width for width in outs[:-1])]
        self.levels = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(*pair, 4, 2, 1), nn.BatchNorm2d(pair[1]), nn.ReLU(inplace=True))
            for pair in zip(ins[:-1], outs[:-1], strict=True)
        )
        self.last = nn.ConvTranspose2d(ins[-1], channels, 4, 2, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return (batch, band, y, x), [-1, 1], from the encoder's features, finest first."""
        x = features[-1]
        for level, skip in zip(self.levels, reversed(features[:-1]), strict=True):
            x = torch.cat([level(x), skip], dim=1)
        return torch.tanh(self.last(x))


class GuidedUNet(nn.Module):
    """U-Net from a change of one image to that of another, guided at each level of its encoder by the latter.

    Skips carry the guided features; the guide's own features go on as they are. Images of any size go in: they are
    mirrored at their borders up to 64 px or another multiple of 32 px, and the translation is cut out. At least 7 px
    are added on each side, as to the paper's 50 px: so close to the border no loss ever reaches the translation.

    Args:
        channels: Bands of the change.
        guide_channels: Bands of the guide and of the translated change.
        width: Channels of the first feature map; the others have 2, 4, 8, 8 times as many.
        guidance: How the guide is used.
        eta: Least weight of a masked feature.
    """

    def __init__(self, channels: int, guide_channels: int, width: int, *, guidance: Guidance, eta: float) -> None:
        super().__init__()
        self.guidance, self.eta = guidance, eta
        widths = [width * factor for factor in (1, 2, 4, 8, 8)]
        self.source = Encoder(channels + (guide_channels if guidance == "concat" else 0), widths)
        self.guide = Encoder(guide_channels, widths) if guidance in ("mask", "film", "cin") else None
        modulated = widths if guidance in ("film", "cin") else []
        self.modulations = nn.ModuleList(nn.Linear(width, 2 * width) for width in modulated)
        self.normalise = InstanceNorm()
        self.decoder = Decoder(guide_channels, widths)

    def forward(self, change: Tensor, guide: Tensor) -> Tensor:
        """Return the translated change, (batch, band, y, x), [-1, 1].

        Args:
            change: (batch, band, y, x), [-1, 1], from the guide's date to another.
            guide: Of the same size and range.
        """
        height, width = change.shape[-2:]
        rows, columns = _margins(height), _margins(width)
        change, guide = mirrored(change, rows, columns), mirrored(guide, rows, columns)

        x = torch.cat([change, guide], dim=1) if self.guidance == "concat" else change
        features = []
        for number, level in enumerate(self.source):
            x = level(x)
            if self.guide is not None:
                guide = self.guide[number](guide)
                x = self._guided(x, guide, number)
            features.append(x)
        translated: Tensor = self.decoder(features)
        return translated[..., rows[0] : rows[0] + height, columns[0] : columns[0] + width]

    def _guided(self, x: Tensor, guide: Tensor, number: int) -> Tensor:
        """Return the features of a level as those of the guide want them (eq. 3)."""
        if self.guidance == "mask":
            return feature_mask(guide, self.eta) * x
        if self.guidance == "cin":
            x = self.normalise(x)
        modulation: Tensor = self.modulations[number](guide.mean(dim=(2, 3)))
        factor, offset = modulation[..., None, None].chunk(2, dim=1)
        return (1 + factor) * x + offset
