"""Time a full training step (discriminator and generator) of the zoo against its plainest PyTorch writing.

Both train on the same batch, in turn, within one process, so that whatever else the machine does hits both. Only the
ratio of the two means something across machines; it is the median over rounds of (plain / zoo), once of seconds by the
clock and, on a CPU, once of processor seconds, which a busy machine disturbs less. Above 1 the zoo is faster. The plain
network starts with the zoo's weights, and both must give the same prediction before the clock starts.

    python benchmarks/train_step.py --network tsgan_v2 de_pix2pix --rounds 5
    python benchmarks/train_step.py --device cuda --precision bf16-mixed --compile --batch 16

The plain step is always float32 and eager; precision, compilation and memory layout concern the zoo's side. Data stays
in memory: `loading.py` times the loader.
"""

import argparse
import dataclasses
import gc
import platform
import statistics
import sys
import time
from collections.abc import Callable

import plain_networks
import torch
from lightning_fabric import Fabric
from torch import Tensor

from models import zoo
from models.translator import Translator

Step = Callable[[dict[str, Tensor]], None]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Seconds per step, by the clock and of the processor, of both sides, round by round."""

    network: str
    plain: list[tuple[float, float]]
    zoo: list[tuple[float, float]]
    zoo_gib: float | None
    """Most GPU memory the zoo's step held; None on a CPU."""

    def row(self, batch_size: int) -> str:
        """Return a line of the Markdown table."""
        clock, processor = (
            [plain[kind] / ours[kind] for plain, ours in zip(self.plain, self.zoo, strict=True)] for kind in (0, 1)
        )
        plain, ours = (statistics.median(by_clock for by_clock, _ in side) for side in (self.plain, self.zoo))
        last = f"{statistics.median(processor):.2f}" if self.zoo_gib is None else f"{self.zoo_gib:.2f}"
        return (
            f"| {self.network} | {plain:.3f} | {ours:.3f} | {batch_size / plain:.2f} | {batch_size / ours:.2f} | "
            f"**{statistics.median(clock):.2f}** ({min(clock):.2f} to {max(clock):.2f}) | {last} |"
        )


def make_batch(translator: Translator, batch_size: int, side: int, device: torch.device) -> dict[str, Tensor]:
    """Return random images for every stack of the task, all valid."""
    generator = torch.Generator().manual_seed(0)
    batch = {"valid": torch.ones(batch_size, 1, side, side, dtype=torch.bool)}
    for stack in translator.task.stacks:
        batch[stack.key] = torch.rand(batch_size, len(stack.bands), side, side, generator=generator) * 2 - 1
    return {key: image.to(device) for key, image in batch.items()}


def make_plain_step(name: str, translator: Translator, batch: dict[str, Tensor]) -> Step:
    """Return the plain step, starting from the zoo's weights.

    Raises:
        RuntimeError: The two networks differ.
    """
    pair = plain_networks.make(name, translator.config.width)
    for part, module in zip(("generator", "discriminator"), pair, strict=True):
        module.to(batch["valid"].device)
        with torch.no_grad():
            ours = translator.get_submodule(part).parameters()
            for parameter, value in zip(module.parameters(), ours, strict=True):
                parameter.copy_(value)
    translator.eval()
    pair[0].eval()
    with torch.no_grad():
        difference = translator(batch).mean - pair[0](*plain_networks.conditions_of(name, batch))
    translator.train()
    pair[0].train()
    if difference.abs().max() > 1e-3:
        raise RuntimeError(f"{name}: the plain network predicts something else, by up to {difference.abs().max():.2g}")
    return plain_networks.make_step(name, *pair)


def make_zoo_step(translator: Translator, fabric: Fabric, *, compiled: bool, channels_last: bool) -> Step:
    """Return the step as the training loop does it."""
    optimizers = translator.optimizers(fused=fabric.device.type in ("cpu", "cuda"))
    for part in translator.parts:
        module = getattr(translator, part)
        if channels_last:
            module.to(memory_format=torch.channels_last)
        module, optimizers[part] = fabric.setup(torch.compile(module) if compiled else module, optimizers[part])
        setattr(translator, part, module)

    def step(batch: dict[str, Tensor]) -> None:
        for part, loss in translator.training_step(batch):
            optimizers[part].zero_grad()
            fabric.backward(loss)
            optimizers[part].step()

    return step


def seconds(step: Step, batch: dict[str, Tensor]) -> tuple[float, float]:
    """Run one step; return how long it took by the clock, all GPU work included, and how much processor time."""
    device = batch["valid"].device
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start, start_processor = time.perf_counter(), time.process_time()
    step(batch)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start, time.process_time() - start_processor


def measure(name: str, arguments: argparse.Namespace) -> Timing:
    """Warm both sides up, then let them take turns; who goes first alternates."""
    torch.manual_seed(0)
    fabric = Fabric(accelerator=arguments.device, devices=1, precision=arguments.precision)
    translator = zoo.create(name, {"width": str(arguments.width)}).to(fabric.device)
    batch = make_batch(translator, arguments.batch, arguments.size, fabric.device)
    plain = make_plain_step(name, translator, batch)
    ours = make_zoo_step(translator, fabric, compiled=arguments.compile, channels_last=arguments.channels_last)
    zoo_batch = batch
    if arguments.channels_last:
        zoo_batch = {key: image.contiguous(memory_format=torch.channels_last) for key, image in batch.items()}
    for _ in range(arguments.warm_up):
        plain(batch)
        ours(zoo_batch)
    times: dict[str, list[tuple[float, float]]] = {"plain": [], "zoo": []}
    turns = [("plain", plain, batch), ("zoo", ours, zoo_batch)]
    for number in range(arguments.rounds):
        for side, step, its_batch in turns if number % 2 else turns[::-1]:
            times[side].append(seconds(step, its_batch))
        print(f"{name}: plain {times['plain'][-1]}, zoo {times['zoo'][-1]} s", file=sys.stderr)
    memory = None
    if fabric.device.type == "cuda":
        del plain, turns, step
        gc.collect()
        torch.cuda.reset_peak_memory_stats()
        seconds(ours, zoo_batch)
        memory = torch.cuda.max_memory_allocated() / 2**30
    return Timing(network=name, plain=times["plain"], zoo=times["zoo"], zoo_gib=memory)


def parse_arguments() -> argparse.Namespace:
    """Return what was typed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = ("tsgan_v1", "tsgan_v2", "tsgan_v3", "de_pix2pix", "pix2pix_opt2sar")
    parser.add_argument("--network", nargs="+", default=list(known), choices=known)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=256, help="side of a patch, px")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--precision", default="32-true", choices=("32-true", "bf16-mixed", "16-mixed"))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def main() -> None:
    """Print a Markdown table, one row per network as soon as it is known."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    where = torch.cuda.get_device_name() if arguments.device == "cuda" else platform.processor() or platform.machine()
    options = [arguments.precision, *(["compiled"] if arguments.compile else [])]
    options += ["channels last"] if arguments.channels_last else []
    print(
        f"torch {torch.__version__}, {where}, {arguments.threads} threads, batch {arguments.batch}, {arguments.size} px, "
        f"width {arguments.width}, zoo {', '.join(options)}, {arguments.rounds} rounds\n"
    )
    last = "zoo GiB" if arguments.device == "cuda" else "ratio, processor time"
    print(f"| network | plain s/step | zoo s/step | plain images/s | zoo images/s | ratio (range) | {last} |")
    print("|---|---|---|---|---|---|---|")
    for name in arguments.network:
        print(measure(name, arguments).row(arguments.batch), flush=True)


if __name__ == "__main__":
    main()
