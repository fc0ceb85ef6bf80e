"""What a run is set up with: devices and optimizers; what it says of itself when it begins, goes on or is stopped."""

import dataclasses
import inspect
import logging
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from s1s2pairs.errors import RunError

from ..hardware import Hardware
from ..runs import checkpoint, loading
from ..runs.record import RunRecord, git_state, installed_versions, now
from .start import Start

logger = logging.getLogger(__name__)


def note_changes(start: Start, hardware: Hardware) -> None:
    """Say what is another way from now on in a run that goes on: it will not end as it would have."""
    record, size = start.record, start.translator.config.batch_size * start.training.accumulate
    if record is None:
        return
    if hardware.precision != record.last_precision:
        logger.warning(
            "%s goes on in precision %s, as asked; it was trained in %s up to step %d.",
            start.run, hardware.precision, record.last_precision, start.position.step,
        )  # fmt: skip
    before = record.processes_before()
    if hardware.processes != before:
        logger.warning(
            "%s goes on with %d processes instead of %d: from step %d on a step learns from %d samples instead of %d. "
            "Samples that this epoch has used do not come again in it.",
            start.run, hardware.processes, before, start.position.step + 1, hardware.processes * size, before * size,
        )  # fmt: skip


def make_fabric(hardware: Hardware) -> Fabric:
    """Return the Lightning Fabric for devices, processes and precision; nothing is launched yet.

    Raises:
        RunError: `fabric run` was given something else than the command.
    """
    # Buffers (batch statistics) are not copied between processes: between two forward passes of one step that would
    # overwrite what the first still needs. The first process's are saved.
    known = inspect.signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # since PyTorch 2.13
    options: dict[str, Any] = {name: False}
    try:
        return Fabric(
            accelerator=hardware.device.type,
            devices=[hardware.device.index] if hardware.device.index is not None else hardware.devices,
            num_nodes=hardware.nodes,
            strategy=DDPStrategy(**options) if hardware.processes > 1 else "auto",
            precision=hardware.precision,
        )
    except ValueError as error:
        raise RunError(f"{error} Leave --accelerator and --strategy to `s1s2 train`") from error


def make_optimizers(start: Start, *, scaled_loss: bool) -> dict[str, Optimizer]:
    """Make the optimizer of each part, on the device where the network is; with its state, if a run goes on.

    Args:
        start: What the run starts from.
        scaled_loss: Whether a loss scaler is at work (16-mixed). A fused kernel takes the scale off the gradients by itself,
            too late for clipping them.
    """
    fused = not (scaled_loss and start.training.clip_norm is not None)  # there are kernels for both CPU and CUDA
    optimizers = start.translator.optimizers(fused=fused)
    for optimizer in optimizers.values():
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    if start.checkpoint is not None and start.checkpoint_folder is not None:
        loading.load_optimizers(start.checkpoint_folder, start.checkpoint, optimizers)
    return optimizers


def how_to_go_on(run: Path, network: str, **options: str | int | None) -> str:
    """Return what to type after a run was stopped.

    Args:
        run: Its folder.
        network: The network as it was typed.
        options: Those of the command that a resumed run is to be given again, None or `auto` where not typed.
    """
    if not (run / "checkpoints" / "last" / checkpoint.JSON_NAME).is_file():
        return f"there is no checkpoint yet; start it anew by: s1s2 train {network} --resume {run}"
    typed = [word for key, value in options.items() if value not in (None, "auto") for word in (f"--{key}", str(value))]
    return f"go on with: {shlex.join(['s1s2', 'train', network, '--resume', str(run), *typed])}"


def begin_record(start: Start, hardware: Hardware) -> RunRecord:
    """Return what `run.json` says when a run begins or goes on."""
    config = start.translator.config.values()
    here: dict[str, Any] = {
        "device": hardware.device.type,
        "precision": hardware.precision,
        "processes": hardware.processes,
        "versions": installed_versions(),
        "git": git_state(),
    }
    if start.record is not None:
        entry = {"at": now(), "step": start.position.step, "checkpoint": str(start.checkpoint_folder), **here}
        resumed = (*start.record.resumed, entry)
        return replace(
            start.record,
            config=config,
            training=start.training,
            pixel_sizes_m=start.pixel_sizes_m,
            resumed=resumed,
            status="running",
            result={},
        )
    data = {"train": start.train_data, "val": start.val_data}
    several, figure = len(start.datasets) > 1, start.selection
    best_by = (
        f"{figure.way} {figure.shown} on the val split"
        if start.val_data
        else "last epoch: the dataset has no val split"
    )
    return RunRecord(
        network=start.network,
        seed=start.training.seed,
        task=dataclasses.asdict(start.translator.task),
        config=config,
        training=start.training,
        scaling=start.scaling,
        dataset=tuple(start.datasets) if several else next(iter(start.datasets)),
        dataset_sha256=tuple(start.datasets.values()) if several else next(iter(start.datasets.values())),
        samples={name: len(samples) for name, samples in data.items() if samples is not None},
        best_by=best_by,
        init=start.init,
        pixel_sizes_m=start.pixel_sizes_m,
        started_at=now(),
        **here,
    )
