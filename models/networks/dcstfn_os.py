"""DCSTFN-OS: adds to the features of an earlier optical image what changed between two radar images.

One of the rivals in Xiong, Di, Feng et al.: "Deriving Non-Cloud Contaminated Sentinel-2 Images with RGB and
Near-Infrared Bands from Sentinel-1 Images Based on a Conditional Generative Adversarial Network", Remote Sensing, 2021,
13(8), 1512, section 2.7; after DCSTFN (Tan et al., "Deriving High Spatiotemporal Remote Sensing Images Using Deep
Convolutional Network", Remote Sensing, 2018, 10(7), 1066), which fuses coarse and fine optical images. The alias
`rdcstfn_os` has nine residual blocks between fusion and decoder.

The paper only says that a GAN was built on DCSTFN, and that RDCSTFN-OS adds residual blocks. What is built:

- DCSTFN's network for fine images encodes both sensors, with weights of their own; the radar encoder serves both
  dates. Its network for coarse images magnifies them eight times, which makes no sense for two sensors of one grid.
- Fused are optical(T1) - radar(T1) + radar(T2), as in DCSTFN. The decoder is DCSTFN's, with tanh at the end.
- The residual blocks are Conv-BN-ReLU-Drop-Conv; their number is that of MTcGAN.
- Discriminator, losses, optimiser and schedule are `mccgan`'s. The generator's first weights are PyTorch's, as in
  DCSTFN: pix2pix's small ones fade through layers without norm.
- `infer_mode` as in `mtcgan`; without residual blocks there is nothing for it to change.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from s1s2pairs.errors import RunError

from ..blocks.adversarial import conditional_gan_step
from ..blocks.losses import masked_l1
from ..blocks.pix2pix import InferMode, PatchGan, initialise, predict
from ..blocks.resnet import ResidualBlock
from ..config import NetworkConfig, require_positive, require_share
from ..task import Batch, Task, optical_temporal_shifting
from ..translator import Prediction, Translator

PAPER = "Xiong et al., Remote Sensing 13(8), 1512, 2021 (rival); after Tan et al., DCSTFN, 2018"
YEAR = 2021
SUMMARY = "radar to optical with an earlier pair, change added between encoders and decoder"
ALIASES = {"rdcstfn_os": {"residual_blocks": "9"}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(NetworkConfig):
    """DCSTFN-OS; every default is DCSTFN's, or pix2pix's for the adversary and the schedule."""

    residual_blocks: int = 0
    """Blocks between fusion and decoder; 9 is RDCSTFN-OS."""
    dropout: float = 0.5
    """Share of values dropped in each residual block."""
    lambda_l1: float = 100.0
    """Weight of the L1 loss beside the adversarial loss."""
    infer_mode: InferMode = "instance_stats"
    """What batch norm and dropout of the residual blocks do when the network predicts."""
    s1_bands: tuple[str, ...] = ("VV", "VH")
    s2_bands: tuple[str, ...] = ("B4", "B3", "B2")
    width: int = 32
    learning_rate: float = 2e-4
    epochs: int = 200
    decay_epochs: int = 100
    batch_size: int = 1
    patch_multiple: ClassVar[int] = 32

    def __post_init__(self) -> None:
        NetworkConfig.__post_init__(self)
        require_positive(self, "lambda_l1")
        require_share(self, "dropout")
        if self.residual_blocks < 0:
            raise RunError(f"setting residual_blocks={self.residual_blocks}: must be at least 0")

    @property
    def task(self) -> Task:
        """S1 of the target date and the pair of the reference date to S2 of the target date."""
        return optical_temporal_shifting(self.s1_bands, self.s2_bands)


class Encoder(nn.Sequential):
    """Four 3x3 convolutions with ReLU to `4 * width` channels; after the second, height and width are halved."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * width, 4 * width, 3, padding=1),
            nn.ReLU(inplace=True),
        )


class Generator(nn.Module):
    """Encoders of both sensors, fusion, residual blocks, decoder."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, bands = config.width, len(config.s2_bands)
        self.optical = Encoder(bands, width)
        self.radar = Encoder(len(config.s1_bands), width)
        self.residual = nn.Sequential(
            *(
                ResidualBlock(4 * width, dropout=config.dropout, tail="none", infer_mode=config.infer_mode)
                for _ in range(config.residual_blocks)
            )
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(4 * width, 2 * width, 3, 2, 1, output_padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * width, width, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, bands, 1),
            nn.Tanh(),
        )

    def forward(self, earlier_radar: Tensor, earlier_optical: Tensor, radar: Tensor) -> Tensor:
        """Return the prediction (batch, band, y, x), [-1, 1]."""
        fused = self.optical(earlier_optical) - self.radar(earlier_radar) + self.radar(radar)  # half the size
        prediction: Tensor = self.decoder(self.residual(fused))
        return prediction


class Network(Translator):
    """DCSTFN-OS with the discriminator of pix2pix. Batch norm: see `blocks.pix2pix` on batches and invalid pixels."""

    parts = ("generator", "discriminator")
    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        channels = sum(len(stack.bands) for stack in config.task.stacks)
        self.generator = Generator(config)
        self.discriminator = PatchGan(channels, 2 * config.width)
        initialise(self.discriminator)

    def forward(self, batch: Batch) -> Prediction:
        """Predict S2 of the target date."""
        self.check_patch(batch)
        return Prediction(predict(self.generator, *self._images(batch), infer_mode=self.config.infer_mode))

    def training_step(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Yield the discriminator's loss, then the generator's."""
        self.check_patch(batch)
        valid, target, images = batch["valid"], batch["s2_t2"], self._images(batch)
        prediction = self.generator(*images)
        self.logged = yield from conditional_gan_step(
            self.discriminator,
            conditions=images,
            prediction=prediction,
            target=target,
            valid=valid,
            l1=masked_l1(prediction, target, valid),
            lambda_l1=self.config.lambda_l1,
        )

    def _images(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return earlier radar, earlier optical and present radar, each (batch, band, y, x)."""
        return batch["s1_t1"], batch["s2_t1"], batch["s1_t2"]
