"""How good a network is while it trains: on the val split, without learning."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from s1s2pairs.errors import RunError

from ..data.dataset import PairDataset
from ..data.loader import in_order, make_loader, to_network
from ..metrics.pixels import psnr, weighted_mse
from ..pictures import draw_sample
from ..translator import Translator


@torch.no_grad()
def validate(
    translator: Translator,
    dataset: PairDataset,
    device: torch.device,
    *,
    rank: int,
    world_size: int,
    add_up: Callable[[Tensor], Tensor],
) -> dict[str, float]:
    """Score a translator; it is left in evaluation mode.

    Args:
        translator: On the device.
        dataset: The val split.
        device: Where to compute.
        rank: Number of this process.
        world_size: Number of processes; each scores its share.
        add_up: Sums a tensor over all processes.

    Returns:
        `l1`, the mean absolute error, and `psnr_db`: means over the images of the split, on the network's scale of [-1, 1],
        valid pixels only.

    Raises:
        RunError: No image has a valid pixel, or the error is no finite number.
    """
    translator.eval()
    batches = in_order(dataset, translator.config.batch_size, rank=rank, world_size=world_size)
    sums = torch.zeros(3, dtype=torch.float64, device=device)  # images, L1, PSNR
    for raw in make_loader(dataset, batches, workers=0, pin_memory=False):
        batch = to_network(dataset, raw, device)
        prediction, target = translator(batch).mean.float(), batch[dataset.task.target.key]
        valid = batch["valid"].float()
        pixels = valid.sum(dim=(1, 2, 3))
        scored = pixels > 0
        absolute = ((prediction - target).abs() * valid).mean(dim=1).sum(dim=(1, 2))[scored] / pixels[scored]
        decibel = psnr(weighted_mse(prediction, target, valid).mean(dim=1), data_range=2.0)[scored]
        sums += torch.stack([scored.double().sum(), absolute.double().sum(), decibel.double().sum()])
    images, absolute_sum, decibel_sum = add_up(sums).tolist()
    if not images or not math.isfinite(absolute_sum):
        raise RunError(
            f"validation gives no number: L1 sum {absolute_sum} over {images:.0f} images with valid pixels; look at the val "
            "split with `s1s2 report`, lower --set learning_rate, or use --precision 32-true"
        )
    return {"l1": absolute_sum / images, "psnr_db": decibel_sum / images}


@torch.no_grad()
def draw(translator: Translator, dataset: PairDataset, device: torch.device, count: int) -> list[tuple[str, bytes]]:
    """Draw `count` samples spread evenly over a dataset, the same ones each time.

    Returns:
        Name and PNG of each.
    """
    translator.eval()
    count = min(count, len(dataset))
    numbers: Sequence[int] = [part * len(dataset) // count for part in range(count)]
    pictures = []
    for number in numbers:
        batch = to_network(dataset, dataset.read([number]), device)
        sample = dataset.samples[number]
        name = f"{sample.patch_id}_{sample.direction}"
        title = f"{sample.patch_id}, {' -> '.join(sample.periods)} ({sample.direction}, {dataset.split})"
        png = draw_sample(batch, translator(batch).mean, row=0, task=dataset.task, scaling=dataset.scaling, title=title)
        pictures.append((name, png))
    return pictures
