"""The training step of a conditional GAN on image pairs, as pix2pix orders it."""

from collections.abc import Generator

from torch import Tensor, nn

from ..translator import frozen
from .losses import adversarial_loss, discriminator_loss


def conditional_gan_step(
    discriminator: nn.Module,
    *,
    conditions: tuple[Tensor, ...],
    prediction: Tensor,
    target: Tensor,
    valid: Tensor,
    l1: Tensor,
    lambda_l1: float,
    pixel_loss: str = "l1",
) -> Generator[tuple[str, Tensor], None, dict[str, Tensor]]:
    """Yield the discriminator's loss, then the generator's, judged by the discriminator just updated.

    The generator predicts once for both. While its loss is made the discriminator is frozen: its weights' gradients
    would be thrown away. Where invalid, prediction and target are both zero, so that nothing there tells them apart.

    Args:
        discriminator: From an image and its conditions to logits.
        conditions: What the prediction was made from, each (batch, channel, y, x).
        prediction: (batch, band, y, x) float, [-1, 1], with gradients.
        target: Same shape and range.
        valid: (batch, 1, y, x) bool.
        l1: The pixel loss of this prediction.
        lambda_l1: Its weight beside the adversarial loss.
        pixel_loss: Its name in the log.

    Returns:
        The components of both losses, detached, for the log.
    """
    real, fake = target.masked_fill(~valid, 0.0), prediction.masked_fill(~valid, 0.0)
    real_logits = discriminator(real, *conditions)
    fake_logits = discriminator(fake.detach(), *conditions)
    discriminating = discriminator_loss(real_logits, fake_logits, valid)
    yield "discriminator", discriminating

    with frozen(discriminator):
        adversarial = adversarial_loss(discriminator(fake, *conditions), valid)
    yield "generator", adversarial + lambda_l1 * l1
    return {"discriminator": discriminating.detach(), "adversarial": adversarial.detach(), pixel_loss: l1.detach()}
