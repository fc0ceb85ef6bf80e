"""MCcGAN: the optical image of a date from its radar image and an earlier pair of both, by the U-Net of pix2pix.

Xiong, Di, Feng et al.: "Deriving Non-Cloud Contaminated Sentinel-2 Images with RGB and Near-Infrared Bands from
Sentinel-1 Images Based on a Conditional Generative Adversarial Network", Remote Sensing, 2021, 13(8), 1512. The alias
`pix2pix_sar2opt` is the pix2pix it was compared to, which reads the radar image of the target date alone.

The paper draws generator and discriminator of pix2pix (Isola et al., 2017), with a sigmoid at the end of the
discriminator, which is part of the loss here. It is silent on nearly everything else, so this is pix2pix's: weight of
the L1 loss, optimiser, 100 epochs and 100 more over which the learning rate falls, one image a step, first weights,
dropout in the three decoders after the innermost. Neither jitter nor flips: a flipped radar image shows a view that no
satellite has. Channels go in by date: earlier radar, earlier optical, present radar. Areas A and B of the paper have
the bands red, green, blue, which are the default; `s2_bands=B4,B3,B2,B8` is its area C.

`infer_mode` as in `mtcgan`: each image is normalised by its own statistics, as in training on one image a step.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..blocks.adversarial import conditional_gan_step
from ..blocks.losses import masked_l1
from ..blocks.pix2pix import InferMode, PatchGan, initialise, predict
from ..blocks.unet import UNet
from ..config import NetworkConfig, require_positive, require_share
from ..task import Batch, Task, optical_temporal_shifting, sar_to_optical
from ..translator import Prediction, Translator

PAPER = "Xiong et al., Remote Sensing 13(8), 1512, 2021"
YEAR = 2021
SUMMARY = "radar to optical with an earlier pair, U-Net and discriminator of pix2pix"
ALIASES = {"pix2pix_sar2opt": {"multitemporal": "false"}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(NetworkConfig):
    """MCcGAN as published; every default is pix2pix's where the paper is silent."""

    multitemporal: bool = True
    """Read the earlier pair too; else the radar image of the target date alone."""
    dropout: float = 0.5
    """Share of values dropped in the three decoders after the innermost."""
    lambda_l1: float = 100.0
    """Weight of the L1 loss beside the adversarial loss."""
    infer_mode: InferMode = "instance_stats"
    """What batch norm and dropout do when the network predicts."""
    s1_bands: tuple[str, ...] = ("VV", "VH")
    s2_bands: tuple[str, ...] = ("B4", "B3", "B2")
    learning_rate: float = 2e-4
    epochs: int = 200
    decay_epochs: int = 100
    batch_size: int = 1
    patch_multiple: ClassVar[int] = 256

    def __post_init__(self) -> None:
        NetworkConfig.__post_init__(self)
        require_positive(self, "lambda_l1")
        require_share(self, "dropout")

    @property
    def task(self) -> Task:
        """S1 of the target date, and unless switched off the pair of the reference date, to S2 of the target date."""
        make_task = optical_temporal_shifting if self.multitemporal else sar_to_optical
        return make_task(self.s1_bands, self.s2_bands)


class Network(Translator):
    """MCcGAN. Batch norm: see `blocks.pix2pix` on batches and invalid pixels."""

    parts = ("generator", "discriminator")
    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        channels, bands = sum(len(stack.bands) for stack in config.task.inputs), len(config.s2_bands)
        self.generator = UNet(channels, bands, config.width, dropout=config.dropout, infer_mode=config.infer_mode)
        self.discriminator = PatchGan(channels + bands, config.width)
        initialise(self)

    def forward(self, batch: Batch) -> Prediction:
        """Predict S2 of the target date."""
        self.check_patch(batch)
        return Prediction(predict(self.generator, self._condition(batch), infer_mode=self.config.infer_mode))

    def training_step(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Yield the discriminator's loss, then the generator's."""
        self.check_patch(batch)
        valid, target, condition = batch["valid"], batch["s2_t2"], self._condition(batch)
        prediction = self.generator(condition)
        self.logged = yield from conditional_gan_step(
            self.discriminator,
            conditions=(condition,),
            prediction=prediction,
            target=target,
            valid=valid,
            l1=masked_l1(prediction, target, valid),
            lambda_l1=self.config.lambda_l1,
        )

    def _condition(self, batch: Batch) -> Tensor:
        """Return what generator and discriminator see: (batch, channel, y, x)."""
        if not self.config.multitemporal:
            return batch["s1_t2"]
        return torch.cat([batch["s1_t1"], batch["s2_t1"], batch["s1_t2"]], dim=1)
