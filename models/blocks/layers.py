"""Layers that the networks of the TSGAN paper use identically: down, up, encoder, decoder, patch discriminator.

Channel numbers are multiples of `width`; `width = 64` gives the paper's.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

NEGATIVE_SLOPE = 0.2
"""Of LeakyReLU, everywhere."""


class InstanceNorm(nn.Module):
    """Zero mean and unit variance per image and channel; nothing learned, nothing remembered.

    Group norm with one channel per group is the same formula as `nn.InstanceNorm2d`; on a CPU its backward pass is
    faster. Under mixed precision it computes in float32, and the result returns to the input's dtype.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (batch, channel, y, x), which must have more than one pixel."""
        return functional.group_norm(x, num_groups=x.shape[1]).to(x.dtype)


class Down(nn.Sequential):
    """Halve height and width: 4x4 convolution with reflected border, instance norm, LeakyReLU.

    With `stride=1` they shrink by one pixel instead.
    """

    def __init__(self, channels_in: int, channels_out: int, *, stride: int = 2) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 4, stride, 1, bias=False, padding_mode="reflect"),
            InstanceNorm(),
            nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
        )


class Up(nn.Sequential):
    """Double height and width: 4x4 transposed convolution, instance norm, ReLU, dropout."""

    def __init__(self, channels_in: int, channels_out: int, *, dropout: float = 0.0) -> None:
        super().__init__(
            nn.ConvTranspose2d(channels_in, channels_out, 4, 2, 1, bias=False),
            InstanceNorm(),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout) if dropout else nn.Identity(),
        )


class Encoder(nn.Module):
    """A first convolution, then six `Down`s: seven feature maps from fine to coarse.

    Args:
        first: Convolution from the image to `width` channels, with bias; it is followed by LeakyReLU, not by a norm.
        width: Channels of the first feature map; the others have 2, 4, 8, 8, 8, 8 times as many.
    """

    def __init__(self, first: nn.Conv2d, width: int) -> None:
        super().__init__()
        channels = [width * factor for factor in (1, 2, 4, 8, 8, 8, 8)]
        downs = [Down(*pair) for pair in itertools.pairwise(channels)]
        self.levels = nn.ModuleList([nn.Sequential(first, nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True)), *downs])

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the seven feature maps of (batch, band, y, x), finest first."""
        features = [image]
        for level in self.levels:
            features.append(level(features[-1]))
        return features[1:]


class Decoder(nn.Module):
    """Seven `Up`s, each but the first fed with the encoders' features of its size, then a last layer and tanh.

    Args:
        width: As in the encoders.
        streams: How many encoders feed it.
        last: Layer from `(1 + streams) * width` channels to the image.
    """

    def __init__(self, width: int, streams: int, last: nn.Module) -> None:
        super().__init__()
        outs = [width * factor for factor in (8, 8, 8, 8, 4, 2, 1)]
        skips = [0] + [streams * width * factor for factor in (8, 8, 8, 8, 4, 2)]
        ins = [before + skip for before, skip in zip([8 * width, *outs], skips, strict=False)]
        dropouts = (0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0)
        self.ups = nn.ModuleList(
            Up(channels_in, channels_out, dropout=dropout)
            for channels_in, channels_out, dropout in zip(ins, outs, dropouts, strict=True)
        )
        self.last = last

    def forward(self, bottleneck: Tensor, skips: Sequence[Sequence[Tensor]]) -> Tensor:
        """Return the image.

        Args:
            bottleneck: (batch, 8 * width, y, x), half the size of the coarsest skip.
            skips: For each size from fine to coarse, the features of all encoders.
        """
        x = self.ups[0](bottleneck)
        for up, skip in zip([*self.ups[1:], self.last], reversed(skips), strict=True):
            x = up(torch.cat([x, *skip], dim=1))
        return torch.tanh(x)


class PatchDiscriminator(nn.Module):
    """Judge overlapping patches of an image given its conditions, one encoder per condition (weights not shared).

    Per stream 4x4 convolutions to 1, 2, 4 (stride 2) and 8 (stride 1) times `width` channels; all streams together then
    give one logit per patch of 70 px: 30 x 30 logits for 256 x 256 px. The probability of being real is the sigmoid of
    a logit.

    Args:
        condition_channels: Channels of each condition.
        image_channels: Channels of the judged image.
        width: Channels of the first layer of each stream.
    """

    def __init__(self, condition_channels: Sequence[int], image_channels: int, width: int) -> None:
        super().__init__()
        self.streams = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels + image_channels, width, 4, 2, 1, bias=False, padding_mode="reflect"),
                nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
                Down(width, 2 * width),
                Down(2 * width, 4 * width),
                Down(4 * width, 8 * width, stride=1),
            )
            for channels in condition_channels
        )
        self.last = nn.Conv2d(8 * width * len(self.streams), 1, 4, 1, 1, padding_mode="reflect")

    def forward(self, image: Tensor, *conditions: Tensor) -> Tensor:
        """Return logits (batch, 1, y, x); positive says real."""
        judged = [
            stream(torch.cat([condition, image], dim=1))
            for stream, condition in zip(self.streams, conditions, strict=True)
        ]
        logits: Tensor = self.last(torch.cat(judged, dim=1))
        return logits
