"""TIRSIT: translates the change between two dates from one modality to another, guided by images of other dates.

Liu, Hong, Chanussot, Zhao and Ghamisi: "Modality Translation in Remote Sensing Time Series", IEEE Transactions on
Geoscience and Remote Sensing, 60, 2022, doi:10.1109/TGRS.2021.3079294.

There is a source image S of the target date i, and pairs of source and target image, S and T, of reference dates j and
k. X_ab is X_a - X_b. One U-Net translates S_ab to T_ab, guided by T_b. T_i is then T_ij + T_j as well as T_ik + T_k,
mixed pixel by pixel: the more alike two source images are around a pixel, the more that reference counts.

`translation` picks the paper's two tasks: radar to visible light, and visible light to short-wave infrared, for which
the alias `tirsit_swir` has the paper's settings. Its ablations are settings too: `guidance=none`,
`uniqueness_weight=0`, `adversarial_weight=0`.

Training never reads T_i. It compares the translation of S_jk with T_jk (eq. 5) and asks both ways to T_i to agree. With
`orders=all` each date of a training sample is the target in turn.

Where the paper is silent or errs, this is what is built:

- Equation 6 contradicts equation 4: with one sign for all differences T_ij - T_ik is T_k - T_j, not T_jk. Built is the
  mean square of (T_ij - T_ik) - (T_k - T_j), which needs known images only.
- Equation 7 prints 1 - log D for log(1 - D). The adversarial part is that of pix2pix, in its non-saturating form.
- Differences are halved: they lie in [-1, 1] as the images do, so that tanh can end the network.
- Layers: 4x4 convolutions with stride 2 to 1, 2, 4, 8, 8 times `width` channels, batch norm from the second on, and
  the mirror image of them. Skips carry the masked features; the guide's own features go on unmasked. 50 px cannot be
  halved five times, so images are mirrored at their borders up to 64 px or another multiple of 32 px, by 7 px or more
  on each side, and the prediction is cut out. The discriminator has strides 2, 2, 1.
- The change between two references is translated one way; samples in the reverse order show the other way. All
  translations of a step go through the network as one batch.
- Equation 11 prints the absolute value outside of the filter; it is taken first, as the text says ("smoothed absolute
  difference"), and averaged over the bands of the source. For more than two references the weights are the softmax of
  -kappa x difference, which for two is equation 11.
- The discriminator learns for 60 epochs; in the 20 after them it judges, but stays as it is.
- The network predicts with the averages that batch norm gathered in training.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from s1s2pairs.errors import RunError

from ..blocks.guided_unet import Guidance, GuidedUNet, mirrored
from ..blocks.layers import NEGATIVE_SLOPE
from ..blocks.losses import adversarial_loss, discriminator_loss, masked_l2
from ..config import NetworkConfig, require_positive, require_share
from ..missing import BLANK, is_blank
from ..scaling import change_map
from ..task import Batch, Stack, Task
from ..translator import Prediction, TrainingProgress, Translator, frozen

PAPER = "Liu et al., IEEE TGRS 60, 2022"
YEAR = 2022
SUMMARY = "translates changes since several reference dates, guided by their images, and mixes what follows"
ALIASES = {"tirsit_swir": {"translation": "visible_to_swir"}}

AS_PUBLISHED = -1
"""Of a setting: the value that the paper has for the translation."""
PUBLISHED = {
    "sar_to_visible": {"uniqueness_weight": 2.0, "smoothing_px": 51, "learning_rate": 5e-4},
    "visible_to_swir": {"uniqueness_weight": 5.0, "smoothing_px": 11, "learning_rate": 2e-3},
}
LEAST_SIDE = 8
"""Pixels; the discriminator makes one logit of these."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(NetworkConfig):
    """TIRSIT as published. -1 stands for the paper's value for the translation, and is replaced by it."""

    translation: Literal["sar_to_visible", "visible_to_swir"] = "sar_to_visible"
    """From `s1_bands` to `s2_bands`, or from `s2_bands` to `swir_bands`."""
    references: int = 2
    """Pairs of other dates. The target is always T2; the references are T1, T3, T4 and so on."""
    guidance: Guidance = "mask"
    """How the target of the reference date guides the translation; the paper's is `mask`."""
    eta: float = 0.5
    """Least weight of a masked feature (eq. 2)."""
    uniqueness_weight: float = AS_PUBLISHED
    """Weight of the difference between what follows from two references; 0 leaves it out. To visible 2, to SWIR 5."""
    adversarial_weight: float = 1e-3
    """Weight of the adversarial loss; with 0 there is no discriminator."""
    finishing_share: float = 0.25
    """Share of the training at its end with half the learning rate and a discriminator that learns no more."""
    fusion: Literal["local", "mean"] = "local"
    """Mix what follows from the references by how alike their sources are around each pixel, or in equal parts."""
    kappa: float = 10.0
    """How much more a more alike source counts (eq. 11)."""
    smoothing_px: int = AS_PUBLISHED
    """Side of the square over which differences of sources are averaged, odd. To visible 51, to SWIR 11."""
    swir_bands: tuple[str, ...] = ("B11", "B12")
    """Bands of S2 that are predicted from others."""
    s1_bands: tuple[str, ...] = ("VV", "VH")
    s2_bands: tuple[str, ...] = ("B4", "B3", "B2")
    width: int = 32
    learning_rate: float = AS_PUBLISHED
    """The optimiser's step size. To visible 5e-4, to SWIR 2e-3."""
    epochs: int = 80
    batch_size: int = 16
    patch_multiple: ClassVar[int] = 1
    training_defaults: ClassVar = {"crop": 50, "orders": "all"}

    def __post_init__(self) -> None:
        for name, value in PUBLISHED[self.translation].items():
            if getattr(self, name) == AS_PUBLISHED:
                object.__setattr__(self, name, value)
        NetworkConfig.__post_init__(self)
        require_positive(self, "kappa")
        require_share(self, "eta", "finishing_share")
        for name in ("uniqueness_weight", "adversarial_weight"):
            if getattr(self, name) < 0:
                raise RunError(f"setting {name}={getattr(self, name)}: must not be below zero")
        if self.smoothing_px < 1 or self.smoothing_px % 2 == 0:
            raise RunError(f"setting smoothing_px={self.smoothing_px}: must be odd and above zero")

    @property
    def task(self) -> Task:
        """The source of T2, and pairs of the other dates, to the target of T2; which training does not look at."""
        if self.references < 2:
            raise RunError(f"setting references={self.references}: must be at least 2")
        dates = (0, *range(2, self.references + 1))
        return Task(
            name=f"guided_{self.translation}",
            sources=(self.source(1),),
            references=tuple(stack for date in dates for stack in (self.source(date), self.target(date))),
            target=self.target(1),
            paired=False,
        )

    def source(self, date: int) -> Stack:
        """Return the stack that is translated."""
        if self.translation == "sar_to_visible":
            return Stack(sensor="s1", date=date, bands=self.s1_bands)
        return Stack(sensor="s2", date=date, bands=self.s2_bands)

    def target(self, date: int) -> Stack:
        """Return the stack that it is translated to."""
        if self.translation == "sar_to_visible":
            return Stack(sensor="s2", date=date, bands=self.s2_bands)
        return Stack(sensor="s2", date=date, bands=self.swir_bands, name="swir")


