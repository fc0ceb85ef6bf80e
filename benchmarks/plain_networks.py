# ruff: noqa: D102 -- textbook modules: each forward says itself
"""The plainest PyTorch writing of the zoo's networks and their training step: the yardstick of `train_step.py`.

Written from the papers alone, with standard modules only and nothing taken from `models/`, the way one would write them for a
paper. Parameters are registered in the same order as the zoo's, so that weights can be copied over one by one.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Step = Callable[[dict[str, Tensor]], None]


def down(channels_in: int, channels_out: int, stride: int = 2) -> nn.Module:
    """Halve the size."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 4, stride, 1, bias=False, padding_mode="reflect"),
        nn.InstanceNorm2d(channels_out),
        nn.LeakyReLU(0.2),
    )


def up(channels_in: int, channels_out: int, dropout: bool = False) -> nn.Module:
    """Double the size."""
    layers = [
        nn.ConvTranspose2d(channels_in, channels_out, 4, 2, 1, bias=False),
        nn.InstanceNorm2d(channels_out),
        nn.ReLU(),
    ]
    return nn.Sequential(*layers, nn.Dropout(0.5)) if dropout else nn.Sequential(*layers)


class Glam(nn.Module):
    """Global-local attention."""

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.zeros(3))
        self.conv_local_channel = nn.Conv1d(1, 1, 5, padding=2)
        self.conv_reduce = nn.Conv2d(channels, reduced, 1)
        self.conv1 = nn.Conv2d(reduced, reduced, 3, padding=1, dilation=1)
        self.conv2 = nn.Conv2d(reduced, reduced, 3, padding=2, dilation=2)
        self.conv3 = nn.Conv2d(reduced, reduced, 3, padding=3, dilation=3)
        self.conv_place = nn.Conv2d(4 * reduced, 1, 1)
        self.conv_q = nn.Conv1d(1, 1, 5, padding=2)
        self.conv_k = nn.Conv1d(1, 1, 5, padding=2)
        self.place_q = nn.Conv2d(channels, reduced, 1)
        self.place_k = nn.Conv2d(channels, reduced, 1)
        self.place_v = nn.Conv2d(channels, reduced, 1)
        self.place_restore = nn.Conv2d(reduced, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        pooled = functional.adaptive_avg_pool2d(x, 1).view(b, 1, c)

        a = torch.sigmoid(self.conv_local_channel(pooled)).view(b, c, 1, 1)
        local = x * a + x
        r = self.conv_reduce(x)
        place = self.conv_place(torch.cat([r, self.conv1(r), self.conv2(r), self.conv3(r)], 1))
        local = local * place + local

        q, k = torch.sigmoid(self.conv_q(pooled)), torch.sigmoid(self.conv_k(pooled))
        attention = torch.softmax(q.transpose(1, 2) @ k, -1)
        channel = x * (attention @ x.view(b, c, h * w)).view(b, c, h, w)
        q, k, v = (conv(x).view(b, -1, h * w) for conv in (self.place_q, self.place_k, self.place_v))
        attention = torch.softmax(q.transpose(1, 2) @ k, -1)
        gathered = (v @ attention.transpose(1, 2)).view(b, -1, h, w)
        overall = channel * self.place_restore(gathered) + channel

        weight = torch.softmax(self.mix, 0)
        return weight[0] * local + weight[1] * x + weight[2] * overall


class Encoder(nn.Module):
    """Seven feature maps from fine to coarse."""

    def __init__(self, first: nn.Module, n: int, glam: bool) -> None:
        super().__init__()
        self.first = nn.Sequential(first, nn.LeakyReLU(0.2))
        self.down1, self.down2, self.down3 = down(n, 2 * n), down(2 * n, 4 * n), down(4 * n, 8 * n)
        self.down4 = down(8 * n, 8 * n)
        self.glam = Glam(8 * n, n // 2) if glam else nn.Identity()
        self.down5, self.down6 = down(8 * n, 8 * n), down(8 * n, 8 * n)

    def forward(self, x: Tensor) -> list[Tensor]:
        e1 = self.first(x)
        e2 = self.down1(e1)
        e3 = self.down2(e2)
        e4 = self.down3(e3)
        e5 = self.glam(self.down4(e4))
        e6 = self.down5(e5)
        e7 = self.down6(e6)
        return [e1, e2, e3, e4, e5, e6, e7]


class ChannelAttention(nn.Module):
    """Channel attention of CBAM."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(channels, channels // 4, bias=False), nn.ReLU(), nn.Linear(channels // 4, channels, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        average = self.mlp(functional.adaptive_avg_pool2d(x, 1).flatten(1))
        maximum = self.mlp(functional.adaptive_max_pool2d(x, 1).flatten(1))
        return x * torch.sigmoid(average + maximum)[:, :, None, None]


class Generator(nn.Module):
    """U-Net with one encoder per input. `name` is that of the zoo, with TSGAN's version."""

    def __init__(self, name: str, n: int) -> None:
        super().__init__()
        tsgan, glam = name.startswith("tsgan"), name == "tsgan_v3"
        if tsgan:
            firsts = [
                nn.Conv2d(12, n, 5, 1, 2, padding_mode="reflect"),
                nn.Conv2d(7, n, 3, 1, 1, padding_mode="reflect"),
            ]
        else:
            channels = [6] if name == "pix2pix_opt2sar" else [12, 7]
            firsts = [nn.Conv2d(c, n, 4, 2, 1, padding_mode="reflect") for c in channels]
        self.encoders = nn.ModuleList(Encoder(first, n, glam) for first in firsts)
        s = len(firsts)
        self.attention = ChannelAttention(8 * n * s) if name in ("tsgan_v2", "tsgan_v3") else nn.Identity()
        self.bottleneck = nn.Sequential(nn.Conv2d(8 * n * s, 8 * n, 4, 2, 1), nn.ReLU())
        self.up1 = up(8 * n, 8 * n, dropout=True)
        self.up2 = up(8 * n + 8 * n * s, 8 * n, dropout=True)
        self.up3 = up(8 * n + 8 * n * s, 8 * n, dropout=True)
        self.up4 = up(8 * n + 8 * n * s, 8 * n)
        self.up5 = up(8 * n + 8 * n * s, 4 * n)
        self.up6 = up(4 * n + 4 * n * s, 2 * n)
        self.up7 = up(2 * n + 2 * n * s, n)
        self.last = nn.Conv2d(n + n * s, 1, 3, 1, 1) if tsgan else nn.ConvTranspose2d(n + n * s, 1, 4, 2, 1)

    def forward(self, *images: Tensor) -> Tensor:
        features = [encoder(image) for encoder, image in zip(self.encoders, images, strict=True)]
        e1, e2, e3, e4, e5, e6, e7 = (torch.cat(level, 1) for level in zip(*features, strict=True))
        e7 = self.attention(e7)
        x = self.up1(self.bottleneck(e7))
        x = self.up2(torch.cat([x, e7], 1))
        x = self.up3(torch.cat([x, e6], 1))
        x = self.up4(torch.cat([x, e5], 1))
        x = self.up5(torch.cat([x, e4], 1))
        x = self.up6(torch.cat([x, e3], 1))
        x = self.up7(torch.cat([x, e2], 1))
        return torch.tanh(self.last(torch.cat([x, e1], 1)))


class Discriminator(nn.Module):
    """PatchGAN with one stream per condition."""

    def __init__(self, channels: list[int], n: int) -> None:
        super().__init__()
        self.streams = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(c, n, 4, 2, 1, bias=False, padding_mode="reflect"),
                nn.LeakyReLU(0.2),
                down(n, 2 * n),
                down(2 * n, 4 * n),
                down(4 * n, 8 * n, stride=1),
            )
            for c in channels
        )
        self.last = nn.Conv2d(8 * n * len(channels), 1, 4, 1, 1, padding_mode="reflect")

    def forward(self, image: Tensor, *conditions: Tensor) -> Tensor:
        features = [s(torch.cat([c, image], 1)) for s, c in zip(self.streams, conditions, strict=True)]
        return self.last(torch.cat(features, 1))


