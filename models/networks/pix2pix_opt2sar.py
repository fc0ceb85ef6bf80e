"""Pix2Pix from optical to radar: the plain translation that TSGAN is measured against.

The rows "Pix2Pix" in Rangzan, Attarchi, Gloaguen and Alavipanah: "TSGAN: An Optical-to-SAR Dual Conditional GAN for
Optical based SAR Temporal Shifting", 2023, arXiv:2401.00440, section V.B; after Isola et al., "Image-to-Image
Translation with Conditional Adversarial Networks", 2017. One date: the optical image alone goes in, so neither change
maps nor a change-weighted loss apply.

Departures: instance norm in place of batch norm and reflected borders, as in the code published with TSGAN; a
discriminator with one stream that sees the optical and the radar image (the published training script offers only the
dual one, which would show it the earlier radar image too); the discriminator is frozen while the generator learns.
Patches in multiples of 256 px: an instance norm of a single pixel is undefined.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ..blocks.adversarial import conditional_gan_step
from ..blocks.layers import Decoder, Encoder, PatchDiscriminator
from ..blocks.losses import masked_l1
from ..config import NetworkConfig, require_positive
from ..task import Batch, Task, optical_to_sar
from ..translator import Prediction, Translator

PAPER = "Rangzan et al., TSGAN, arXiv:2401.00440 (rival); after Isola et al., 2017"
YEAR = 2023
SUMMARY = "optical to radar at one date, no reference"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(NetworkConfig):
    """Pix2Pix as trained for the TSGAN paper."""

    lambda_l1: float = 100.0
    """Weight of the L1 loss beside the adversarial loss."""
    epochs: int = 15
    patch_multiple: ClassVar[int] = 256

    def __post_init__(self) -> None:
        NetworkConfig.__post_init__(self)
        require_positive(self, "lambda_l1")

    @property
    def task(self) -> Task:
        """S2 to S1 of the same date."""
        return optical_to_sar(self.s1_bands, self.s2_bands)


class Generator(nn.Module):
    """U-Net with one encoder."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.width
        self.encoder = Encoder(nn.Conv2d(len(config.s2_bands), width, 4, 2, 1, padding_mode="reflect"), width)
        self.bottleneck = nn.Sequential(nn.Conv2d(8 * width, 8 * width, 4, 2, 1), nn.ReLU(inplace=True))
        self.decoder = Decoder(width, 1, nn.ConvTranspose2d(2 * width, len(config.s1_bands), 4, 2, 1))

    def forward(self, optical: Tensor) -> Tensor:
        """Return the prediction (batch, band, y, x), [-1, 1]."""
        features = self.encoder(optical)
        prediction: Tensor = self.decoder(self.bottleneck(features[-1]), [(feature,) for feature in features])
        return prediction


class Network(Translator):
    """Pix2Pix with its discriminator and losses."""

    parts = ("generator", "discriminator")
    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.generator = Generator(config)
        self.discriminator = PatchDiscriminator((len(config.s2_bands),), len(config.s1_bands), config.width)

    def forward(self, batch: Batch) -> Prediction:
        """Predict S1 of the target date."""
        self.check_patch(batch)
        return Prediction(self.generator(batch["s2_t2"]))

    def training_step(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Yield the discriminator's loss, then the generator's."""
        self.check_patch(batch)
        valid, target, optical = batch["valid"], batch["s1_t2"], batch["s2_t2"]
        prediction = self.generator(optical)
        self.logged = yield from conditional_gan_step(
            self.discriminator,
            conditions=(optical,),
            prediction=prediction,
            target=target,
            valid=valid,
            l1=masked_l1(prediction, target, valid),
            lambda_l1=self.config.lambda_l1,
        )
