"""MTcGAN: the optical image of a date from its radar image and an earlier pair of both; and the three it was compared to.

He and Yokoya: "Multi-Temporal Sentinel-1 and -2 Data Fusion for Optical Image Simulation", ISPRS Int. J. Geo-Inf.,
2018, 7(10), 389; arXiv:1807.09954.

Task B (`mtcgan`, `mtcnn`) reads the earlier radar and optical image and the present radar image, task A (`cgan`, `cnn`)
the present radar image alone. The cGANs learn with an adversary, the CNNs without. Where the paper is silent or errs,
this is what is built:

- The text keeps the image's size through all layers. Its table 3 contradicts that: 3506 s for 561 patches and 200
  epochs are 31 ms a step, some 16 times what the card named there can compute. `downsample=4` is the usual form of this
  network, with two convolutions of stride 2 and two transposed ones, at a fifteenth of the cost and with as many
  parameters; use it on a CPU.
- The residual block is printed as Conv-BN-ReLU-Drop-Conv-ReLU, so the ReLU comes before the sum, and no norm follows
  the second convolution. `res_tail` gives two other readings.
- Channels go in by date: earlier radar, earlier optical, present radar. Nothing is said of it.
- Eq. 1 prints 1 - log D(x, G); the GAN's term is log(1 - D(x, G)). As in pix2pix, the generator maximises log D(x, G)
  instead: that, not the logarithm, is what helps its gradients at the beginning.
- Decay rates of Adam and first weights are pix2pix's; the learning rate stays as it is, as in pix2pix's first code
  (`decay_epochs` lets it fall).
- The CNNs' loss is not named: L1, or L2 by `pixel_loss`.
- How the network predicts is not said. Averages gathered while training on one image at a time are a known source of
  blurred pictures, so each image is normalised by its own statistics, as in training; `infer_mode` gives the others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..blocks.adversarial import conditional_gan_step
from ..blocks.losses import masked_l1, masked_l2
from ..blocks.pix2pix import InferMode, PatchGan, initialise, predict
from ..blocks.resnet import ResNet
from ..config import NetworkConfig, require_positive, require_share
from ..task import Batch, Task, optical_temporal_shifting, sar_to_optical
from ..translator import Prediction, Translator

PAPER = "He & Yokoya, IJGI 7(10), 2018, arXiv:1807.09954"
YEAR = 2018
SUMMARY = "radar to optical with an earlier pair, residual generator, patch discriminator"
ALIASES = {
    "mtcnn": {"adversarial": "false"},
    "cgan": {"multitemporal": "false"},
    "cnn": {"multitemporal": "false", "adversarial": "false"},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(NetworkConfig):
    """MTcGAN as published; every default is the paper's, or pix2pix's where the paper is silent."""

    multitemporal: bool = True
    """Read the earlier pair too (task B); else the radar image of the target date alone (task A)."""
    adversarial: bool = True
    """Learn with a discriminator."""
    downsample: Literal[1, 4] = 1
    """How many times smaller than the image the residual blocks' feature maps are; 4 costs a fifteenth."""
    residual_blocks: int = 9
    res_tail: Literal["relu_before_add", "relu_after_add", "bn_no_relu"] = "relu_before_add"
    """What follows the second convolution of a residual block: ReLU and the sum, the sum and ReLU, batch norm and the sum."""
    dropout: float = 0.5
    """Share of values dropped in each residual block."""
    pixel_loss: Literal["l1", "l2"] = "l1"
    """Mean absolute or mean squared error."""
    lambda_l1: float = 100.0
    """Weight of the pixel loss beside the adversarial loss."""
    infer_mode: InferMode = "instance_stats"
    """What batch norm and dropout do when the network predicts."""
    s1_bands: tuple[str, ...] = ("VV", "VH")
    s2_bands: tuple[str, ...] = ("B4", "B3", "B2", "B8")
    learning_rate: float = 2e-4
    epochs: int = 200
    batch_size: int = 1
    patch_multiple: ClassVar[int] = 32

    def __post_init__(self) -> None:
        NetworkConfig.__post_init__(self)
        require_positive(self, "residual_blocks", "lambda_l1")
        require_share(self, "dropout")

    @property
    def task(self) -> Task:
        """S1 of the target date, and unless switched off the pair of the reference date, to S2 of the target date."""
        make_task = optical_temporal_shifting if self.multitemporal else sar_to_optical
        return make_task(self.s1_bands, self.s2_bands)


class Network(Translator):
    """MTcGAN, and without the adversary MTCNN. Batch norm: see `blocks.pix2pix` on batches and invalid pixels."""

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        channels = sum(len(stack.bands) for stack in config.task.inputs)
        self.generator = ResNet(
            channels,
            len(config.s2_bands),
            config.width,
            blocks=config.residual_blocks,
            norm="batch",
            padding="zeros",
            downsample=config.downsample,
            last_kernel=3,
            dropout=config.dropout,
            tail=config.res_tail,
            infer_mode=config.infer_mode,
        )
        self.parts = ("generator",)
        if config.adversarial:
            self.parts = ("generator", "discriminator")
            self.discriminator = PatchGan(channels + len(config.s2_bands), config.width)
        initialise(self)

    def forward(self, batch: Batch) -> Prediction:
        """Predict S2 of the target date."""
        self.check_patch(batch)
        return Prediction(predict(self.generator, self._condition(batch), infer_mode=self.config.infer_mode))

    def training_step(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Yield the discriminator's loss, then the generator's; without a discriminator the pixel loss alone."""
        self.check_patch(batch)
        valid, target, name = batch["valid"], batch["s2_t2"], self.config.pixel_loss
        condition = self._condition(batch)
        prediction = self.generator(condition)
        pixel_loss = {"l1": masked_l1, "l2": masked_l2}[name](prediction, target, valid)
        if not self.config.adversarial:
            yield "generator", pixel_loss
            self.logged = {name: pixel_loss.detach()}
            return
        self.logged = yield from conditional_gan_step(
            self.discriminator,
            conditions=(condition,),
            prediction=prediction,
            target=target,
            valid=valid,
            l1=pixel_loss,
            lambda_l1=self.config.lambda_l1,
            pixel_loss=name,
        )

    def _condition(self, batch: Batch) -> Tensor:
        """Return what generator and discriminator see: (batch, channel, y, x)."""
        if not self.config.multitemporal:
            return batch["s1_t2"]
        return torch.cat([batch["s1_t1"], batch["s2_t1"], batch["s1_t2"]], dim=1)
