"""What a run starts from: a fresh network, or the checkpoint of an earlier run; the data and the devices it trains on."""

import dataclasses
import inspect
import logging
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from s1s2pairs.dataset.dataset import Dataset, open_dataset
from s1s2pairs.errors import RunError

from .. import zoo
from ..data.dataset import PairDataset
from ..hardware import Hardware
from ..runs import checkpoint, loading
from ..runs.checkpoint import Checkpoint, Position
from ..runs.record import RUN_FILE, RunRecord, check_same_dataset, git_state, installed_versions, now, read_record
from ..runs.settings import CHANGEABLE, TrainSettings, split
from ..scaling import Scaling
from ..translator import Translator

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Everything a run needs before the first step, checked."""

    network: str
    """The network's file name in the zoo."""
    translator: Translator
    """On the CPU, with fresh weights from the seed, or with the checkpoint's."""
    training: TrainSettings
    scaling: Scaling
    dataset: str
    dataset_sha256: str
    train_data: PairDataset
    val_data: PairDataset | None
    """None when the dataset has no val split."""
    pixel_sizes_m: tuple[float, ...]
    """Of the training patches, metres, ascending."""
    position: Position = dataclasses.field(default_factory=Position)
    run: Path | None = None
    """Folder of the run that goes on, or starts anew in it; None for a new one."""
    checkpoint_folder: Path | None = None
    checkpoint: Checkpoint | None = None
    record: RunRecord | None = None
    """What the run that goes on wrote of itself; None for one that begins."""


def start_new(network: str, dataset: str | Path, given: Mapping[str, str]) -> Start:
    """Prepare a run from nothing.

    Raises:
        RunError: Unknown network or setting, wrong value; the dataset lacks what the network needs.
        DatasetError: The dataset is missing or damaged.
    """
    info = zoo.resolve(network)
    training, theirs = split(info, given)
    torch.manual_seed(training.seed)
    translator = info.make(theirs)
    return _with_data(info.name, translator, training, Scaling(s2_range=training.s2_range), dataset)


@dataclass(frozen=True, kw_only=True, slots=True)
class Earlier:
    """A run that is to go on."""

    run: Path
    record: RunRecord
    checkpoint_folder: Path | None
    """None: it was stopped before its first checkpoint, and starts anew."""


def find_earlier(path: Path) -> Earlier:
    """Find the run to go on with.

    Args:
        path: Folder of the run, which goes on from its `last` checkpoint, or of one of its checkpoints.

    Raises:
        RunError: No such run or checkpoint, or its record is damaged.
    """
    if (path / RUN_FILE).is_file() and not loading.has_checkpoint(path):
        return Earlier(run=path, record=read_record(path), checkpoint_folder=None)
    folder = loading.find(path, "last")
    run = path if folder != path else folder.parent.parent
    return Earlier(run=run, record=read_record(run), checkpoint_folder=folder)


def start_resumed(network: str, earlier: Earlier, dataset: str | Path | None, given: Mapping[str, str]) -> Start:
    """Prepare to go on with a run, or to start it anew if it has no checkpoint yet.

    Args:
        network: The network, or alias, the run is expected to train.
        earlier: The run.
        dataset: Where the dataset is now; none means where it was.
        given: Settings to change; only those that decide how long and how it runs.

    Raises:
        RunError: The checkpoint is damaged or of another network, or a setting cannot be changed any more.
        DatasetError: The dataset is missing, damaged, or not the one the run began with.
    """
    run, folder, record = earlier.run, earlier.checkpoint_folder, earlier.record
    saved = None if folder is None else checkpoint.read(folder)
    info = zoo.resolve(network)
    _refuse_other_network(network, info, run, folder, saved or record)
    fixed = [key for key in given if key not in CHANGEABLE]
    if fixed:
        raise RunError(
            f"{', '.join(fixed)} cannot be changed in a run that has begun; {', '.join(CHANGEABLE)} can; train anew"
        )
    changed, theirs = split(info, given)
    training = replace(record.training, **{key: getattr(changed, key) for key in given if key not in theirs})
    torch.manual_seed(training.seed)
    translator = info.make({**(saved or record).config, **theirs})
    if saved is None or folder is None:
        start = _with_data(info.name, translator, training, record.scaling, dataset or record.dataset)
        check_same_dataset(record, start.dataset_sha256, start.dataset)
        return replace(start, run=run)
    loading.load_weights(folder, saved, translator)
    position = _counted_in_samples(saved.position, translator.config.batch_size, record)
    ended = position.epoch >= translator.config.epochs or position.step >= (training.max_steps or position.step + 1)
    if ended and record.status == "finished":  # a run killed after its last step has still to say so
        raise RunError(
            f"{run} is finished after {position.step} steps, {position.epoch} epochs; train on with --set epochs=N or "
            "--set max_steps=N above that"
        )
    start = _with_data(info.name, translator, training, saved.scaling, dataset or record.dataset)
    check_same_dataset(record, start.dataset_sha256, start.dataset)
    return replace(start, position=position, run=run, checkpoint_folder=folder, checkpoint=saved, record=record)


