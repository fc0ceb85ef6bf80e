"""What a run starts from: a fresh network, or the checkpoint of an earlier run; and the data it trains on."""

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from s1s2pairs.dataset.dataset import Dataset, open_dataset
from s1s2pairs.errors import RunError

from .. import zoo
from ..data.dataset import PairDataset
from ..runs import checkpoint, loading
from ..runs.checkpoint import Checkpoint, Position
from ..runs.record import RUN_FILE, RunRecord, check_same_dataset, read_record
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
