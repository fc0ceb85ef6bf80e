"""Generators with residual blocks: that of pix2pix and CycleGAN (`resnet_9blocks` in their code), and He and Yokoya's."""

from typing import Literal, TypeAlias

from torch import Tensor, nn

from .pix2pix import Dropout, InferMode, Norm, make_norm

Padding: TypeAlias = Literal["zeros", "reflect"]
"""What stands beyond the border of the feature maps, as PyTorch calls it."""

Tail: TypeAlias = Literal["relu_before_add", "relu_after_add", "bn_no_relu", "none"]
"""What follows the second convolution of a residual block.

- `relu_before_add`: ReLU, then the sum
- `relu_after_add`: the sum, then ReLU
- `bn_no_relu`: a norm, then the sum, as in pix2pix
- `none`: the sum
"""


class ResidualBlock(nn.Module):
    """Add to a feature map what two 3x3 convolutions make of it: convolution, norm, ReLU, dropout, convolution, tail.

    Args:
        channels: Channels of the feature map.
        norm: Kind of norm.
        padding: What stands beyond the border.
        dropout: Share of values dropped between the convolutions.
        tail: What follows the second one.
        infer_mode: What batch norm and dropout do when the network predicts.
    """

    def __init__(
        self,
        channels: int,
        *,
        norm: Norm = "batch",
        padding: Padding = "zeros",
        dropout: float = 0.0,
        tail: Tail = "bn_no_relu",
        infer_mode: InferMode = "instance_stats",
    ) -> None:
        super().__init__()
        second_bias = norm == "instance" or tail != "bn_no_relu"
        tails: dict[str, list[nn.Module]] = {
            "relu_before_add": [nn.ReLU(inplace=True)],
            "bn_no_relu": [make_norm(norm, channels, infer_mode)],
        }
        self.change = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode=padding, bias=norm == "instance"),
            make_norm(norm, channels, infer_mode),
            nn.ReLU(inplace=True),
            *([Dropout(dropout, infer_mode)] if dropout else []),
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode=padding, bias=second_bias),
            *tails.get(tail, []),
        )
        self.after = nn.ReLU(inplace=True) if tail == "relu_after_add" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, channel, y, x) of the same shape."""
        result: Tensor = self.after(x + self.change(x))
        return result


class ResNet(nn.Sequential):
    """Three convolutions up to `4 * width` channels, residual blocks, three back to the image, tanh.

    With `downsample=4` the second and third convolution halve the image and two transposed ones double it again, else
    all keep its size. All but the last are followed by norm and ReLU. Borders are padded with zeros where the size
    changes, whatever `padding` says, as in CycleGAN.

    Args:
        channels_in: Bands of the input.
        channels_out: Bands of the output.
        width: Channels of the first feature map.
        blocks: How many residual blocks.
        norm: Kind of norm; with instance norm all convolutions have a bias, as in CycleGAN.
        padding: What stands beyond the border of the feature maps.
        downsample: How many times smaller than the image the residual blocks' feature maps are.
        last_kernel: Extent of the last convolution; the first one's is 7.
        dropout: Share of values that residual blocks drop.
        tail: What follows the second convolution of a residual block.
        infer_mode: What batch norm and dropout do when the network predicts.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        width: int,
        *,
        blocks: int = 9,
        norm: Norm = "instance",
        padding: Padding = "reflect",
        downsample: Literal[1, 4] = 4,
        last_kernel: int = 7,
        dropout: float = 0.0,
        tail: Tail = "bn_no_relu",
        infer_mode: InferMode = "instance_stats",
    ) -> None:
        bias, keep = norm == "instance", padding if downsample == 1 else "zeros"
        stride = 1 if downsample == 1 else 2

        def normed(convolution: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
            return [convolution, make_norm(norm, convolution.out_channels, infer_mode), nn.ReLU(inplace=True)]

        layers = normed(nn.Conv2d(channels_in, width, 7, padding=3, padding_mode=padding, bias=bias))
        for before in (width, 2 * width):
            layers += normed(nn.Conv2d(before, 2 * before, 3, stride, 1, padding_mode=keep, bias=bias))
        for _ in range(blocks):
            layers.append(
                ResidualBlock(4 * width, norm=norm, padding=padding, dropout=dropout, tail=tail, infer_mode=infer_mode)
            )
        for before in (4 * width, 2 * width):
            if downsample == 1:
                layers += normed(nn.Conv2d(before, before // 2, 3, 1, 1, padding_mode=padding, bias=bias))
            else:
                layers += normed(nn.ConvTranspose2d(before, before // 2, 3, 2, 1, output_padding=1, bias=bias))
        last = nn.Conv2d(width, channels_out, last_kernel, padding=last_kernel // 2, padding_mode=padding)
        super().__init__(*layers, last, nn.Tanh())
