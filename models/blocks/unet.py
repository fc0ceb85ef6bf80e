"""The U-Net of pix2pix (Isola et al., 2017), `unet_256` in its authors' code."""

import itertools

import torch
from torch import Tensor, nn

from .layers import NEGATIVE_SLOPE
from .pix2pix import BatchNorm, Dropout, InferMode


class UNet(nn.Module):
    """Halve an image eight times and double it again, each decoder fed with the encoder's features of its size.

    Sides must be multiples of 256 px. All convolutions are 4x4 with stride 2. The first and the innermost encoder and
    the last decoder have no norm; the three decoders after the innermost drop out.

    Args:
        channels_in: Bands of the input.
        channels_out: Bands of the output.
        width: Channels of the first feature map; the others have 2, 4, 8, 8, 8, 8, 8 times as many.
        dropout: Share of values that the three decoders drop.
        infer_mode: What norms and dropout do when the network predicts.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        width: int,
        *,
        dropout: float = 0.5,
        infer_mode: InferMode = "instance_stats",
    ) -> None:
        super().__init__()
        channels = [width * factor for factor in (1, 2, 4, 8, 8, 8, 8, 8)]
        self.encoders = nn.ModuleList([nn.Conv2d(channels_in, width, 4, 2, 1, bias=False)])
        for number, (before, after) in enumerate(itertools.pairwise(channels), start=2):
            # The skip carries what the activation leaves of the features: it works in place, as the authors' does.
            encoder = [nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True), nn.Conv2d(before, after, 4, 2, 1, bias=False)]
            innermost = number == len(channels)
            self.encoders.append(nn.Sequential(*encoder, *([] if innermost else [BatchNorm(after, infer_mode)])))
        self.decoders = nn.ModuleList()
        for number, (before, after) in enumerate(itertools.pairwise(reversed(channels))):
            joined = before if number == 0 else 2 * before
            self.decoders.append(
                nn.Sequential(
                    nn.ReLU(inplace=True),
                    nn.ConvTranspose2d(joined, after, 4, 2, 1, bias=False),
                    BatchNorm(after, infer_mode),
                    Dropout(dropout, infer_mode) if dropout and number in (1, 2, 3) else nn.Identity(),
                )
            )
        self.decoders.append(
            nn.Sequential(nn.ReLU(inplace=True), nn.ConvTranspose2d(2 * width, channels_out, 4, 2, 1), nn.Tanh())
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return (batch, band, y, x), [-1, 1]."""
        features = [image]
        for encoder in self.encoders:
            features.append(encoder(features[-1]))
        x: Tensor = self.decoders[0](features[-1])
        for decoder, skip in zip(self.decoders[1:], reversed(features[1:-1]), strict=True):
            x = decoder(torch.cat([skip, x], dim=1))
        return x
