"""TSGAN: shifts a radar image in time, guided by what changed in the optical images.

Rangzan, Attarchi, Gloaguen and Alavipanah: "TSGAN: An Optical-to-SAR Dual Conditional GAN for Optical based SAR
Temporal Shifting", 2023, arXiv:2401.00440.

`version` picks the paper's three: `v1` has no attention; `v2` weighs the channels of the fused encoders; `v3` also
attends within both encoders (GLAM). The default is `v2`: section VI.D recommends it, because V3's global attention
sometimes settles on a single point and such runs had to be sorted out by hand.

Where the paper and the code published with it are silent, disagree or err, this is what is built:

- The channel attention is CBAM's (average and maximum pooled, ratio 4), as in the published code. The paper's text
  names squeeze and excitation, which `channel_attention="se"` gives (average only, ratio 16, no biases).
- GLAM sits after the fourth `Down`, at 1/16 of the patch size, as the paper's figure draws it. Its two softmaxes run
  over the keys of each query, as in every attention since; the published code runs one softmax over all pairs at once,
  which leaves either nothing or a single spike. Key and query of the global channel attention have a convolution each;
  the published code uses one for both. Pooling adapts to any patch size. The 3x3 kernels have dilations 1, 2, 3, which
  give the printed extents 3, 5 and 7; the printed dilations 1, 3, 5 would not. Equation 21 needs a 1x1 convolution back
  to all channels.
- Equation 3 is built as printed (see `losses.reversed_weight_map`), and the change map is always target minus reference
  (see `scaling.change_map`).
- With several radar bands, each has a change map, extremes and weights of its own, and the loss is their mean. The paper and its
  code know VV only.
- gamma, lambda and Adam's betas come from the published code; the paper gives none of them.
- The abstract's "siamese" encoders share no weights: their inputs differ in channels.
- The discriminator is frozen while the generator learns: the same gradients with less work.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..blocks.adversarial import conditional_gan_step
from ..blocks.layers import Decoder, Encoder, PatchDiscriminator
from ..blocks.losses import change_weighted_l1, masked_l1
from ..config import NetworkConfig, require_positive
from ..scaling import change_map
from ..task import Batch, Task, sar_temporal_shifting
from ..translator import Prediction, Translator

PAPER = "Rangzan et al., TSGAN, arXiv:2401.00440"
YEAR = 2023
SUMMARY = "two encoders at full resolution, attention by version, dual discriminator, change-weighted L1"
ALIASES = {"tsgan_v1": {"version": "v1"}, "tsgan_v2": {"version": "v2"}, "tsgan_v3": {"version": "v3"}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(NetworkConfig):
    """TSGAN as published; every default is the paper's, or its code's where the paper is silent."""

    version: Literal["v1", "v2", "v3"] = "v2"
    """`v1` without attention, `v2` with channel attention, `v3` with GLAM too."""
    channel_attention: Literal["cbam", "se"] = "cbam"
    """Form of the channel attention of v2 and v3."""
    change_maps: bool = True
    """Show the optical change to both encoders (the paper's S2-CM)."""
    change_weighted_loss: bool = True
    """Weigh the L1 loss by radar change (the paper's CWL1); else plain L1."""
    gamma: float = 5.0
    """Weight of changed ground in the change-weighted L1."""
    lambda_l1: float = 100.0
    """Weight of the L1 loss beside the adversarial loss."""
    patch_multiple: ClassVar[int] = 128

    def __post_init__(self) -> None:
        NetworkConfig.__post_init__(self)
        require_positive(self, "gamma", "lambda_l1")

    @property
    def task(self) -> Task:
        """S2 of the target date and the pair of the reference date to S1 of the target date."""
        return sar_temporal_shifting(self.s1_bands, self.s2_bands)


class ChannelAttention(nn.Module):
    """Scale each channel by a weight in (0, 1) computed from all channels' pooled values.

    Args:
        channels: Channels of the feature map.
        kind: `cbam` pools by average and by maximum and adds what the shared layers make of both; `se` pools by
            average.
    """

    def __init__(self, channels: int, kind: Literal["cbam", "se"]) -> None:
        super().__init__()
        self.use_maximum = kind == "cbam"
        hidden = max(1, channels // (4 if kind == "cbam" else 16))
        self.shared = nn.Sequential(
            nn.Linear(channels, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, channels, bias=False)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return (batch, channel, y, x), scaled."""
        score = self.shared(features.mean(dim=(2, 3)))  # (batch, channel)
        if self.use_maximum:
            score = score + self.shared(features.amax(dim=(2, 3)))
        return features * torch.sigmoid(score)[:, :, None, None]


class GlobalLocalAttention(nn.Module):
    """GLAM: local and global attention, each by channel and by place, mixed with the features themselves (eq. 15-23).

    Args:
        channels: Channels of the feature map, C.
        reduced: Channels inside the attention by place, c'.
        kernel: Extent of the convolutions along the channel axis.
    """

    def __init__(self, channels: int, reduced: int, kernel: int = 5) -> None:
        super().__init__()
        self.local_channel = nn.Conv1d(1, 1, kernel, padding=kernel // 2)
        self.local_reduce = nn.Conv2d(channels, reduced, 1)
        self.local_scales = nn.ModuleList(
            nn.Conv2d(reduced, reduced, 3, padding=dilation, dilation=dilation) for dilation in (1, 2, 3)
        )
        self.local_place = nn.Conv2d(4 * reduced, 1, 1)
        self.channel_query = nn.Conv1d(1, 1, kernel, padding=kernel // 2)
        self.channel_key = nn.Conv1d(1, 1, kernel, padding=kernel // 2)
        self.place_query = nn.Conv2d(channels, reduced, 1)
        self.place_key = nn.Conv2d(channels, reduced, 1)
        self.place_value = nn.Conv2d(channels, reduced, 1)
        self.place_restore = nn.Conv2d(reduced, channels, 1)
        self.mix = nn.Parameter(torch.zeros(3))
        """Logits of the weights of local attention, the features themselves, global attention."""

    def forward(self, features: Tensor) -> Tensor:
        """Return (batch, channel, y, x), attended."""
        pooled = features.mean(dim=(2, 3))[:, None]  # (batch, 1, channel)
        local, own, overall = functional.softmax(self.mix, dim=0).unbind()
        return local * self._local(features, pooled) + own * features + overall * self._global(features, pooled)

    def _local(self, features: Tensor, pooled: Tensor) -> Tensor:
        weight = torch.sigmoid(self.local_channel(pooled)).transpose(1, 2)[..., None]  # (batch, channel, 1, 1)
        by_channel = features * weight + features
        reduced = self.local_reduce(features)
        scales = [reduced, *(scale(reduced) for scale in self.local_scales)]
        place = self.local_place(torch.cat(scales, dim=1))  # (batch, 1, y, x), no sigmoid
        attended: Tensor = by_channel * place + by_channel
        return attended

    def _global(self, features: Tensor, pooled: Tensor) -> Tensor:
        batch, channels, height, width = features.shape
        query = torch.sigmoid(self.channel_query(pooled)).transpose(1, 2)  # (batch, channel, 1)
        key = torch.sigmoid(self.channel_key(pooled))  # (batch, 1, channel)
        attention = functional.softmax(query @ key, dim=2)  # (batch, channel as query, channel as key)
        mixed = attention @ features.reshape(batch, channels, height * width)
        by_channel = features * mixed.reshape(features.shape)

        query = self.place_query(features).flatten(2).transpose(1, 2)  # (batch, y * x, reduced)
        key = self.place_key(features).flatten(2)  # (batch, reduced, y * x)
        value = self.place_value(features).flatten(2)
        attention = functional.softmax(query @ key, dim=2)  # (batch, place as query, place as key)
        mixed = (value @ attention.transpose(1, 2)).reshape(batch, -1, height, width)
        attended: Tensor = by_channel * self.place_restore(mixed) + by_channel
        return attended


class Generator(nn.Module):
    """U-Net with an optical and a radar encoder whose first layers keep the full resolution."""

    def __init__(self, config: Config, optical_channels: int, radar_channels: int) -> None:
        super().__init__()
        width = config.width
        self.optical = Encoder(nn.Conv2d(optical_channels, width, 5, 1, 2, padding_mode="reflect"), width)
        self.radar = Encoder(nn.Conv2d(radar_channels, width, 3, 1, 1, padding_mode="reflect"), width)
        if config.version == "v3":
            for encoder in (self.optical, self.radar):
                attention = GlobalLocalAttention(8 * width, max(1, width // 2))
                encoder.levels[4] = nn.Sequential(encoder.levels[4], attention)
        attends = config.version != "v1"
        self.fuse = ChannelAttention(16 * width, config.channel_attention) if attends else nn.Identity()
        self.bottleneck = nn.Sequential(nn.Conv2d(16 * width, 8 * width, 4, 2, 1), nn.ReLU(inplace=True))
        self.decoder = Decoder(width, 2, nn.Conv2d(3 * width, len(config.s1_bands), 3, 1, 1))

    def forward(self, optical: Tensor, radar: Tensor) -> Tensor:
        """Return the prediction (batch, band, y, x), [-1, 1]."""
        skips = list(zip(self.optical(optical), self.radar(radar), strict=True))
        fused = self.fuse(torch.cat(skips[-1], dim=1))
        prediction: Tensor = self.decoder(self.bottleneck(fused), [*skips[:-1], (fused,)])
        return prediction


class Network(Translator):
    """TSGAN with its dual discriminator and losses."""

    parts = ("generator", "discriminator")
    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        optical, radar = len(config.s2_bands), len(config.s1_bands)
        if config.change_maps:
            optical, radar = 2 * optical, radar + optical
        self.generator = Generator(config, optical, radar)
        self.discriminator = PatchDiscriminator((optical, radar), len(config.s1_bands), config.width)

    def forward(self, batch: Batch) -> Prediction:
        """Predict S1 of the target date."""
        self.check_patch(batch)
        return Prediction(self.generator(*self._conditions(batch)))

    def training_step(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Yield the discriminator's loss, then the generator's."""
        self.check_patch(batch)
        conditions = self._conditions(batch)
        valid, target = batch["valid"], batch["s1_t2"]
        prediction = self.generator(*conditions)
        if self.config.change_weighted_loss:
            l1 = change_weighted_l1(prediction, target, batch["s1_t1"], valid, gamma=self.config.gamma)
        else:
            l1 = masked_l1(prediction, target, valid)
        self.logged = yield from conditional_gan_step(
            self.discriminator,
            conditions=conditions,
            prediction=prediction,
            target=target,
            valid=valid,
            l1=l1,
            lambda_l1=self.config.lambda_l1,
        )

    def _conditions(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return what the optical and the radar branch see."""
        optical, radar = batch["s2_t2"], batch["s1_t1"]
        if not self.config.change_maps:
            return optical, radar
        change = change_map(optical, batch["s2_t1"])
        return torch.cat([optical, change], dim=1), torch.cat([radar, 1.0 - change.abs()], dim=1)
