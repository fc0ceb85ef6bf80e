"""What networks cost: weights, work, memory, and how fast they are on the device at hand."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from s1s2pairs.progress import Progress, Silence, stage

from . import zoo
from .hardware import choose_device
from .network_names import check_name
from .network_names import names as all_networks
from .task import Batch, Task
from .translator import Translator

SIDE: Final = 256
"""Pixels of a patch, where a network's paper trains on no other."""
LEAST_SECONDS: Final = 1.0
"""To measure a speed in, after one round that is not counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What one network costs at its paper's settings, with one patch at a time."""

    name: str
    side: int
    """Height and width of the patch, pixels."""
    parameters: int
    """Of all parts."""
    gmac: float
    """Billions of multiplications with addition of one prediction: convolutions and matrix products."""
    training_bytes: int
    """Weights, gradients, the optimiser's two moments, and what the steps keep for their gradients."""
    trained_per_s: float
    """Patches per second, one training step each."""
    predicted_per_s: float
    device: str


def random_batch(task: Task, *, side: int, batch_size: int = 1, device: torch.device | str = "cpu") -> Batch:
    """Return a batch of noise, all of it valid."""
    shape = (batch_size, task.n_dates)
    batch: Batch = {
        "valid": torch.ones(batch_size, 1, side, side, dtype=torch.bool, device=device),
        "sample": torch.arange(batch_size, device=device),
        "days": torch.arange(task.n_dates, device=device).float().expand(shape) * 365,
        "season": torch.zeros(*shape, 2, device=device),
        "incidence": torch.full(shape, 39.0, device=device),
        "relative_orbit": torch.full(shape, 110.0, device=device),
        "ascending": torch.zeros(shape, device=device),
    }
    for stack in task.stacks:
        batch[stack.key] = torch.rand(batch_size, len(stack.bands), side, side, device=device) * 2 - 1
    if not task.paired:
        batch["target_valid"] = batch["valid"]
    return batch


def measure_all(names: Sequence[str] | None, device: str, *, progress: Progress | None = None) -> list[Cost]:
    """Measure networks one after the other.

    Args:
        names: Networks or aliases; none means all networks.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        progress: Told how far it is.

    Raises:
        RunError: There is no such network or device.
    """
    chosen, progress = choose_device(device), progress or Silence()
    for name in names or ():
        check_name(name)
    names, costs = names or all_networks(), []
    with stage(progress, "measuring networks", len(names)):
        for name in names:
            costs.append(measure(name, chosen))
            progress.step(name)
    return costs


def measure(name: str, device: torch.device, settings: Mapping[str, object] | None = None) -> Cost:
    """Measure one network.

    Args:
        name: A network, or an alias.
        device: Where its speed is measured.
        settings: Its settings, where they are not the paper's.

    Raises:
        RunError: There is no such network, or a setting does not fit.
    """
    info = zoo.resolve(name)
    with torch.device("meta"):
        translator = info.make(settings or {})
        side = _side(translator)
        gmac, kept = _work(translator, random_batch(translator.task, side=side, device="meta"))
    parameters = sum(parameter.numel() for parameter in translator.parameters())
    translator = info.make(settings or {}).to(device)
    batch = random_batch(translator.task, side=side, device=device)
    optimizers = translator.optimizers(fused=False)

    def step() -> None:
        for part, loss in translator.training_step(batch):
            optimizers[part].zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizers[part].step()

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    trained = _per_second(step, device)
    measured = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else kept + 16 * parameters
    translator.eval()
    with torch.inference_mode():
        predicted = _per_second(lambda: translator(batch), device)
    return Cost(
        name=name,
        side=side,
        parameters=parameters,
        gmac=gmac,
        training_bytes=measured,
        trained_per_s=trained,
        predicted_per_s=predicted,
        device=str(device),
    )


def _side(translator: Translator) -> int:
    """Return the side of the patches it trains on, pixels: its paper's, or the nearest that fits to the usual."""
    multiple = translator.config.patch_multiple
    wanted = translator.config.training_defaults.get("crop", SIDE)
    return -(-int(str(wanted)) // multiple) * multiple


def _work(translator: Translator, batch: Batch) -> tuple[float, int]:
    """Return the GMAC of a prediction and the bytes that the losses of a step keep for their gradients, computing nothing."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        translator.eval()(batch)
    kept: list[Tensor] = []  # kept alive, as a storage that is freed could give its address to another

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        losses = [loss for _, loss in translator.train().training_step(batch)]
    sizes = {_storage(tensor): tensor.untyped_storage().nbytes() for tensor in (*kept, *losses)}
    for parameter in translator.parameters():
        sizes.pop(_storage(parameter), None)
    return counter.get_total_flops() / 2e9, sum(sizes.values())


def _storage(tensor: Tensor) -> int:
    """Tell storages apart; those on `meta` have no address."""
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001


def _per_second(work: Callable[[], object], device: torch.device) -> float:
    work()
    _wait(device)
    start, rounds = time.perf_counter(), 0
    while True:
        work()
        _wait(device)
        rounds += 1
        passed = time.perf_counter() - start
        if passed > LEAST_SECONDS:
            return rounds / passed


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def listing(costs: Sequence[Cost]) -> list[str]:
    """Return the costs as an aligned table, one line each below a head."""
    lines = [("network", "patch [px]", "parameters", "GMAC", "training [GB]", "trained [1/s]", "predicted [1/s]")]
    lines += [
        (
            cost.name,
            str(cost.side),
            f"{cost.parameters:,}",
            f"{cost.gmac:.2f}",
            f"{cost.training_bytes / 1e9:.2f}",
            f"{cost.trained_per_s:.3g}",
            f"{cost.predicted_per_s:.3g}",
        )
        for cost in costs
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return ["  ".join(f"{text:{width}}" for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]
