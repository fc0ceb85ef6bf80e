"""Checkpoints: weights and optimizer state as safetensors, everything else as JSON. Nothing is ever unpickled.

A checkpoint is a folder::

    checkpoint.json                  network, config, task, scaling, position in the run; names and hashes the two files
    weights-00000120.safetensors
    optimizers-00000120.safetensors

The JSON file is the point of commitment: tensors are written first, under names nothing refers to yet, then the JSON file is
replaced in one step, then the old tensors go. Killed at any moment, the folder holds the old checkpoint or the new one.
"""

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from s1s2pairs.errors import RunError

from .. import zoo
from ..hardware import choose_device
from ..scaling import Scaling
from ..translator import Translator
from .optimizer_state import flatten, restore
from .tensors import PICKLE_SUFFIXES, file_sha256, is_pickle, read_tensors, refuse_pickled

FORMAT: Final = 2
"""1 counted batches of an epoch, which mean other samples on another number of devices, and kept no hashes. It is still read."""
JSON_NAME: Final = "checkpoint.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """How far a run has come, and its best validation so far."""

    epoch: int = 0
    """Epoch under way, from 0; the number of finished ones when `samples_in_epoch` is 0."""
    samples_in_epoch: int = 0
    """Samples of this epoch already used, by all processes together; they are the first ones in the epoch's order."""
    step: int = 0
    """Steps since the start; in each, every process uses one batch."""
    best_value: float | None = None
    """Lowest validation L1, None before the first validation and in runs without a val split."""
    best_step: int | None = None
    step_in_epoch: int | None = None
    """Steps of this epoch, in checkpoints of format 1, which do not count its samples."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """What `checkpoint.json` holds. Tensors are read when asked for."""

    format: int
    network: str
    config: dict[str, Any]
    """Every field of the network's `Config`."""
    task: dict[str, Any]
    """For readers; the task is rebuilt from the config."""
    scaling: Scaling
    position: Position
    precision_state: dict[str, int | float]
    """State of the loss scaler of 16-mixed; empty in other precisions."""
    optimizers: dict[str, dict[str, Any]]
    """Per part: `param_groups`, and those state values that are no tensors."""
    files: dict[str, str]
    """`weights` and `optimizers`: file names in the checkpoint's folder."""
    sizes_bytes: dict[str, int]
    """Size of each of the files, to notice truncation before anything is parsed."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Of each of the files, checked when it is loaded; empty in format 1."""


