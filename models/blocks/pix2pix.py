"""What the networks of the pix2pix family have in common: norms, dropout, first weights, the patch discriminator.

After Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", 2017, as its authors wrote it
down in PyTorch (junyanz/pytorch-CycleGAN-and-pix2pix, `models/networks.py`).

Batch norm mixes the pixels of all images of a batch, the invalid ones among them. So with a batch of more than one
image, what is predicted for one while training depends on the others, and a batch that is split over several devices
is no longer the same batch. The losses leave invalid pixels out all the same.
"""

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import NEGATIVE_SLOPE, InstanceNorm

Norm: TypeAlias = Literal["batch", "instance"]

InferMode: TypeAlias = Literal["instance_stats", "running_stats", "train"]
"""What a network with batch norm and dropout does when it predicts.

- `instance_stats`: each image is normalised by its own statistics, as in training with one image per batch; no dropout
- `running_stats`: by the averages gathered in training, as `eval()` does in PyTorch; no dropout
- `train`: as pix2pix predicts: by each image's own statistics, with dropout
"""


class BatchNorm(nn.BatchNorm2d):
    """Batch norm in training; what it does when it predicts is a setting.

    Args:
        channels: Channels of the feature map.
        infer_mode: Averages are gathered for `running_stats` alone.
    """

    def __init__(self, channels: int, infer_mode: InferMode = "instance_stats") -> None:
        super().__init__(channels, track_running_stats=infer_mode == "running_stats")

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (batch, channel, y, x), which must have more than one pixel."""
        if self.training or self.track_running_stats:
            return super().forward(x)
        # One group per channel: the formula of batch norm for a batch of one image.
        return functional.group_norm(x, self.num_features, self.weight, self.bias, self.eps).to(x.dtype)


class Dropout(nn.Dropout):
    """Dropout that stays on when the network predicts, if `infer_mode` is `train`."""

    def __init__(self, probability: float, infer_mode: InferMode) -> None:
        super().__init__(probability)
        self.stays_on = infer_mode == "train"

    def forward(self, x: Tensor) -> Tensor:
        """Drop values of (batch, channel, y, x)."""
        return functional.dropout(x, self.p, self.training or self.stays_on)


def make_norm(norm: Norm, channels: int, infer_mode: InferMode = "instance_stats") -> nn.Module:
    """Return the norm that follows a convolution. Before a batch norm a convolution has no bias: it would take it away."""
    return BatchNorm(channels, infer_mode) if norm == "batch" else InstanceNorm()


def initialise(module: nn.Module) -> None:
    """Draw first weights as pix2pix does: N(0, 0.02) for convolutions, N(1, 0.02) for the scales of norms, biases 0."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1.0 if isinstance(part, nn.BatchNorm2d) else 0.0, 0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def predict(generator: nn.Module, *images: Tensor, infer_mode: InferMode) -> Tensor:
    """Call a generator. Where dropout stays on it drops the same values each time; other random numbers are left alone.

    Args:
        generator: In training mode it is just called.
        images: What it takes, each (batch, channel, y, x).
        infer_mode: As it was made with.
    """
    if generator.training or infer_mode != "train":
        prediction: Tensor = generator(*images)
        return prediction
    device = images[0].device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        return predict(generator, *images, infer_mode="instance_stats")


class PatchGan(nn.Sequential):
    """Judge overlapping patches of an image, given what it was made from.

    4x4 convolutions to 1, 2, 4 (stride 2) and 8 (stride 1) times `width` channels, then one logit per patch of 70 px:
    30 x 30 logits for 256 x 256 px. The papers print a sigmoid at the end: it is part of the loss. The probability of
    being real is the sigmoid of a logit.

    Args:
        channels: Channels of the image and of all its conditions together.
        width: Channels of the first layer.
        norm: Of all layers but the first and the last.
    """

    def __init__(self, channels: int, width: int, norm: Norm = "batch") -> None:
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True)]
        for before, after, stride in ((1, 2, 2), (2, 4, 2), (4, 8, 1)):
            layers += [
                nn.Conv2d(before * width, after * width, 4, stride, 1, bias=norm == "instance"),
                make_norm(norm, after * width),
                nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
            ]
        super().__init__(*layers, nn.Conv2d(8 * width, 1, 4, 1, 1))

    def forward(self, image: Tensor, *conditions: Tensor) -> Tensor:
        """Return logits (batch, 1, y, x); positive says real."""
        x = torch.cat([*conditions, image], dim=1)
        for layer in self:
            x = layer(x)
        return x
