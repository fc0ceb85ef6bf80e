"""CycleGAN: radar to optical and back, learned from images that need not show the same ground.

Zhu, Park, Isola and Efros: "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV 2017,
arXiv:1703.10593; one of the rivals in Xiong, Di, Feng et al., Remote Sensing, 2021, 13(8), 1512. What is built is what
its authors wrote down in PyTorch (junyanz/pytorch-CycleGAN-and-pix2pix): two `resnet_9blocks` generators, two patch
discriminators, instance norm everywhere, least squares in place of cross entropy, a pool of 50 earlier predictions for
each discriminator, generators first.

`sup_loss` adds a pixel loss in both directions and trains on pairs; with `mse` that is S-CycleGAN (alias `s_cyclegan`;
Wang et al., "SAR-to-Optical Image Translation Using Supervised Cycle-Consistent Adversarial Networks", IEEE Access 7,
2019). No code of its authors was found: the kind of loss and its weight, which is that of the cycle, were chosen here.

Departures:

- The identity loss compares what a generator makes of an image of its own output with that image. That needs as many
  bands on both sides, which two polarisations and three colours are not. So it is off, unless `lambda_identity` says
  otherwise where it can be had: CycleGAN's 0.5, with `radar_as=pseudo_colour`, which makes VH, VV and VH/VV of the
  radar image. All three are scaled by fixed ranges, where the code that inspired it (WHU-SEN-City) takes the extremes
  of each image.
- Neither jitter nor flips: a flipped radar image shows a view that no satellite has.
- The share of valid pixels around each logit says how much it counts, for predictions from the pool too.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from s1s2pairs.errors import RunError

from ..blocks.losses import masked_l1, masked_l2, patch_weight
from ..blocks.pix2pix import PatchGan, initialise
from ..blocks.resnet import ResNet
from ..config import NetworkConfig, require_positive
from ..missing import BLANK
from ..scaling import change_map
from ..task import Batch, Task, sar_to_optical
from ..translator import Prediction, Translator, frozen

PAPER = "Xiong et al., Remote Sensing 13(8), 1512, 2021 (rival); after Zhu et al., CycleGAN, 2017"
YEAR = 2017
SUMMARY = "radar to optical and back, learned from unpaired images"
ALIASES = {"s_cyclegan": {"sup_loss": "mse"}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(NetworkConfig):
    """CycleGAN as its authors wrote it down."""

    sup_loss: Literal["none", "mse", "l1"] = "none"
    """Pixel loss against the other image of a pair, squared or absolute; none trains on unpaired images."""
    lambda_sup: float = 10.0
    """Weight of the pixel loss of each direction."""
    lambda_cycle: float = 10.0
    """Weight of the L1 loss of each way there and back."""
    lambda_identity: float = 0.0
    """Weight of the identity loss, as a multiple of `lambda_cycle`; needs as many bands on both sides."""
    radar_as: Literal["bands", "pseudo_colour"] = "bands"
    """What the networks see of the radar: its bands, or VH, VV and VH/VV."""
    pool_size: int = 50
    """How many earlier predictions each discriminator may see again; 0 shows the present ones only."""
    residual_blocks: int = 9
    s1_bands: tuple[str, ...] = ("VV", "VH")
    s2_bands: tuple[str, ...] = ("B4", "B3", "B2")
    learning_rate: float = 2e-4
    epochs: int = 200
    decay_epochs: int = 100
    batch_size: int = 1
    patch_multiple: ClassVar[int] = 32

    def __post_init__(self) -> None:
        NetworkConfig.__post_init__(self)
        require_positive(self, "lambda_sup", "lambda_cycle", "residual_blocks")
        for name in ("lambda_identity", "pool_size"):
            if getattr(self, name) < 0:
                raise RunError(f"setting {name}={getattr(self, name)}: must not be below zero")
        if self.radar_as == "pseudo_colour" and set(self.s1_bands) != {"VV", "VH"}:
            raise RunError(f"radar_as=pseudo_colour needs s1_bands=VV,VH, found {','.join(self.s1_bands)}")
        if self.lambda_identity and self.radar_channels != len(self.s2_bands):
            raise RunError(
                f"lambda_identity={self.lambda_identity} needs as many bands on both sides, found "
                f"{self.radar_channels} of S1 and {len(self.s2_bands)} of S2; set radar_as=pseudo_colour with three "
                "s2_bands, or lambda_identity=0"
            )

    @property
    def task(self) -> Task:
        """S1 to S2 of the same date, in training of unlike places unless there is a pixel loss."""
        return replace(sar_to_optical(self.s1_bands, self.s2_bands), paired=self.sup_loss != "none")

    @property
    def radar_channels(self) -> int:
        """Channels that the networks see of the radar."""
        return 3 if self.radar_as == "pseudo_colour" else len(self.s1_bands)


class Cycle(NamedTuple):
    """What both generators make of a radar and an optical image, each (batch, channel, y, x), [-1, 1]."""

    optical: Tensor
    """From the radar image."""
    radar: Tensor
    """From the optical image."""
    radar_again: Tensor
    """From `optical`."""
    optical_again: Tensor
    """From `radar`."""
    same: tuple[Tensor, Tensor] | None
    """What the generators make of an optical and of a radar image that need no translation."""


class Generators(nn.Module):
    """Radar to optical and back: one part, as one loss trains both."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        radar, optical, width = config.radar_channels, len(config.s2_bands), config.width
        self.to_optical = ResNet(radar, optical, width, blocks=config.residual_blocks)
        self.to_radar = ResNet(optical, radar, width, blocks=config.residual_blocks)
        self.identity = config.lambda_identity > 0

    def forward(self, radar: Tensor, optical: Tensor | None = None) -> Tensor | Cycle:
        """Return the optical prediction of a radar image; given an optical image too, all that training needs."""
        prediction: Tensor = self.to_optical(radar)
        if optical is None:
            return prediction
        back = self.to_radar(optical)
        same = (self.to_optical(optical), self.to_radar(radar)) if self.identity else None
        return Cycle(prediction, back, self.to_radar(prediction), self.to_optical(back), same)