def make(name: str, width: int) -> tuple[Generator, Discriminator]:
    """Return generator and discriminator with the paper's six optical bands, one polarisation and change maps."""
    channels = [7] if name == "pix2pix_opt2sar" else [13, 8]
    return Generator(name, width), Discriminator(channels, width)


def conditions_of(name: str, batch: dict[str, Tensor]) -> list[Tensor]:
    """Return what the branches see."""
    if name == "pix2pix_opt2sar":
        return [batch["s2_t2"]]
    change = (batch["s2_t2"] - batch["s2_t1"]) / 2
    return [torch.cat([batch["s2_t2"], change], 1), torch.cat([batch["s1_t1"], 1 - change.abs()], 1)]


def weighted_l1(weight: Tensor, error: Tensor) -> Tensor:
    """Return the weighted mean error."""
    return ((weight * error).sum((2, 3)) / weight.sum((2, 3))).mean()


def make_step(name: str, generator: Generator, discriminator: Discriminator) -> Step:
    """Return the step as one writes it by hand: predict, update the discriminator, update the generator."""
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=1e-4, betas=(0.5, 0.999))
    d_optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-4, betas=(0.5, 0.999))
    entropy = nn.BCEWithLogitsLoss()

    def step(batch: dict[str, Tensor]) -> None:
        conditions, target = conditions_of(name, batch), batch["s1_t2"]
        prediction = generator(*conditions)

        real, fake = discriminator(target, *conditions), discriminator(prediction.detach(), *conditions)
        d_loss = (entropy(real, torch.ones_like(real)) + entropy(fake, torch.zeros_like(fake))) / 2
        d_optimizer.zero_grad()
        d_loss.backward()
        d_optimizer.step()

        fake = discriminator(prediction, *conditions)
        error = (prediction - target).abs()
        if name == "pix2pix_opt2sar":
            pixel = error.mean()
        else:
            change = (target - batch["s1_t1"]).abs() / 2
            reverse = change.amax((2, 3), keepdim=True) - change + change.amin((2, 3), keepdim=True)
            pixel = (weighted_l1(reverse, error) + 5 * weighted_l1(change, error)) / 6
        g_loss = entropy(fake, torch.ones_like(fake)) + 100 * pixel
        g_optimizer.zero_grad()
        g_loss.backward()
        g_optimizer.step()

    return step