def note_changes(start: Start, hardware: Hardware) -> None:
    """Say what is another way from now on in a run that goes on: it will not end as it would have."""
    record, size = start.record, start.translator.config.batch_size
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


def _refuse_other_network(
    network: str, info: zoo.NetworkInfo, run: Path, folder: Path | None, saved: Checkpoint | RunRecord
) -> None:
    if info.name != saved.network:
        what = f"{run} is a run" if folder is None else f"{folder} is a checkpoint"
        raise RunError(f"{what} of {saved.network}, not of {info.name}: use `s1s2 train {saved.network}`")
    for key in info.contradicted_by(saved.config):
        raise RunError(
            f"{network} stands for {key}={info.preset[key]}, but {folder or run} has {key}={saved.config.get(key)}: "
            f"use `s1s2 train {saved.network}`, which goes on with what the run has"
        )


def _counted_in_samples(position: Position, batch_size: int, record: RunRecord) -> Position:
    """Return a position with the samples of its epoch, where an old checkpoint counts its steps."""
    if position.step_in_epoch is None:
        return position
    samples = position.step_in_epoch * batch_size * record.processes_before(position.step)
    return replace(position, samples_in_epoch=samples, step_in_epoch=None)


def _with_data(
    name: str, translator: Translator, training: TrainSettings, scaling: Scaling, dataset: str | Path
) -> Start:
    opened, task = open_dataset(dataset), translator.task
    train_data = PairDataset(opened, task, split="train", scaling=scaling, orders=training.orders, crop=training.crop)
    translator.check_patch(train_data.batch([0], [(0, 0)] if training.crop else None))
    val_data = None
    if "val" in set(opened.index["split"]):
        val_data = PairDataset(opened, task, split="val", scaling=scaling, orders=training.orders)
        translator.check_patch(val_data.batch([0]))
    else:
        logger.warning("%s has no val split: checkpoints/best will be the last one, never chosen on test.", dataset)
    return Start(
        network=name,
        translator=translator,
        training=training,
        scaling=scaling,
        dataset=opened.storage.address,
        dataset_sha256=opened.sha256,
        train_data=train_data,
        val_data=val_data,
        pixel_sizes_m=_pixel_sizes(opened),
    )


def _pixel_sizes(dataset: Dataset) -> tuple[float, ...]:
    """Return the pixel sizes of the training patches; a build lays them in UTM, so that they are square and in metres."""
    transforms = dataset.index.loc[dataset.index["split"] == "train", "transform"]
    return tuple(sorted({round(abs(float(transform[0])), 6) for transform in transforms}))


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
    return RunRecord(
        network=start.network,
        seed=start.training.seed,
        task=dataclasses.asdict(start.translator.task),
        config=config,
        training=start.training,
        scaling=start.scaling,
        dataset=start.dataset,
        dataset_sha256=start.dataset_sha256,
        samples={name: len(samples) for name, samples in data.items() if samples is not None},
        best_by="lowest L1 on the val split" if start.val_data else "last epoch: the dataset has no val split",
        pixel_sizes_m=start.pixel_sizes_m,
        started_at=now(),
        **here,
    )