class Network(Translator):
    """CycleGAN with its discriminators, losses and pools."""

    parts = ("generators", "optical_discriminator", "radar_discriminator")
    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.generators = Generators(config)
        self.optical_discriminator = PatchGan(len(config.s2_bands), config.width, "instance")
        self.radar_discriminator = PatchGan(config.radar_channels, config.width, "instance")
        initialise(self)

    def forward(self, batch: Batch) -> Prediction:
        """Predict S2."""
        self.check_patch(batch)
        return Prediction(self.generators(self._radar(batch)))

    def training_step(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Yield the generators' loss, then that of each discriminator."""
        self.check_patch(batch)
        config, radar = self.config, self._radar(batch)
        radar_valid, optical_valid = batch["valid"], batch.get("target_valid", batch["valid"])
        optical = batch["s2_t2"].masked_fill(~optical_valid, BLANK)
        made: Cycle = self.generators(radar, optical)
        fake_optical, fake_radar = (
            made.optical.masked_fill(~radar_valid, BLANK),
            made.radar.masked_fill(~optical_valid, BLANK),
        )
        with frozen(self.optical_discriminator), frozen(self.radar_discriminator):
            adversarial = least_squares(self.optical_discriminator(fake_optical), 1.0, radar_valid)
            adversarial = adversarial + least_squares(self.radar_discriminator(fake_radar), 1.0, optical_valid)
        cycle = masked_l1(made.radar_again, radar, radar_valid)
        cycle = cycle + masked_l1(made.optical_again, optical, optical_valid)
        loss, logged = adversarial + config.lambda_cycle * cycle, {"adversarial": adversarial, "cycle": cycle}
        if made.same is not None:
            identity = masked_l1(made.same[0], optical, optical_valid) + masked_l1(made.same[1], radar, radar_valid)
            loss, logged["identity"] = loss + config.lambda_cycle * config.lambda_identity * identity, identity
        if config.sup_loss != "none":
            pixel_loss = {"mse": masked_l2, "l1": masked_l1}[config.sup_loss]
            pixels = pixel_loss(made.optical, optical, radar_valid) + pixel_loss(made.radar, radar, radar_valid)
            loss, logged[config.sup_loss] = loss + config.lambda_sup * pixels, pixels
        yield "generators", loss

        for part, real, fake, real_valid, fake_valid in (
            ("optical_discriminator", optical, fake_optical, optical_valid, radar_valid),
            ("radar_discriminator", radar, fake_radar, radar_valid, optical_valid),
        ):
            discriminator = self.get_submodule(part)
            shown, shown_valid = self._from_pool(part, fake.detach(), fake_valid)
            real_loss = least_squares(discriminator(real.masked_fill(~real_valid, BLANK)), 1.0, real_valid)
            logged[part] = 0.5 * (real_loss + least_squares(discriminator(shown), 0.0, shown_valid))
            yield part, logged[part]
        self.logged = {name: value.detach() for name, value in logged.items()}

    def _radar(self, batch: Batch) -> Tensor:
        """Return what the networks see of the radar image."""
        image, bands = batch["s1_t2"], self.config.s1_bands
        if self.config.radar_as == "bands":
            return image
        co_polarised, cross_polarised = (image[:, [bands.index(band)]] for band in ("VV", "VH"))
        # A ratio is a difference in decibels.
        return torch.cat([cross_polarised, co_polarised, change_map(cross_polarised, co_polarised)], dim=1)

    def _from_pool(self, part: str, images: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return what a discriminator is shown in place of predictions, and where that is valid.

        Predictions fill the pool and are shown as they are. When it is full, each is with even odds shown as it is, or
        takes the place of one of the pool, which is shown. Nothing here waits for a GPU.

        Args:
            part: The discriminator.
            images: (batch, channel, y, x) float, predictions.
            valid: (batch, 1, y, x) bool.
        """
        size = self.config.pool_size
        if not size:
            return images, valid
        known = torch.cat([images.float(), valid.float()], dim=1)
        pool = self.training_state.setdefault(f"{part}_pool", known.new_zeros(size, *known.shape[1:]))
        count = self.training_state.setdefault(f"{part}_count", torch.zeros(1, dtype=torch.int64, device=known.device))
        shown = []
        for image in known.chunk(len(known)):
            full = count >= size
            place = torch.where(full, torch.randint(size, (1,), device=known.device), count)
            kept = pool.index_select(0, place)
            exchanged = full & (torch.rand(1, device=known.device) < 0.5)
            shown.append(torch.where(exchanged, kept, image))
            pool.index_copy_(0, place, torch.where(exchanged | ~full, image, kept))
            count += ~full
        chosen = torch.cat(shown)
        return chosen[:, :-1], chosen[:, -1:] > 0


def least_squares(logits: Tensor, truth: float, valid: Tensor) -> Tensor:
    """Return the mean squared difference of logits from what they should say, weighed by the share of valid pixels.

    Args:
        logits: (batch, 1, row, col) float.
        truth: 1 for an image that is taken for real, 0 for a prediction.
        valid: (batch, 1, y, x) bool, of the judged image.
    """
    return masked_l2(logits, torch.full_like(logits, truth), patch_weight(valid, logits))
