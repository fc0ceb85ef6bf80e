"""DE-Pix2Pix: pix2pix with one encoder for the optical and one for the radar image.

The rival of TSGAN's ablation in Rangzan, Attarchi, Gloaguen and Alavipanah: "TSGAN: An Optical-to-SAR Dual Conditional
GAN for Optical based SAR Temporal Shifting", 2023, arXiv:2401.00440, section V.B. It has TSGAN's task, discriminator,
losses and training, and differs in the generator: the first layers of the encoders halve the resolution and the last
layer of the decoder doubles it, as in pix2pix, and there is no attention.

Departures, as in `tsgan`: instance norm in place of pix2pix's batch norm (so does the published code); eq. 3 as
printed; the change map is always target minus reference; gamma, lambda and betas from the published code; the
discriminator is frozen while the generator learns. Seven halvings and a bottleneck need patches in multiples of 256 px:
an instance norm of a single pixel is undefined.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..blocks.adversarial import conditional_gan_step
from ..blocks.layers import Decoder, Encoder, PatchDiscriminator
from ..blocks.losses import change_weighted_l1, masked_l1
from ..config import NetworkConfig, require_positive
from ..scaling import change_map
from ..task import Batch, Task, sar_temporal_shifting
from ..translator import Prediction, Translator

PAPER = "Rangzan et al., TSGAN, arXiv:2401.00440 (rival)"
YEAR = 2023
SUMMARY = "pix2pix with an optical and a radar encoder, dual discriminator, change-weighted L1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(NetworkConfig):
    """DE-Pix2Pix as published; every default is the paper's, or its code's where the paper is silent."""

    change_maps: bool = True
    """Show the optical change to both encoders (the paper's S2-CM)."""
    change_weighted_loss: bool = True
    """Weigh the L1 loss by radar change (the paper's CWL1); else plain L1."""
    gamma: float = 5.0
    """Weight of changed ground in the change-weighted L1."""
    lambda_l1: float = 100.0
    """Weight of the L1 loss beside the adversarial loss."""
    patch_multiple: ClassVar[int] = 256

    def __post_init__(self) -> None:
        NetworkConfig.__post_init__(self)
        require_positive(self, "gamma", "lambda_l1")

    @property
    def task(self) -> Task:
        """S2 of the target date and the pair of the reference date to S1 of the target date."""
        return sar_temporal_shifting(self.s1_bands, self.s2_bands)


class Generator(nn.Module):
    """U-Net with an optical and a radar encoder."""

    def __init__(self, config: Config, optical_channels: int, radar_channels: int) -> None:
        super().__init__()
        width = config.width
        self.optical = Encoder(nn.Conv2d(optical_channels, width, 4, 2, 1, padding_mode="reflect"), width)
        self.radar = Encoder(nn.Conv2d(radar_channels, width, 4, 2, 1, padding_mode="reflect"), width)
        self.bottleneck = nn.Sequential(nn.Conv2d(16 * width, 8 * width, 4, 2, 1), nn.ReLU(inplace=True))
        self.decoder = Decoder(width, 2, nn.ConvTranspose2d(3 * width, len(config.s1_bands), 4, 2, 1))

    def forward(self, optical: Tensor, radar: Tensor) -> Tensor:
        """Return the prediction (batch, band, y, x), [-1, 1]."""
        skips = list(zip(self.optical(optical), self.radar(radar), strict=True))
        prediction: Tensor = self.decoder(self.bottleneck(torch.cat(skips[-1], dim=1)), skips)
        return prediction


class Network(Translator):
    """DE-Pix2Pix with the dual discriminator and TSGAN's losses."""

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
