"""What ONNX Runtime gives from an exported file is what PyTorch gives from the run."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from models import zoo
from models.export.onnx_file import export_onnx
from models.runs.loading import load_translator
from models.scaling import Scaling
from models.task import Batch, Stack
from s1s2pairs.errors import RunError
from tests.models.conftest import make_run
from tests.refusals import refuses

LARGEST_DIFFERENCE = {"s1": 1e-3, "s2": 1e-4}
"""dB, reflectance: single precision in another order of additions."""


def observed(stack: Stack, size: int, batch: int) -> np.ndarray:
    """Return (batch, band, y, x) float32 in physical units; a corner of the first patch is missing."""
    rng = np.random.default_rng(len(stack.key) + stack.date)
    values = rng.random((batch, len(stack.bands), size, size), np.float32)
    values = values * 30 - 22 if stack.sensor == "s1" else values * 0.6
    values[0, 0, :5, :9] = np.nan
    return values.astype(np.float32)


SAMPLE = ("tsgan", "dcstfn_os", "tirsit")
"""Networks whose export is tried in every run of the tests; the others take their turn in `make torture`."""
REST = [pytest.param(name, marks=pytest.mark.torture) for name in zoo.names() if name not in SAMPLE]


@pytest.mark.parametrize("name", [*SAMPLE, *REST])
def test_runtime_and_torch_agree(name: str, tmp_path: Path) -> None:
    scaling = Scaling(s2_range=(0.0, 0.5))
    run = make_run(tmp_path / "run", name, scaling=scaling)
    side = zoo.create(name, {"width": "4"}).config.patch_multiple
    side = side if side >= 16 else 64
    file = export_onnx(run, tmp_path / "net.onnx", size=side)
    loaded = load_translator(run, device="cpu")
    task = loaded.translator.task
    session = onnxruntime.InferenceSession(str(file))
    for count in (1, 3):
        given = {stack.key: observed(stack, side, count) for stack in task.inputs}
        valid = ~np.any([np.isnan(values).any(axis=1) for values in given.values()], axis=0)
        batch: Batch = {"valid": torch.from_numpy(valid)[:, None]}
        for stack in task.inputs:
            values = torch.from_numpy(given[stack.key])
            batch[stack.key] = torch.where(values.isnan().any(1, keepdim=True), 0.0, scaling.scale(values, stack))
        with torch.inference_mode():
            wanted = scaling.unscale(loaded.translator(batch).mean, task.target).numpy()
        (found,) = session.run(None, given)
        assert np.isnan(found).all(axis=1).tolist() == (~valid).tolist()
        shown = np.broadcast_to(valid[:, None], found.shape)
        np.testing.assert_allclose(found[shown], wanted[shown], rtol=0, atol=LARGEST_DIFFERENCE[task.target.sensor])


def test_the_file_says_what_goes_in_and_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "tsgan", s1_bands="VV,VH", s2_bands="B4,B8")
    file = export_onnx(run, tmp_path / "net.onnx", size=128, batch_size=2)
    model = onnx.load(file)
    onnx.checker.check_model(model)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(said["inputs"]) == {
        "s2_t2": {"bands": ["B4", "B8"], "unit": "reflectance"},
        "s1_t1": {"bands": ["VV", "VH"], "unit": "dB"},
        "s2_t1": {"bands": ["B4", "B8"], "unit": "reflectance"},
    }
    assert json.loads(said["output"]) == {"s1_t2": {"bands": ["VV", "VH"], "unit": "dB"}}
    assert [entry.name for entry in model.graph.input] == ["s2_t2", "s1_t1", "s2_t1"]
    shape = [dimension.dim_value for dimension in model.graph.output[0].type.tensor_type.shape.dim]
    assert shape == [2, 2, 128, 128]


@pytest.mark.usefixtures("toy_networks")
def test_conditions_that_a_network_reads_are_inputs(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "toy_unpaired")
    file = export_onnx(run, tmp_path / "net.onnx", size=16)
    session = onnxruntime.InferenceSession(str(file))
    assert [entry.name for entry in session.get_inputs()] == ["s1_t1", "incidence"]
    radar = np.full((1, 1, 16, 16), -10, np.float32)
    steep, flat = (
        session.run(None, {"s1_t1": radar, "incidence": np.full((1, 1), angle, np.float32)}) for angle in (30, 45)
    )
    assert not np.allclose(steep[0], flat[0])


def test_a_size_that_does_not_fit_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "tsgan")
    with refuses(RunError, "size=100", 128):
        export_onnx(run, tmp_path / "net.onnx", size=100)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
