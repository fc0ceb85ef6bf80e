"""Checkpoints come back as they were, are never half written, and are refused when they are not what they should be."""

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from models import zoo
from models.runs import checkpoint, loading
from models.runs.checkpoint import Position
from models.scaling import Scaling
from models.translator import Translator
from s1s2pairs.errors import RunError
from tests.refusals import assert_suggests, refuses

pytestmark = pytest.mark.usefixtures("toy_networks")

SCALING = Scaling(s2_range=(0.0, 0.3))


class Killed(BaseException):
    """What a process does not survive."""


def trained(seed: int, width: int = 4) -> tuple[Translator, dict[str, Optimizer]]:
    """Return a toy network and its optimizers after a few random updates."""
    torch.manual_seed(seed)
    translator = zoo.create("toy", {"width": str(width)})
    optimizers = translator.optimizers(fused=False)
    for _ in range(3):
        for part, optimizer in optimizers.items():
            for parameter in getattr(translator, part).parameters():
                parameter.grad = torch.randn_like(parameter)
            optimizer.step()
    return translator, optimizers


def save(folder: Path, seed: int, step: int) -> dict[str, Tensor]:
    translator, optimizers = trained(seed)
    checkpoint.save(
        folder,
        network="toy",
        translator=translator,
        optimizers=optimizers,
        scaling=SCALING,
        position=Position(epoch=1, samples_in_epoch=2, step=step, best_value=0.25, best_step=4),
        precision_state={"scale": 65536.0},
    )
    return translator.state_dict()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with a `last` and a `best` checkpoint."""
    for which in ("last", "best"):
        save(tmp_path / "run/checkpoints" / which, seed=1, step=6)
    return tmp_path / "run"


def assert_holds(folder: Path, expected: dict[str, Tensor]) -> None:
    loaded = loading.load_translator(folder, device="cpu").translator.state_dict()
    assert loaded.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(loaded[key], value), key


def test_everything_comes_back(tmp_path: Path) -> None:
    translator, optimizers = trained(seed=3)
    position = Position(epoch=1, samples_in_epoch=2, step=6, best_value=0.1 + 0.2, best_step=4)
    folder = tmp_path / "last"
    checkpoint.save(
        folder,
        network="toy",
        translator=translator,
        optimizers=optimizers,
        scaling=SCALING,
        position=position,
        precision_state={"scale": 65536.0},
    )
    saved = checkpoint.read(folder)
    assert (saved.network, saved.position, saved.scaling) == ("toy", position, SCALING)
    assert saved.precision_state == {"scale": 65536.0}
    assert saved.task["target"]["sensor"] == "s1"

    loaded = loading.load_translator(folder, device="cpu")
    assert loaded.translator.config == translator.config
    assert not loaded.translator.training
    assert_holds(folder, translator.state_dict())

    fresh = zoo.create("toy", {"learning_rate": "9"}).optimizers(fused=False)
    loading.load_optimizers(folder, saved, fresh)
    for part, optimizer in optimizers.items():
        expected, found = optimizer.state_dict(), fresh[part].state_dict()
        assert found["param_groups"] == expected["param_groups"]
        assert found["state"].keys() == expected["state"].keys()
        for number, state in expected["state"].items():
            for name, value in state.items():
                assert torch.equal(found["state"][number][name], value), (part, number, name)


def test_optimizer_state_takes_the_memory_layout_of_the_weights(tmp_path: Path) -> None:
    save(tmp_path / "last", seed=1, step=1)
    translator = zoo.create("toy").to(memory_format=torch.channels_last)
    optimizers = translator.optimizers(fused=False)
    loading.load_optimizers(tmp_path / "last", checkpoint.read(tmp_path / "last"), optimizers)
    weight = translator.get_submodule("generator")[0].weight
    assert weight.stride() == optimizers["generator"].state[weight]["exp_avg"].stride()
    assert not weight.is_contiguous()


def test_a_new_checkpoint_replaces_the_old_one(tmp_path: Path) -> None:
    save(tmp_path / "last", seed=1, step=10)
    expected = save(tmp_path / "last", seed=2, step=20)
    assert_holds(tmp_path / "last", expected)
    assert sorted(path.name for path in (tmp_path / "last").iterdir()) == [
        "checkpoint.json",
        "optimizers-00000020.safetensors",
        "weights-00000020.safetensors",
    ]


def test_a_copy_outlives_its_source(tmp_path: Path) -> None:
    expected = save(tmp_path / "last", seed=1, step=10)
    checkpoint.copy(tmp_path / "last", tmp_path / "best")
    save(tmp_path / "last", seed=2, step=20)
    assert_holds(tmp_path / "best", expected)


@pytest.mark.parametrize("same_step", [False, True])
def test_killed_at_any_stage_leaves_the_old_checkpoint_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_step: bool
) -> None:
    """Every file operation of a save is tried as the last one the process does, before and after it happens."""
    stages = 0
    for stage in range(100):
        folder = tmp_path / str(stage)
        old = save(folder, seed=1, step=10)
        calls = 0

        def dying(original: Callable[..., object], stage: int) -> Callable[..., object]:
            def call(*arguments: object, **settings: object) -> object:
                nonlocal calls
                calls += 1
                if calls == stage:
                    raise Killed
                result = original(*arguments, **settings)
                calls += 1
                if calls == stage:
                    raise Killed
                return result

            return call

        with monkeypatch.context() as patch:
            for owner, name in (
                (Path, "replace"),
                (Path, "unlink"),
                (checkpoint, "save_file"),
                (checkpoint.json, "dump"),
            ):
                patch.setattr(owner, name, dying(getattr(owner, name), stage + 1))
            try:
                new = save(folder, seed=1 if same_step else 2, step=10 if same_step else 20)
            except Killed:
                stages += 1
                committed = checkpoint.read(folder).position.step
                new = trained(seed=1 if same_step else 2)[0].state_dict()
            else:
                assert_holds(folder, new)
                break
        assert_holds(folder, old if committed == 10 else new)
        assert_holds(folder, save(folder, seed=3, step=30))  # and the next save cleans up
        assert len(list(folder.iterdir())) == 3
    assert stages >= 12


def test_truncated_tensors_are_refused(run: Path) -> None:
    path = next((run / "checkpoints/best").glob("weights-*"))
    path.write_bytes(path.read_bytes()[:-10])
    with refuses(RunError, path, path.stat().st_size, path.stat().st_size + 10):
        loading.load_translator(run, device="cpu")
    loading.load_translator(run, "last", device="cpu")


def test_garbled_tensors_are_refused(run: Path) -> None:
    path = next((run / "checkpoints/best").glob("weights-*"))
    path.write_bytes(b"\xff" * path.stat().st_size)
    with refuses(RunError, path, "safetensors", but_not=("bytes",)):
        loading.load_translator(run, device="cpu")


@pytest.mark.parametrize("kind", ["weights", "optimizers"])
def test_a_flipped_byte_is_noticed_by_whoever_loads_the_file(run: Path, kind: str) -> None:
    folder = run / "checkpoints/best"
    path = next(folder.glob(f"{kind}-*"))
    content = bytearray(path.read_bytes())
    content[-5] ^= 0x10
    path.write_bytes(content)
    saved, (translator, optimizers) = checkpoint.read(folder), trained(seed=1)
    load = {
        "weights": lambda: loading.read_weights(folder, saved, translator, "weights"),
        "optimizers": lambda: loading.load_optimizers(folder, saved, optimizers),
    }[kind]
    with refuses(RunError, path, "SHA-256"):
        load()
    loading.load_translator(run, "last", device="cpu")


def test_a_checkpoint_from_before_hashes_loads_with_a_note(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = run / "checkpoints/best/checkpoint.json"
    document = json.loads(path.read_text())
    del document["sha256"]
    path.write_text(json.dumps(document))
    with refuses(RunError, path):
        loading.load_translator(run, device="cpu")
    path.write_text(json.dumps(document | {"format": 1}))
    loading.load_translator(run, device="cpu")
    assert re.search(r"weights-00000006.safetensors: .* before hashes were kept", caplog.text)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_in_the_place_of_weights_is_called_one(run: Path, zipped: bool) -> None:
    path = next((run / "checkpoints/best").glob("weights-*"))
    torch.save({"a": torch.zeros(3)}, path, _use_new_zipfile_serialization=zipped)
    with refuses(RunError, path, "safetensors", "pickle", "torch.save", "s1s2 train"):
        loading.load_translator(run, device="cpu")
    with refuses(RunError, path, "safetensors", "pickle", "s1s2 train"):
        loading.load_translator(path, device="cpu")


def test_weights_named_like_a_pickle_are_refused(run: Path) -> None:
    path = run / "checkpoints/best/checkpoint.json"
    document = json.loads(path.read_text())
    weights = path.parent / document["files"]["weights"]
    weights.rename(weights.with_suffix(".pt"))
    document["files"]["weights"] = weights.with_suffix(".pt").name
    path.write_text(json.dumps(document))
    with refuses(RunError, path.parent / "weights-00000006.pt", "pickle"):
        loading.load_translator(run, device="cpu")


@pytest.mark.parametrize("name", ["w" * 300, "a\0b", "../weights-00000006.safetensors"])
def test_names_that_no_file_beside_it_has_are_refused(run: Path, name: str) -> None:
    path = run / "checkpoints/best/checkpoint.json"
    document = json.loads(path.read_text())
    document["files"]["weights"] = name
    path.write_text(json.dumps(document))
    with refuses(RunError, path.parent):
        loading.load_translator(run, device="cpu")


def test_a_saved_optimizer_without_a_value_is_refused(run: Path) -> None:
    path = run / "checkpoints/last/checkpoint.json"
    document = json.loads(path.read_text())
    next(iter(document["optimizers"].values()))["param_groups"][0]["betas"] = None
    path.write_text(json.dumps(document))
    _, optimizers = trained(seed=1)
    with refuses(RunError, "betas", "None"):
        loading.load_optimizers(path.parent, checkpoint.read(path.parent), optimizers)


def test_a_run_predicts_arrays_in_physical_units(run: Path) -> None:
    loaded = loading.load_translator(run, device="cpu")
    side, task = loaded.translator.config.patch_multiple, loaded.translator.task
    images = {
        stack.key: np.full((2, len(stack.bands), side, side), -10.0 if stack.sensor == "s1" else 0.1)
        for stack in task.inputs
    }
    images[task.inputs[0].key][1, 0, 3, 3] = np.nan
    found = loaded.predict(images)
    assert found.shape == (2, len(task.target.bands), side, side)
    assert np.argwhere(np.isnan(found)).tolist() == [[1, band, 3, 3] for band in range(len(task.target.bands))]
    low, high = loaded.scaling.s1_ranges_db["VV"]
    assert np.nanmin(found) >= low
    assert np.nanmax(found) <= high
    with refuses(RunError, *images):
        loaded.predict({})
    key = task.inputs[0].key
    with refuses(RunError, key, (2, 9, side, side)):
        loaded.predict(images | {key: np.zeros((2, 9, side, side))})


def test_truncated_json_is_refused(run: Path) -> None:
    path = run / "checkpoints/best/checkpoint.json"
    path.write_text(path.read_text()[:200])
    with refuses(RunError, path):
        loading.load_translator(run, device="cpu")


def test_missing_tensors_are_refused(run: Path) -> None:
    path = next((run / "checkpoints/best").glob("optimizers-*"))
    size = path.stat().st_size
    path.unlink()
    with refuses(RunError, path, 0, size):
        loading.load_translator(run, device="cpu")


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.ckpt", "model.pkl", "anything"])
def test_pickle_is_refused_unopened(tmp_path: Path, name: str) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return pytest.fail, ("the pickle was opened",)

    (tmp_path / name).write_bytes(pickle.dumps(Trap()))
    with refuses(RunError, tmp_path / name, ".pt", ".pth", ".ckpt", "safetensors", "s1s2 train"):
        loading.load_translator(tmp_path / name, device="cpu")


def test_weights_of_another_network_are_refused(run: Path) -> None:
    wider = zoo.create("toy", {"width": "5"})
    folder = run / "checkpoints/best"
    with refuses(RunError, folder, "toy", "discriminator.0.weight", "(4, 4, 4, 4)", "(5, 4, 4, 4)"):
        loading.read_weights(folder, checkpoint.read(folder), wider, "weights")


def test_optimizers_of_another_network_are_refused(run: Path) -> None:
    folder = run / "checkpoints/best"
    optimizers = {"generator": zoo.create("toy").optimizers(fused=False)["generator"]}
    with refuses(RunError, folder, "generator", "discriminator"):
        loading.load_optimizers(folder, checkpoint.read(folder), optimizers)


def test_unknown_network_in_a_checkpoint_is_refused(run: Path) -> None:
    path = run / "checkpoints/best/checkpoint.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"network": "tsgun"}))
    with refuses(RunError) as caught:
        loading.load_translator(run, device="cpu")
    assert_suggests(str(caught.value), "tsgun", "tsgan", (*zoo.names(), *zoo.aliases()))


def test_other_format_is_refused(run: Path) -> None:
    path = run / "checkpoints/best/checkpoint.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with refuses(RunError, path, 99, 1, 2):
        loading.load_translator(run, device="cpu")


def test_missing_run_and_run_without_checkpoint(tmp_path: Path) -> None:
    with refuses(RunError, tmp_path / "nowhere", "s1s2 train", but_not=("checkpoint.json",)):
        loading.load_translator(tmp_path / "nowhere", device="cpu")
    with refuses(RunError, "best", tmp_path / "checkpoints/best/checkpoint.json"):
        loading.load_translator(tmp_path, device="cpu")


def test_unknown_device_is_refused(run: Path) -> None:
    with refuses(RunError, "tpu", "auto", "cpu", "cuda", "cuda:N"):
        loading.load_translator(run, device="tpu")
