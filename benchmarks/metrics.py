"""Our metrics against scikit-image, image by image, in one interleaved run.

    python benchmarks/metrics.py [--images 32] [--bands 1] [--size 256] [--batch 8] [--rounds 5] [--device cpu]

Both sides get the same float32 images and must agree before anything is timed. scikit-image scores one band of one image per
call, ours a batch. `score` is everything an evaluation works out per image, for which scikit-image has no counterpart.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from models.evaluate.scores import score_batch
from models.metrics import pixels
from models.metrics.ssim import RADIUS, mean_ssim, ssim_map
from models.scaling import Scaling
from models.task import Batch, Stack, Task
from models.translator import Prediction

S2_BANDS = ("B2", "B3", "B4", "B8", "B11", "B12")


def make_images(count: int, bands: int, size: int) -> tuple[Tensor, Tensor]:
    """Return prediction and target on [0, 1], (image, band, y, x) float32: smooth shapes with noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size
    phase = rng.uniform(0, 6, (count, bands, 1, 1))
    target = (0.5 + 0.3 * np.sin(20 * x + phase) * np.cos(13 * y)).astype(np.float32)
    prediction = target + rng.normal(0, 0.05, target.shape).astype(np.float32)
    return torch.from_numpy(prediction.clip(0, 1)), torch.from_numpy(target)


def ours(prediction: Tensor, target: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """Return SSIM and PSNR, (image, band) each."""
    similarities, ratios = [], []
    for p, t in zip(prediction.split(batch), target.split(batch), strict=True):
        valid = torch.ones_like(t[:, :1], dtype=torch.bool)
        similarities.append(mean_ssim(ssim_map(p, t, valid), valid))
        ratios.append(pixels.psnr(pixels.weighted_mse(p, t, valid.float())))
    return torch.cat(similarities).cpu(), torch.cat(ratios).cpu()


def theirs(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same by scikit-image. It drops a border of 5 px from the mean, ours mirrors it: borders are not compared."""
    similarities, ratios = [], []
    for p, t in zip(prediction.flatten(0, 1).numpy(), target.flatten(0, 1).numpy(), strict=True):
        similarities.append(
            structural_similarity(p, t, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0)
        )
        ratios.append(peak_signal_noise_ratio(t, p, data_range=1.0))
    shape = prediction.shape[:2]
    return torch.tensor(similarities).view(shape), torch.tensor(ratios).view(shape)


def check_agreement(prediction: Tensor, target: Tensor) -> None:
    """Refuse to time two things that differ. scikit-image gets mirrored borders here, so that its mean covers the same pixels."""
    mine, mine_psnr = ours(prediction[:2], target[:2], 2)
    padded = [torch.nn.functional.pad(image[:2], (RADIUS,) * 4, mode="reflect") for image in (prediction, target)]
    other, _ = theirs(*padded)
    _, other_psnr = theirs(prediction[:2], target[:2])
    if (mine - other).abs().max() > 1e-6 or (mine_psnr - other_psnr).abs().max() > 1e-4:
        raise SystemExit("ours and scikit-image disagree: nothing is timed")


def all_metrics(prediction: Tensor, target: Tensor, batch: int) -> None:
    """Tally everything an evaluation reports: radar for one or two bands, optical (with NDVI and angles) for six."""
    bands = ("VV", "VH")[: prediction.shape[1]] if prediction.shape[1] <= 2 else S2_BANDS[: prediction.shape[1]]
    reference, stack = (Stack(sensor="s1" if bands[0] == "VV" else "s2", date=d, bands=bands) for d in (0, 1))
    scaling = Scaling()
    task = Task(name="benchmark", sources=(), references=(reference,), target=stack)
    for p, t in zip(prediction.split(batch), target.split(batch), strict=True):
        sample: Batch = {
            reference.key: t.flip(-1) * 2 - 1,
            stack.key: t * 2 - 1,
            "valid": torch.ones_like(t[:, :1], dtype=torch.bool),
            "sample": torch.arange(len(t)),
        }
        observed = {shown.key: scaling.unscale(sample[shown.key], shown) for shown in (reference, stack)}
        score_batch(Prediction(p * 2 - 1), observed, sample, task, scaling)


def milliseconds(work: Callable[[], object], device: str, images: int) -> float:
    """Return the time of one call per image."""
    start = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return (time.perf_counter() - start) * 1000 / images


def main() -> None:
    """Time the three in turn and print medians and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("images", 32), ("bands", 1), ("size", 256), ("batch", 8), ("rounds", 5), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    prediction, target = make_images(options.images, options.bands, options.size)
    check_agreement(prediction, target)
    there = prediction.to(options.device), target.to(options.device)
    work: dict[str, Callable[[], object]] = {
        "scikit-image": lambda: theirs(prediction, target),
        "ours": lambda: ours(*there, options.batch),
        "score": lambda: all_metrics(*there, options.batch),
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    for call in work.values():
        call()
    for _ in range(options.rounds):
        for name, call in work.items():
            times[name].append(milliseconds(call, options.device, options.images))
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(
        f"{options.images} images, {options.bands} band(s), {options.size} px, {options.device}, {options.threads} threads"
    )
    for name, median in medians.items():
        spread = f"{min(times[name]):.2f} to {max(times[name]):.2f}"
        print(f"{name:13s} {median:8.2f} ms an image ({spread} over {options.rounds} rounds)")
    print(f"SSIM + PSNR: ours is {medians['scikit-image'] / medians['ours']:.1f} times as fast as scikit-image")


if __name__ == "__main__":
    main()
