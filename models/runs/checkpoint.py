"""Checkpoints: weights and optimizer state as safetensors, everything else as JSON. Nothing is ever unpickled.

A checkpoint is a folder::

    checkpoint.json                  network, config, task, scaling, position in the run; names and hashes the two files
    weights-00000120.safetensors
    optimizers-00000120.safetensors
    average-00000120.safetensors       moving average of the weights, in runs that keep one
    state-00000120.safetensors         what else training remembers, where a network has any such thing

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

from ..scaling import Scaling
from ..translator import Translator
from .optimizer_state import flatten
from .tensors import PICKLE_SUFFIXES, file_sha256, is_pickle, refuse_pickled

FORMAT: Final = 2
"""1 counted batches of an epoch, which mean other samples on another number of devices, and kept no hashes. It is still read."""
JSON_NAME: Final = "checkpoint.json"
FILES_NEEDED: Final = {"weights", "optimizers"}
FILES_POSSIBLE: Final = FILES_NEEDED | {"average", "state"}
LONGEST_NAME: Final = 100
"""Letters of a file's name."""


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
    """Best value of the figure that `select` names (L1 unless set), None before the first validation and in runs without a
    val split."""
    best_step: int | None = None
    epochs_since_best: int = 0
    """Whole epochs since then that ended with no better value."""
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
    """`weights`, `optimizers`, where there is any `average` and `state`: file names in the checkpoint's folder."""
    sizes_bytes: dict[str, int]
    """Size of each of the files, to notice truncation before anything is parsed."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Of each of the files, checked when it is loaded; empty in format 1."""

    @property
    def predicts(self) -> Literal["weights", "average"]:
        """Return which of the files holds the weights that predict: their moving average where the run keeps one."""
        return "average" if "average" in self.files else "weights"


def save(
    folder: Path,
    *,
    network: str,
    translator: Translator,
    optimizers: Mapping[str, Optimizer],
    scaling: Scaling,
    position: Position,
    precision_state: Mapping[str, int | float] | None = None,
    training_state: Mapping[str, Tensor] | None = None,
    average: Mapping[str, Tensor] | None = None,
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
        training_state: What training remembers beside weights, (process, ...) each.
        average: Moving average of weights and buffers, with their names and shapes.

    Raises:
        OSError: The folder cannot be written; it still holds the previous checkpoint.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors, described = flatten({part: optimizer.state_dict() for part, optimizer in optimizers.items()})
    contents = {"weights": translator.state_dict(), "optimizers": tensors}
    contents |= {name: dict(more) for name, more in (("average", average), ("state", training_state)) if more}
    files = {name: f"{name}-{position.step:08d}.safetensors" for name in contents}
    for name, content in contents.items():
        _write_tensors(folder / files[name], content)
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
    refuse_pickle(folder)
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
    named = checkpoint.files.keys()
    if (
        not FILES_NEEDED <= named <= FILES_POSSIBLE
        or checkpoint.sizes_bytes.keys() != named
        or any(Path(file).name != file or len(file) > LONGEST_NAME for file in checkpoint.files.values())
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


def refuse_pickle(path: Path) -> None:
    """Refuse a path that is a file: a checkpoint is a folder.

    Raises:
        RunError: It is a file; the text says whether a pickle.
    """
    if path.suffix.lower() in PICKLE_SUFFIXES or path.is_file():
        what = "it is no safetensors file but a pickle, and " if is_pickle(path) else ""
        raise RunError(
            f"{path} is refused: {what}a checkpoint is a folder of safetensors and JSON; pickles (.pt, .pth, .ckpt, ...) can "
            "run code when opened and are never loaded; give a run folder made by `s1s2 train`"
        )