def save(
    folder: Path,
    *,
    network: str,
    translator: Translator,
    optimizers: Mapping[str, Optimizer],
    scaling: Scaling,
    position: Position,
    precision_state: Mapping[str, int | float] | None = None,
) -> None:
    """Replace the checkpoint in `folder` by the present state, in one step.

    Args:
        folder: Made if missing.
        network: The network's file name in the zoo.
        translator: Weights and buffers to save; parts may be wrapped for training.
        optimizers: One per part of the translator.
        scaling: How the data was scaled.
        position: How far the run is.
        precision_state: State of the loss scaler, if there is one.

    Raises:
        OSError: The folder cannot be written; it still holds the previous checkpoint.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors, described = flatten({part: optimizer.state_dict() for part, optimizer in optimizers.items()})
    files = {name: f"{name}-{position.step:08d}.safetensors" for name in ("weights", "optimizers")}
    _write_tensors(folder / files["weights"], translator.state_dict())
    _write_tensors(folder / files["optimizers"], tensors)
    checkpoint = Checkpoint(
        format=FORMAT,
        network=network,
        config=translator.config.values(),
        task=dataclasses.asdict(translator.task),
        scaling=scaling,
        position=position,
        precision_state=dict(precision_state or {}),
        optimizers=described,
        files=files,
        sizes_bytes={name: (folder / file).stat().st_size for name, file in files.items()},
        sha256={name: file_sha256(folder / file) for name, file in files.items()},
    )
    _commit(folder, checkpoint)


def copy(source: Path, target: Path) -> None:
    """Make `target` the same checkpoint as `source`, sharing the disk space where the file system can."""
    checkpoint = read(source)
    target.mkdir(parents=True, exist_ok=True)
    for file in checkpoint.files.values():
        partial = target / f"{file}.partial"
        partial.unlink(missing_ok=True)
        try:
            os.link(source / file, partial)
        except OSError:  # no hard links on this file system
            shutil.copy2(source / file, partial)
        partial.replace(target / file)
    _commit(target, checkpoint)


def sweep(folder: Path) -> None:
    """Delete what a killed process left beside a whole checkpoint. Without one, or with a damaged one, nothing is touched."""
    if (folder / JSON_NAME).is_file():
        with contextlib.suppress(RunError):  # told to whoever wants to use it
            _sweep(folder, read(folder))


def read(folder: Path) -> Checkpoint:
    """Read what a checkpoint says of itself, and check that its files are whole.

    Raises:
        RunError: There is no checkpoint, or it is truncated, damaged or a pickle.
    """
    _refuse_pickle(folder)
    path = folder / JSON_NAME
    if not path.is_file():
        raise RunError(f"{folder} is no checkpoint: it has no {JSON_NAME}; give a run folder or its checkpoints/last")
    try:
        checkpoint = TypeAdapter(Checkpoint).validate_json(path.read_bytes())
    except (ValidationError, UnicodeDecodeError) as error:
        raise RunError(f"{path} is damaged or truncated; use the run's other checkpoint, or train again") from error
    if checkpoint.format not in (1, FORMAT):
        raise RunError(
            f"{path} has format {checkpoint.format}, this version reads 1 and {FORMAT}; use the version that wrote it"
        )
    if any(said.keys() != {"weights", "optimizers"} for said in (checkpoint.files, checkpoint.sizes_bytes)) or any(
        Path(file).name != file for file in checkpoint.files.values()
    ):
        raise RunError(f"{path} does not name weights and optimizers beside it; use the run's other checkpoint")
    if checkpoint.format == FORMAT and checkpoint.sha256.keys() != checkpoint.files.keys():
        raise RunError(f"{path} is damaged: it lacks hashes of its files; use the run's other checkpoint")
    for name, file in checkpoint.files.items():
        refuse_pickled(folder / file)
        size = (folder / file).stat().st_size if (folder / file).is_file() else 0
        if size != checkpoint.sizes_bytes[name]:
            raise RunError(
                f"{folder / file} is truncated or missing: {size} bytes instead of {checkpoint.sizes_bytes[name]}; "
                "copy it again, use the run's other checkpoint, or train again"
            )
    return checkpoint


def find(run_or_checkpoint: Path, which: Literal["best", "last"]) -> Path:
    """Return the folder of a run's checkpoint; a checkpoint's own folder is returned as it is.

    Raises:
        RunError: The path is missing, holds no checkpoint, or is a pickle.
    """
    _refuse_pickle(run_or_checkpoint)
    if not run_or_checkpoint.is_dir():
        raise RunError(
            f"there is no run folder {run_or_checkpoint}; runs are made by `s1s2 train`, by default under runs/"
        )
    if (run_or_checkpoint / JSON_NAME).is_file():
        return run_or_checkpoint
    folder = run_or_checkpoint / "checkpoints" / which
    if not (folder / JSON_NAME).is_file():
        raise RunError(
            f"{run_or_checkpoint} has no checkpoint {which!r} yet: there is no {folder / JSON_NAME}; "
            "wait for the first epoch to end; a run that was stopped before starts anew by `s1s2 train NETWORK --resume RUN`"
        )
    return folder


def has_checkpoint(run: Path) -> bool:
    """Return whether a run's folder holds any checkpoint."""
    return any((run / "checkpoints" / which / JSON_NAME).is_file() for which in ("last", "best"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A trained network, ready to predict."""

    translator: Translator
    """In evaluation mode, on the device asked for."""
    scaling: Scaling
    checkpoint: Checkpoint


def load_translator(run_or_checkpoint: Path, which: Literal["best", "last"] = "best", device: str = "auto") -> Loaded:
    """Rebuild a trained network from a run folder or from one checkpoint's folder.

    Args:
        run_or_checkpoint: Folder of a run, or of a checkpoint in it.
        which: Which of a run's checkpoints; not used when a checkpoint's own folder is given.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        RunError: Missing, damaged, a pickle, of an unknown network, or the device is not there.
    """
    target = choose_device(device)
    folder = find(run_or_checkpoint, which)
    checkpoint = read(folder)
    info = zoo.load(checkpoint.network)
    needed, held = info.size_bytes(checkpoint.config), checkpoint.sizes_bytes["weights"]
    if needed > held:  # said before room is made for it
        raise RunError(
            f"{folder / JSON_NAME}: its config is of a network of {needed:,} bytes, its weights have {held:,}"
        )
    translator = info.make(checkpoint.config)
    load_weights(folder, checkpoint, translator)
    return Loaded(translator=translator.to(target).eval(), scaling=checkpoint.scaling, checkpoint=checkpoint)


def load_weights(folder: Path, checkpoint: Checkpoint, translator: Translator) -> None:
    """Put a checkpoint's weights into a translator whose parts are not wrapped yet.

    Raises:
        RunError: The file is damaged, or the weights belong to another network or another configuration of it.
    """
    weights = read_tensors(folder / checkpoint.files["weights"], checkpoint.sha256.get("weights"))
    own = translator.state_dict()
    wrong = sorted(key for key in own.keys() | weights.keys() if _shape(own, key) != _shape(weights, key))
    if wrong:
        raise RunError(
            f"{folder} holds weights of another network than {checkpoint.network} as configured here: "
            f"{len(wrong)} tensors differ, the first is {wrong[0]} "
            f"({_shape(weights, wrong[0])} in the file, {_shape(own, wrong[0])} wanted)"
        )
    translator.load_state_dict(weights)


def load_optimizers(folder: Path, checkpoint: Checkpoint, optimizers: Mapping[str, Optimizer]) -> None:
    """Put a checkpoint's optimizer state into the optimizers of a new run.

    Raises:
        RunError: The file is damaged, or the checkpoint is of a network with other parts.
    """
    if checkpoint.optimizers.keys() != optimizers.keys():
        raise RunError(
            f"{folder} has optimizers for {', '.join(checkpoint.optimizers)}, this network for {', '.join(optimizers)}: "
            "it is a checkpoint of another network"
        )
    tensors = read_tensors(folder / checkpoint.files["optimizers"], checkpoint.sha256.get("optimizers"))
    for part, optimizer in optimizers.items():
        restore(optimizer, part, tensors, checkpoint.optimizers[part])


def _shape(tensors: Mapping[str, Tensor], key: str) -> tuple[int, ...] | None:
    return tuple(tensors[key].shape) if key in tensors else None


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    partial = path.with_name(f"{path.name}.partial")
    try:
        save_file({key: value.detach().contiguous() for key, value in tensors.items()}, partial)
    except SafetensorError as error:  # the disk is full, or broken
        raise OSError(str(error)) from error
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def _commit(folder: Path, checkpoint: Checkpoint) -> None:
    partial = folder / f"{JSON_NAME}.partial"
    with partial.open("w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(checkpoint), file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / JSON_NAME)
    _sweep(folder, checkpoint)


def _sweep(folder: Path, checkpoint: Checkpoint) -> None:
    for path in (*folder.glob("*.safetensors*"), folder / f"{JSON_NAME}.partial"):
        if path.name not in checkpoint.files.values():
            path.unlink(missing_ok=True)


def _refuse_pickle(path: Path) -> None:
    if path.suffix.lower() in PICKLE_SUFFIXES or path.is_file():
        what = "it is no safetensors file but a pickle, and " if is_pickle(path) else ""
        raise RunError(
            f"{path} is refused: {what}a checkpoint is a folder of safetensors and JSON; pickles (.pt, .pth, .ckpt, ...) can "
            "run code when opened and are never loaded; give a run folder made by `s1s2 train`"
        )
