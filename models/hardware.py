"""On what a run computes: device, processes, precision, numerics; and what to say when memory is too small."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch.distributed import is_torchelastic_launched

from s1s2pairs.errors import RunError

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
PRECISIONS: Final[dict[str, Precision]] = {
    "32-true": "32-true",
    "32": "32-true",
    "bf16-mixed": "bf16-mixed",
    "bf16": "bf16-mixed",
    "16-mixed": "16-mixed",
    "16": "16-mixed",
}
"""What a user may type, and what it means."""
MAX_WORKERS: Final = 4
"""Reading processes by default; the packed cache needs no more to keep a GPU busy."""
OUT_OF_MEMORY_SIGNS: Final = ("out of memory", "can't allocate memory", "ALLOC_FAILED")
"""How libraries that raise a plain `RuntimeError` say it: the CUDA driver, PyTorch's CPU allocator, cuBLAS and cuDNN."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hardware:
    """Processes and how they compute."""

    device: torch.device
    """`cpu` or `cuda`; with an index where the user chose one GPU."""
    devices: int
    """Processes on this machine, one per device."""
    nodes: int
    """Machines."""
    precision: Precision

    @property
    def processes(self) -> int:
        """Processes on all machines."""
        return self.devices * self.nodes


def choose_device(word: str) -> torch.device:
    """Return the device to compute on.

    Args:
        word: `auto` (CUDA where there is one, else the CPU), `cpu`, `cuda` or `cuda:N`.

    Raises:
        RunError: The word is unknown, or asks for a CUDA device that is not there.
    """
    if word == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = word.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
        raise RunError(f"unknown device {word!r}: choose auto, cpu, cuda or cuda:N")
    if kind == "cuda":
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if found <= int(number or 0):
            raise RunError(
                f"device {word!r} asked for, but PyTorch {torch.__version__} sees {found} CUDA devices here; "
                "use --device cpu or auto, or install a CUDA build of PyTorch and check `nvidia-smi`"
            )
    return torch.device(word)


def choose_hardware(device: str, devices: int | None, precision: str | None, *, kept: str | None = None) -> Hardware:
    """Check what the user wants against what there is.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        devices: Processes on this machine; none means 1, or what `torchrun` started.
        precision: One of `PRECISIONS`; none means `kept`, or bf16-mixed on CUDA, 32-true elsewhere.
        kept: Precision of the run that goes on.

    Raises:
        RunError: The device or so many of them are not there, or the precision is not possible on it.
    """
    chosen = choose_device(device)
    started, nodes = _started_by_torchrun()
    if started and devices not in (None, started):
        raise RunError(
            f"--devices {devices} contradicts the {started} processes torchrun started here; leave out one of them"
        )
    count = started or devices or 1
    if count < 1 or (chosen.index is not None and count > 1):
        raise RunError(f"--devices {count} does not fit device {device!r}: give 1 or more, and cuda without a number")
    if chosen.type == "cuda" and count > torch.cuda.device_count():
        raise RunError(f"--devices {count} asked for, but there are {torch.cuda.device_count()} CUDA devices here")
    return Hardware(device=chosen, devices=count, nodes=nodes, precision=_choose_precision(precision, kept, chosen))


def default_workers() -> int:
    """Return how many processes read ahead by default: up to `MAX_WORKERS`, one core left to the training process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MAX_WORKERS, cores - 1)


@contextlib.contextmanager
def numerics(device: torch.device, *, deterministic: bool) -> Iterator[None]:
    """Let CUDA use TF32 and choose its fastest convolutions; or, if `deterministic`, only algorithms that repeat.

    On CUDA, operations without such an algorithm (the gradient of reflected borders is one) warn instead of failing.
    """
    cuda = device.type == "cuda"
    before = (
        torch.get_float32_matmul_precision(),
        torch.backends.cudnn.benchmark,
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    if deterministic and cuda:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_float32_matmul_precision("high" if cuda else before[0])
    torch.backends.cudnn.benchmark = cuda and not deterministic
    torch.use_deterministic_algorithms(deterministic, warn_only=cuda)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.benchmark = before[1]
        torch.use_deterministic_algorithms(before[2], warn_only=before[3])


def seed_step(seed: int, rank: int, step: int, device: torch.device) -> None:
    """Make torch's random numbers a function of seed, process and step, so that no generator's state need be saved."""
    digest = hashlib.blake2b(f"{seed}/{rank}/{step}".encode(), digest_size=7).digest()
    number = int.from_bytes(digest)
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error means that main or GPU memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in OUT_OF_MEMORY_SIGNS)


@contextlib.contextmanager
def memory_advice(what: str) -> Iterator[None]:
    """Turn running out of memory while predicting into a message.

    Args:
        what: What was in memory and can be made smaller, such as `4 windows of 256 px`.

    Raises:
        RunError: Memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        first = (str(error).splitlines() or ["no details"])[0]
        raise RunError(
            f"out of memory with {what} at once ({first}); use --device cpu where a GPU was too small, close what else runs, "
            "or, from Python, lower batch_size"
        ) from error


def explain_failure(error: Exception) -> RunError | None:
    """Return what to tell the user of a failure that a smaller run would not have; None for any other."""
    text = str(error)
    if is_out_of_memory(error):
        return RunError(
            "out of memory; train anew with less: --set batch_size=N, then --set crop=N, then --set width=N; "
            "on a GPU, --precision bf16-mixed needs less too, and a run that has a checkpoint can --resume with it"
        )
    if "DataLoader worker" in text:
        return RunError(
            f"a reading process died ({text.splitlines()[0]}): most often main or shared memory is full; use fewer by "
            "--set workers=N (0 reads in the training process), or enlarge /dev/shm"
        )
    return None


def _started_by_torchrun() -> tuple[int, int]:
    """Return processes here and machines as torchrun (or `fabric run`) set them; (0, 1) without it."""
    if not is_torchelastic_launched():
        return 0, 1
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    return local, int(os.environ["WORLD_SIZE"]) // local


def _choose_precision(given: str | None, kept: str | None, device: torch.device) -> Precision:
    given = given or os.environ.get("LT_PRECISION")  # what `fabric run --precision` sets
    word = given or kept
    if word is None:
        return "bf16-mixed" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "32-true"
    if word not in PRECISIONS:
        raise RunError(f"unknown precision {word!r}: choose {', '.join(sorted(set(PRECISIONS.values())))}")
    precision = PRECISIONS[word]
    if precision == "16-mixed" and device.type == "cpu":
        why = "" if given else "; the run has trained in it so far: go on with another --precision, or on a GPU"
        raise RunError(f"precision 16-mixed needs a GPU: on a CPU choose 32-true or bf16-mixed{why}")
    return precision


def part_from_others(fabric: Any, *, failed: bool) -> None:
    """Let all processes of a run end together; after a failure end those that this one has started.

    They might wait for it for ever, or say again what it has said. And a process that ends with its connections open may abort.
    """
    if failed:
        for process in getattr(fabric.strategy.launcher, "procs", ()):
            process.kill()
    elif torch.distributed.is_available() and torch.distributed.is_initialized():
        fabric.barrier()
        torch.distributed.destroy_process_group()