def smoothed(image: Tensor, present: Tensor, side: int) -> Tensor:
    """Return the mean of an image over a square around each pixel, of the pixels that are present.

    Args:
        image: (batch, band, y, x) float.
        present: Same shape, bool. Squares without any such pixel give 0.
        side: Of the squares in pixels, odd. Beyond its borders the image is mirrored.
    """
    margin = (side // 2, side // 2)
    both = torch.cat([image * present, present.to(image.dtype)], dim=1)
    rows = functional.avg_pool2d(mirrored(both, margin, margin), (side, 1), stride=1)
    total, share = functional.avg_pool2d(rows, (1, side), stride=1).chunk(2, dim=1)
    return total / share.clamp(min=torch.finfo(share.dtype).tiny)


def mixing_weights(source: Tensor, references: Sequence[Tensor], kappa: float, side: int) -> Tensor:
    """Return how much what follows from each reference counts at each pixel (eq. 11, 12).

    Args:
        source: (batch, band, y, x) float, [-1, 1], the source's image at the target date.
        references: At each reference date, same shape and range.
        kappa: How much more a more alike image counts.
        side: Of the square over which absolute differences are averaged, odd. Missing pixels do not count.

    Returns:
        (batch, reference, y, x) float, of sum 1 over the references.
    """
    differences = [change_map(source, image).abs().mean(dim=1, keepdim=True) for image in references]
    present = [~(is_blank(source) | is_blank(image)) for image in references]
    return functional.softmax(-kappa * smoothed(torch.cat(differences, dim=1), torch.cat(present, dim=1), side), dim=1)


class Discriminator(nn.Sequential):
    """Judge overlapping patches of a change of the target, given that of the source: 11 x 11 logits for 50 x 50 px."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(
            nn.Conv2d(channels, width, 4, 2, 1),
            nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
            nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
            nn.Conv2d(2 * width, 1, 4, 1, 1),
        )


class Network(Translator):
    """TIRSIT with its losses. Batch norm mixes all pixels of a batch; the losses leave invalid ones out all the same."""

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        sources, targets = len(config.source(0).bands), len(config.target(0).bands)
        self.generator = GuidedUNet(sources, targets, config.width, guidance=config.guidance, eta=config.eta)
        self.parts = ("generator",)
        if config.adversarial_weight:
            self.parts = ("generator", "discriminator")
            self.discriminator = Discriminator(sources + targets, config.width)

    def forward(self, batch: Batch) -> Prediction:
        """Predict the target of T2 (eq. 8 to 10)."""
        self.check_patch(batch)
        config, source = self.config, batch[self.config.source(1).key]
        references, guides = self._references(batch)
        changes = self._translate([change_map(source, reference) for reference in references], guides)
        reached = torch.stack([guide + 2 * change for guide, change in zip(guides, changes, strict=True)], dim=1)
        if config.fusion == "mean":
            return Prediction(reached.mean(dim=1).clamp(-1.0, 1.0))
        weights = mixing_weights(source, references, config.kappa, config.smoothing_px)
        return Prediction((weights[:, :, None] * reached).sum(dim=1).clamp(-1.0, 1.0))

    def training_step(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Yield the discriminator's loss, unless the training is near its end, then the generator's."""
        self.check_patch(batch)
        config, valid = self.config, batch["valid"]
        sources, targets = self._references(batch)
        pairs = list(itertools.combinations(range(len(sources)), 2))  # of references: j, k
        changes = [change_map(sources[j], sources[k]) for j, k in pairs]
        guides = [targets[k] for _, k in pairs]
        if config.uniqueness_weight:
            changes += [change_map(batch[config.source(1).key], source) for source in sources]
            guides += targets
        translated = self._translate(changes, guides)
        known, ways = translated[: len(pairs)], translated[len(pairs) :]

        wanted = [change_map(targets[j], targets[k]) for j, k in pairs]
        reconstruction = _mean(masked_l2(*images, valid) for images in zip(known, wanted, strict=True))
        loss, logged = reconstruction, {"reconstruction": reconstruction}
        if config.uniqueness_weight:
            # T_ij - T_ik = T_k - T_j
            uniqueness = _mean(
                masked_l2(ways[j] - ways[k], change_map(targets[k], targets[j]), valid) for j, k in pairs
            )
            loss, logged["uniqueness"] = loss + config.uniqueness_weight * uniqueness, uniqueness
        if config.adversarial_weight:
            condition, valid = torch.cat(changes[: len(pairs)]), valid.repeat(len(pairs), 1, 1, 1)
            real, fake = (torch.cat(images).masked_fill(~valid, BLANK) for images in (wanted, known))
            if not self._finishing(self.progress):
                real_logits = self.discriminator(torch.cat([condition, real], dim=1))
                fake_logits = self.discriminator(torch.cat([condition, fake.detach()], dim=1))
                logged["discriminator"] = discriminator_loss(real_logits, fake_logits, valid)
                yield "discriminator", logged["discriminator"]
            with frozen(self.discriminator):
                judged = self.discriminator(torch.cat([condition, fake], dim=1))
            logged["adversarial"] = adversarial_loss(judged, valid)
            loss = loss + config.adversarial_weight * logged["adversarial"]
        self.logged = {name: value.detach() for name, value in logged.items()}
        yield "generator", loss

    def learning_rate_factor(self, part: str, progress: TrainingProgress) -> float:
        """Return half of what it would be else, near the end of the training."""
        return super().learning_rate_factor(part, progress) * (0.5 if self._finishing(progress) else 1.0)

    def check_patch(self, batch: Batch) -> None:
        """Refuse patches that are too small for the discriminator.

        Raises:
            RunError: The patch is too small.
        """
        height, width = batch[self.config.source(1).key].shape[-2:]
        if min(height, width) < LEAST_SIDE:
            raise RunError(
                f"patches of {height} x {width} px do not fit: both sides must have at least {LEAST_SIDE} px"
            )

    def _finishing(self, progress: TrainingProgress) -> bool:
        return progress.share >= 1 - self.config.finishing_share

    def _references(self, batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
        """Return source and target of each reference date."""
        stacks = self.task.references
        return [batch[stack.key] for stack in stacks[::2]], [batch[stack.key] for stack in stacks[1::2]]

    def _translate(self, changes: Sequence[Tensor], guides: Sequence[Tensor]) -> list[Tensor]:
        """Translate several changes of the source to those of the target, as one batch."""
        translated: Tensor = self.generator(torch.cat(list(changes)), torch.cat(list(guides)))
        return list(translated.reshape(len(changes), -1, *translated.shape[1:]).unbind())


def _mean(losses: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(losses)).mean()
