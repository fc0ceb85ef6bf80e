"""Checkpoints found and put back: into a network that predicts, or into a run that goes on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.optim import Optimizer

from s1s2pairs.errors import RunError

from .. import zoo
from ..hardware import choose_device
from ..scaling import Scaling
from ..translator import Translator
from .checkpoint import JSON_NAME, Checkpoint, read, refuse_pickle
from .optimizer_state import restore
from .physical import PhysicalNetwork
from .tensors import read_tensors


def find(run_or_checkpoint: Path, which: Literal["best", "last"]) -> Path:
    """Return the folder of a run's checkpoint; a checkpoint's own folder is returned as it is.

    Raises:
        RunError: The path is missing, holds no checkpoint, or is a pickle.
    """
    refuse_pickle(run_or_checkpoint)
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

    @torch.inference_mode()
    def predict(self, images: Mapping[str, ArrayLike]) -> NDArray[np.float32]:
        """Predict patches from arrays.

        Args:
            images: By key of every input of the task, such as `s2_t2`: (batch, band, y, x), dB or reflectance, NaN where missing,
                bands as the task has them. Also the conditions that the network reads, see `task.Batch`.

        Returns:
            (batch, band, y, x) float32, dB or reflectance, NaN where an input is missing.

        Raises:
            RunError: An input is missing or has another shape, or patches have a size that the network does not take.
        """
        network = PhysicalNetwork(self.translator, self.scaling)
        device = next((weights.device for weights in self.translator.parameters()), None)
        given = {key: torch.as_tensor(np.asarray(image, np.float32), device=device) for key, image in images.items()}
        if given.keys() != set(network.inputs):
            raise RunError(f"the network's inputs are {', '.join(network.inputs)}; found {', '.join(given) or 'none'}")
        for stack in self.translator.task.inputs:
            shape, other = given[stack.key].shape, given[self.translator.task.inputs[0].key].shape
            if len(shape) != 4 or shape[1] != len(stack.bands) or (shape[0], *shape[2:]) != (other[0], *other[2:]):
                raise RunError(
                    f"{stack.key}: expected (batch, {len(stack.bands)}, y, x) for {', '.join(stack.bands)}, the same batch, y "
                    f"and x for all inputs; found {tuple(shape)}"
                )
        predicted: NDArray[np.float32] = network(*(given[key] for key in network.inputs)).cpu().numpy()
        return predicted


def load_translator(
    run_or_checkpoint: Path | str, which: Literal["best", "last"] = "best", device: str = "auto"
) -> Loaded:
    """Rebuild a trained network from a run folder or from one checkpoint's folder.

    Args:
        run_or_checkpoint: Folder of a run, or of a checkpoint in it.
        which: Which of a run's checkpoints; not used when a checkpoint's own folder is given.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        RunError: Missing, damaged, a pickle, of an unknown network, or the device is not there.
    """
    target = choose_device(device)
    folder = find(Path(run_or_checkpoint), which)
    saved = read(folder)
    info = zoo.load(saved.network)
    needed, held = info.size_bytes(saved.config), saved.sizes_bytes[saved.predicts]
    if needed > held:  # said before room is made for it
        raise RunError(
            f"{folder / JSON_NAME}: its config is of a network of {needed:,} bytes, its weights have {held:,}"
        )
    translator = info.make(saved.config)
    translator.load_state_dict(read_weights(folder, saved, translator, saved.predicts))
    return Loaded(translator=translator.to(target).eval(), scaling=saved.scaling, checkpoint=saved)


def read_weights(
    folder: Path, checkpoint: Checkpoint, translator: Translator, file: Literal["weights", "average"]
) -> dict[str, Tensor]:
    """Read weights and buffers that fit a translator whose parts are not wrapped yet.

    Args:
        folder: Of the checkpoint.
        checkpoint: What it says of itself.
        translator: What they must fit, by name and shape.
        file: The weights that learn, or their moving average.

    Raises:
        RunError: The file is damaged, or the weights belong to another network or another configuration of it.
    """
    if file not in checkpoint.files:
        raise RunError(f"{folder / JSON_NAME} names no {file} beside it; use the run's other checkpoint")
    weights = read_tensors(folder / checkpoint.files[file], checkpoint.sha256.get(file))
    own = translator.state_dict()
    wrong = sorted(key for key in own.keys() | weights.keys() if _shape(own, key) != _shape(weights, key))
    if wrong:
        raise RunError(
            f"{folder} holds weights of {checkpoint.network} that do not fit the network as configured here: "
            f"{len(wrong)} tensors differ, the first is {wrong[0]}: "
            f"expected {_in_words(own, wrong[0])}, found {_in_words(weights, wrong[0])}"
        )
    return weights


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


def load_training_state(folder: Path, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return what training remembered beside weights, (process, ...) each; nothing where it remembers nothing.

    Raises:
        RunError: The file is damaged.
    """
    if "state" not in checkpoint.files:
        return {}
    return read_tensors(folder / checkpoint.files["state"], checkpoint.sha256.get("state"))


def _in_words(tensors: Mapping[str, Tensor], key: str) -> str:
    return f"shape {_shape(tensors, key)}" if key in tensors else "none of this name"


def _shape(tensors: Mapping[str, Tensor], key: str) -> tuple[int, ...] | None:
    return tuple(tensors[key].shape) if key in tensors else None
