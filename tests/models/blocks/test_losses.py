import numpy as np
import pytest
import torch
from torch import Tensor

from models.blocks import losses

GAMMA = 5.0


def _images(seed: int, *, bands: int = 2, side: int = 7, batch: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return prediction, target, reference in [-1, 1] and a mask with some pixels invalid."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(3, batch, bands, side, side, generator=generator) * 2 - 1
    valid = torch.rand(batch, 1, side, side, generator=generator) > 0.3
    return images[0], images[1], images[2], valid


def _weighted_mean(error: list[float], weight: list[float]) -> float:
    total = sum(weight) or losses.EMPTY_WEIGHT
    return sum(w * e for w, e in zip(weight, error, strict=True)) / total


def _change_weighted_by_hand(prediction: Tensor, target: Tensor, reference: Tensor, valid: Tensor) -> float:
    """Follow equations 2 to 4 pixel by pixel, in double precision."""
    terms = []
    for image in range(target.shape[0]):
        for band in range(target.shape[1]):
            pixels = np.argwhere(valid[image, 0].numpy())
            u, v, r = (x[image, band].double().numpy() for x in (target, prediction, reference))
            error = [abs(u[y, x] - v[y, x]) for y, x in pixels]
            change = [abs((u[y, x] + 1) / 2 - (r[y, x] + 1) / 2) for y, x in pixels]
            reverse = [max(change) - c + min(change) for c in change]
            terms.append((_weighted_mean(error, reverse) + GAMMA * _weighted_mean(error, change)) / (1 + GAMMA))
    return float(np.mean(terms))


@pytest.mark.parametrize("seed", range(3))
def test_change_weighted_l1_follows_the_equations(seed: int) -> None:
    prediction, target, reference, valid = _images(seed)
    loss = losses.change_weighted_l1(prediction, target, reference, valid, gamma=GAMMA)
    assert float(loss) == pytest.approx(_change_weighted_by_hand(prediction, target, reference, valid), abs=1e-6)


def test_the_reversed_map_takes_the_minimum_where_the_published_code_takes_the_maximum() -> None:
    change = torch.tensor([[[[0.1, 0.4], [0.9, 0.2]]]])
    everywhere = torch.ones(1, 1, 2, 2, dtype=torch.bool)
    expected = torch.tensor([[[[0.9, 0.6], [0.1, 0.8]]]])
    torch.testing.assert_close(losses.reversed_weight_map(change, everywhere), expected)
    without_the_most_changed = change < 0.9
    expected = torch.tensor([[[[0.4, 0.1], [0.0, 0.3]]]])
    torch.testing.assert_close(losses.reversed_weight_map(change, without_the_most_changed), expected)


def test_errors_on_changed_ground_cost_more_than_the_same_errors_elsewhere() -> None:
    reference = torch.zeros(1, 1, 4, 4)
    target = reference.clone()
    target[..., 0, 0] = 1.0
    everywhere = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    wrong_on_change, wrong_elsewhere = target.clone(), target.clone()
    wrong_on_change[..., 0, 0] -= 0.5
    wrong_elsewhere[..., 3, 3] -= 0.5
    on_change = losses.change_weighted_l1(wrong_on_change, target, reference, everywhere, gamma=GAMMA)
    elsewhere = losses.change_weighted_l1(wrong_elsewhere, target, reference, everywhere, gamma=GAMMA)
    assert float(on_change) == pytest.approx(GAMMA * 0.5 / (1 + GAMMA))  # all the weight of the change term
    assert float(elsewhere) == pytest.approx(0.5 / 15 / (1 + GAMMA))  # one of 15 unchanged pixels


def test_masked_l1_without_invalid_pixels_is_torchs_l1() -> None:
    prediction, target, _, _ = _images(0)
    everywhere = torch.ones(3, 1, 7, 7, dtype=torch.bool)
    torch.testing.assert_close(
        losses.masked_l1(prediction, target, everywhere), torch.nn.functional.l1_loss(prediction, target)
    )


def test_the_adversarial_losses_without_invalid_pixels_are_torchs() -> None:
    real, fake = torch.randn(2, 3, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    everywhere = torch.ones(3, 1, 33, 33, dtype=torch.bool)
    entropy = torch.nn.BCEWithLogitsLoss()
    expected = 0.5 * (entropy(real, torch.ones_like(real)) + entropy(fake, torch.zeros_like(fake)))
    torch.testing.assert_close(losses.discriminator_loss(real, fake, everywhere), expected)
    torch.testing.assert_close(losses.adversarial_loss(fake, everywhere), entropy(fake, torch.ones_like(fake)))


def test_logits_over_invalid_ground_do_not_count() -> None:
    valid = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    valid[..., :4] = False
    logits = torch.zeros(1, 1, 4, 4)
    weight = losses.patch_weight(valid, logits)
    assert torch.equal(weight[0, 0], torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(4, 4))
    loud = logits.clone()
    loud[..., :2] = 50.0
    assert torch.equal(losses.adversarial_loss(loud, valid), losses.adversarial_loss(logits, valid))


@pytest.mark.parametrize("name", ["masked_l1", "change_weighted_l1", "adversarial", "discriminator"])
def test_a_batch_costs_the_mean_of_its_images(name: str) -> None:
    """So that a batch split over devices, gradients averaged, is the same step."""
    prediction, target, reference, valid = _images(3, batch=4)

    def loss(part: slice) -> Tensor:
        if name == "masked_l1":
            return losses.masked_l1(prediction[part], target[part], valid[part])
        if name == "change_weighted_l1":
            return losses.change_weighted_l1(prediction[part], target[part], reference[part], valid[part], gamma=GAMMA)
        if name == "adversarial":
            return losses.adversarial_loss(prediction[part, :1], valid[part])
        return losses.discriminator_loss(target[part, :1], prediction[part, :1], valid[part])

    torch.testing.assert_close(loss(slice(4)), (loss(slice(2)) + loss(slice(2, 4))) / 2)


def test_images_without_a_valid_pixel_cost_nothing_and_break_nothing() -> None:
    prediction, target, reference, _ = _images(4)
    prediction.requires_grad_()
    nowhere = torch.zeros(3, 1, 7, 7, dtype=torch.bool)
    loss = losses.change_weighted_l1(prediction, target, reference, nowhere, gamma=GAMMA)
    loss = loss + losses.masked_l1(prediction, target, nowhere) + losses.adversarial_loss(prediction[:, :1], nowhere)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert prediction.grad is not None
    assert not prediction.grad.any()
    same = torch.ones(3, 1, 7, 7, dtype=torch.bool)
    assert float(losses.change_weighted_l1(prediction.detach(), target, target, same, gamma=GAMMA)) == 0.0


def test_sums_are_single_precision_whatever_comes_in() -> None:
    prediction, target, reference, valid = (image.bfloat16() for image in _images(5, side=64))
    valid = valid.bool()
    loss = losses.change_weighted_l1(prediction, target, reference, valid, gamma=GAMMA)
    assert loss.dtype == torch.float32
    expected = _change_weighted_by_hand(prediction.float(), target.float(), reference.float(), valid)
    assert float(loss) == pytest.approx(expected, rel=5e-3)
