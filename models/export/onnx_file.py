"""A trained network as an ONNX file: physical values in, physical values out, no code of ours needed to run it."""

import json
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import onnx
import torch
from torch import Tensor

from s1s2pairs.errors import RunError
from s1s2pairs.files import scratch_folder

from ..runs.loading import Loaded, load_translator
from ..runs.physical import PhysicalNetwork
from ..task import CONDITIONS

DEFAULT_SIZE: Final = 256


def export_onnx(
    run: Path,
    out: Path,
    *,
    which: Literal["best", "last"] = "best",
    size: int | None = None,
    batch_size: int | None = None,
) -> Path:
    """Write a run's network as an ONNX file.

    Args:
        run: Folder of a run or of a checkpoint.
        out: File to write; it appears when it is whole.
        which: Which of the run's checkpoints.
        size: Height and width of the patches that it takes, pixels; none means 256, or what the network needs.
        batch_size: How many patches at once; none means any number.

    Raises:
        RunError: The run is missing or damaged, the size does not fit, the extra is not installed, or the network cannot be
            exported.
    """
    loaded = load_translator(run, which, device="cpu")
    multiple = loaded.translator.config.patch_multiple
    side = math.ceil(DEFAULT_SIZE / multiple) * multiple if size is None else size
    if side <= 0 or side % multiple:
        raise RunError(
            f"size={side} px does not fit this network: give a multiple of {multiple} px, such as {2 * multiple}"
        )
    program = PhysicalNetwork(loaded.translator, loaded.scaling).eval()
    with scratch_folder(out) as scratch:
        file = scratch / out.name
        with _advice():
            _write(program, file, side, batch_size)
            _describe(file, loaded)
        file.replace(out)
    return out


@contextmanager
def _advice() -> Iterator[None]:
    """Turn what the exporter raises into a message."""
    try:
        yield
    except torch.onnx.errors.OnnxExporterError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise RunError(
            f"this network cannot be exported to ONNX: {lines[0] if lines else type(error).__name__}"
        ) from error


def _example(program: PhysicalNetwork, side: int, batch: int) -> tuple[Tensor, ...]:
    stacks = {stack.key: stack for stack in program.translator.task.inputs}
    shapes = {
        **{key: (batch, len(stack.bands), side, side) for key, stack in stacks.items()},
        **dict.fromkeys(CONDITIONS, (batch, program.translator.task.n_dates)),
        "season": (batch, program.translator.task.n_dates, 2),
    }
    return tuple(torch.zeros(shapes[key]) for key in program.inputs)


def _write(program: PhysicalNetwork, file: Path, side: int, batch_size: int | None) -> None:
    example = _example(program, side, batch_size or 2)
    axes = {0: torch.export.Dim("batch", min=1)} if batch_size is None else {}
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter about itself
            torch.onnx.export(
                program,
                example,
                file,
                input_names=program.inputs,
                output_names=[program.translator.task.target.key],
                dynamic_shapes=(tuple(axes or None for _ in example),),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    finally:
        quiet.setLevel(level)


def _describe(file: Path, loaded: Loaded) -> None:
    """Write into the file what its inputs and its output are."""
    task = loaded.translator.task
    model = onnx.load(file)
    said = {
        "network": loaded.checkpoint.network,
        "inputs": json.dumps({stack.key: {"bands": stack.bands, "unit": stack.unit} for stack in task.inputs}),
        "output": json.dumps({task.target.key: {"bands": task.target.bands, "unit": task.target.unit}}),
        "missing": "NaN",
    }
    onnx.helper.set_model_props(model, said)
    onnx.save(model, file)
