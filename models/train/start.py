"""What a run starts from: a fresh network, weights of another run, or its own checkpoint; and the data it trains on."""

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch

from s1s2pairs.dataset.dataset import Dataset, open_dataset
from s1s2pairs.errors import DatasetError, RunError

from .. import zoo
from ..data.dataset import PairDataset
from ..runs import checkpoint, loading
from ..runs.checkpoint import Checkpoint, Position
from ..runs.record import RUN_FILE, Origin, RunRecord, check_same_datasets, read_record
from ..runs.settings import CHANGEABLE, TrainSettings, split
from ..runs.tensors import file_sha256
from ..scaling import Scaling
from ..translator import Translator
from .selection import Selection, ValScores, select_by

logger = logging.getLogger(__name__)

Datasets: TypeAlias = str | Path | Sequence[str | Path]
"""Folder or URL of one built dataset, or of several."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Everything a run needs before the first step, checked."""

    network: str
    """The network's file name in the zoo."""
    translator: Translator
    """On the CPU, with fresh weights from the seed, or with those of a checkpoint."""
    training: TrainSettings
    scaling: Scaling
    datasets: dict[str, str]
    """SHA-256 of the index of each dataset, by its path."""
    train_data: PairDataset
    val_data: PairDataset | None
    """None when no dataset has a val split."""
    selection: Selection
    """What chooses the best checkpoint."""
    val_scores: ValScores | None
    """The val split as the evaluation scores it; None where it is not needed to choose the best checkpoint."""
    pixel_sizes_m: tuple[float, ...]
    """Of the training patches, metres, ascending."""
    init: Origin | None = None
    """Where the weights of a run that begins are from; None for the seed."""
    position: Position = dataclasses.field(default_factory=Position)
    run: Path | None = None
    """Folder of the run that goes on, or starts anew in it; None for a new one."""
    checkpoint_folder: Path | None = None
    checkpoint: Checkpoint | None = None
    record: RunRecord | None = None
    """What the run that goes on wrote of itself; None for one that begins."""


def start_new(network: str, datasets: Datasets, given: Mapping[str, str], init: Path | None = None) -> Start:
    """Prepare a run from nothing, or from the weights of another run.

    Args:
        network: A network of the zoo, or an alias.
        datasets: What to train on.
        given: Settings.
        init: Run, or checkpoint of one, whose weights are the first; of a run, the best.

    Raises:
        RunError: Unknown network or setting, wrong value; the dataset lacks what the network needs; the weights of `init` do
            not fit.
        DatasetError: A dataset is missing or damaged.
    """
    info = zoo.resolve(network)
    training, theirs = split(info, given)
    torch.manual_seed(training.seed)
    translator, scaling = info.make(theirs), Scaling(s2_range=training.s2_range)
    origin = None if init is None else _take_weights(loading.find(init, "best"), translator, scaling)
    return replace(_with_data(info.name, translator, training, scaling, datasets), init=origin)


def _take_weights(folder: Path, translator: Translator, scaling: Scaling) -> Origin:
    """Give a new network the weights with which a checkpoint predicts; return what `run.json` says of them."""
    saved = checkpoint.read(folder)
    file = saved.predicts
    translator.load_state_dict(loading.read_weights(folder, saved, translator, file))
    before = {**saved.task, **dataclasses.asdict(saved.scaling)}
    now = {**dataclasses.asdict(translator.task), **dataclasses.asdict(scaling)}
    others = [key for key, value in now.items() if _plain(value) != _plain(before.get(key))]
    if others:
        logger.warning("%s was trained with other %s; this run starts from its weights all the same.", folder, others)
    return Origin(
        checkpoint=str(folder.resolve()),
        network=saved.network,
        step=saved.position.step,
        file=file,
        sha256=file_sha256(folder / saved.files[file]),
    )


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


def start_resumed(network: str, earlier: Earlier, datasets: Datasets | None, given: Mapping[str, str]) -> Start:
    """Prepare to go on with a run, or to start it anew if it has no checkpoint yet.

    Args:
        network: The network, or alias, the run is expected to train.
        earlier: The run.
        datasets: Where the datasets are now, in the order of the run; none means where they were.
        given: Settings to change; only those that decide how long and how it runs.

    Raises:
        RunError: The checkpoint is damaged or of another network, or a setting cannot be changed any more.
        DatasetError: A dataset is missing, damaged, or not the one the run began with.
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
        start = _with_data(info.name, translator, training, record.scaling, datasets or record.datasets)
        check_same_datasets(record, start.datasets)
        return replace(start, run=run, init=_take_weights_again(record, translator))
    translator.load_state_dict(loading.read_weights(folder, saved, translator, "weights"))
    position = _counted_in_samples(saved.position, translator.config.batch_size, record)
    if record.status == "finished":  # a run killed after its last step has still to say so
        _refuse_ended(run, position, translator.config.epochs, training)
    start = _with_data(info.name, translator, training, saved.scaling, datasets or record.datasets)
    check_same_datasets(record, start.datasets)
    return replace(start, position=position, run=run, checkpoint_folder=folder, checkpoint=saved, record=record)


def _take_weights_again(record: RunRecord, translator: Translator) -> Origin | None:
    if record.init is None:
        return None
    init = _take_weights(Path(record.init.checkpoint), translator, record.scaling)
    if init != record.init:
        raise RunError(
            f"{init.checkpoint} has changed since this run took its first weights there: expected step {record.init.step}, "
            f"SHA-256 {record.init.sha256[:12]}, found step {init.step}, {init.sha256[:12]}; train anew"
        )
    return init


def all_is_trained(position: Position, epochs: int, training: TrainSettings) -> bool:
    """Return whether a run has had all its epochs or steps."""
    return position.epoch >= epochs or (training.max_steps is not None and position.step >= training.max_steps)


def has_lost_patience(position: Position, training: TrainSettings) -> bool:
    """Return whether so many epochs have brought no better figure that a run stops."""
    return training.patience is not None and position.epochs_since_best >= training.patience


def _refuse_ended(run: Path, position: Position, epochs: int, training: TrainSettings) -> None:
    done = f"{run} is finished after {position.step} steps, {position.epoch} epochs"
    if all_is_trained(position, epochs, training):
        raise RunError(f"{done}; train on with --set epochs=N or --set max_steps=N above that")
    if has_lost_patience(position, training):
        raise RunError(
            f"{done}, the last {position.epochs_since_best} no better than the one before; train on with --set patience=N "
            "above that, or patience=none"
        )


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
    name: str, translator: Translator, training: TrainSettings, scaling: Scaling, datasets: Datasets
) -> Start:
    opened, task, selection = _open(datasets), translator.task, select_by(training.select)
    with_val = [dataset for dataset in opened if "val" in set(dataset.index["split"])]
    _say_who_has_no_val_split(opened, with_val, training)
    how: dict[str, Any] = {"scaling": scaling, "orders": training.orders}
    train_data = PairDataset(opened, task, split="train", crop=training.crop, **how)
    translator.check_patch(train_data.batch([0], [(0, 0)] if training.crop else None))
    val_data = PairDataset(with_val, task, split="val", **how) if with_val else None
    if val_data is not None:
        translator.check_patch(val_data.batch([0]))
    val_scores = None if selection.key is None else ValScores(with_val, task, selection, **how)
    return Start(
        network=name,
        translator=translator,
        training=training,
        scaling=scaling,
        datasets={dataset.storage.address: dataset.sha256 for dataset in opened},
        train_data=train_data,
        val_data=val_data,
        selection=selection,
        val_scores=val_scores,
        pixel_sizes_m=_pixel_sizes(opened),
    )


def _open(datasets: Datasets) -> list[Dataset]:
    """Open datasets, each once."""
    opened = [open_dataset(path) for path in ([datasets] if isinstance(datasets, str | Path) else datasets)]
    if not opened:
        raise RunError("no dataset given: name one or more with --data")
    for place, dataset in enumerate(opened):
        twin = next((other for other in opened[:place] if other.sha256 == dataset.sha256), None)
        if twin is not None:
            raise DatasetError(
                f"{dataset.storage.address} and {twin.storage.address} are the same dataset; give each once with --data"
            )
    return opened


def _say_who_has_no_val_split(opened: Sequence[Dataset], with_val: Sequence[Dataset], training: TrainSettings) -> None:
    """Warn of datasets without one, or refuse settings that need one.

    Raises:
        RunError: No dataset has a val split, and a setting asks to choose by it.
    """
    asked = [f"select={training.select}"] if training.select != "l1" else []
    asked += [f"patience={training.patience}"] if training.patience is not None else []
    if asked and not with_val:
        raise RunError(
            f"{' and '.join(asked)} cannot be: {', '.join(dataset.storage.address for dataset in opened)} has no val split to "
            "look at; build the dataset with one"
        )
    for dataset in opened:
        if not any(dataset is other for other in with_val):
            meant = "is chosen by the other datasets" if with_val else "will be the last one"
            logger.warning("%s has no val split: checkpoints/best %s, never on test.", dataset.storage.address, meant)


def _pixel_sizes(datasets: Sequence[Dataset]) -> tuple[float, ...]:
    """Return the pixel sizes of the training patches; a build lays them in UTM, so that they are square and in metres."""
    transforms = [one for data in datasets for one in data.index.loc[data.index["split"] == "train", "transform"]]
    return tuple(sorted({round(abs(float(transform[0])), 6) for transform in transforms}))


def _plain(value: object) -> object:
    """Return a value as JSON holds it, so that lists and tuples compare."""
    return json.loads(json.dumps(value))
