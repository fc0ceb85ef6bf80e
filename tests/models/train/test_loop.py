"""The loop: equal to a step written by hand, repeatable, resumable, unharmed by kills, and clear when it cannot go on."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from models import zoo
from models.blocks.losses import masked_l1
from models.data.dataset import PairDataset
from models.data.loader import EpochBatches
from models.evaluate.evaluate import evaluate
from models.runs import checkpoint, loading
from models.scaling import Scaling
from models.train.loop import RunResult, train
from models.translator import TrainingProgress
from s1s2pairs.dataset.storage import Storage
from s1s2pairs.errors import DatasetError, RunError
from tests.refusals import assert_suggests, refuses

INDEX_FILE = "index.parquet"
pytestmark = pytest.mark.usefixtures("toy_networks")

Trainer = Callable[..., RunResult]
RUN_TOY = Path(__file__).parents[1] / "run_toy.py"


@pytest.fixture
def toy(tiny_dataset: Path, tmp_path: Path) -> Trainer:
    """Train the toy network on the tiny dataset into `tmp_path/<name>`; settings are keyword arguments."""

    def run(name: str, *, network: str = "toy", resume: Path | None = None, **settings: object) -> RunResult:
        plain = {"workers": "0", "pictures": "0"} | {key: str(value) for key, value in settings.items()}
        out = None if resume else tmp_path / name
        return train(network, tiny_dataset, out=out, resume=resume, settings=plain, device="cpu", quiet=True)

    return run


def weights(run: Path, which: str = "last") -> dict[str, Tensor]:
    return load_file(next((run / "checkpoints" / which).glob("weights-*.safetensors")))


def optimizer_state(run: Path) -> dict[str, Tensor]:
    return load_file(next((run / "checkpoints" / "last").glob("optimizers-*.safetensors")))


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_loop_equals_steps_written_by_hand(toy: Trainer, tiny_dataset: Path) -> None:
    """The classical order of a conditional GAN: D on the detached prediction, then G through the updated D."""
    run = toy("loop", epochs=2, decay_epochs=1, seed=5).run
    torch.manual_seed(5)
    net = zoo.create("toy")
    generator, discriminator = net.generator, net.discriminator
    adam = {part: torch.optim.Adam(getattr(net, part).parameters(), 1e-3, (0.5, 0.999)) for part in net.parts}
    data = PairDataset(tiny_dataset, net.task, split="train", scaling=Scaling())
    plan = EpochBatches(data, batch_size=2, seed=5)
    for plan.epoch in range(2):
        for optimizer in adam.values():
            optimizer.param_groups[0]["lr"] = 1e-3 * 0.5**plan.epoch
        for drawn in plan:
            batch = data.batch([draw.sample for draw in drawn])
            condition = torch.cat([batch["s2_t2"], batch["s1_t1"]], dim=1)
            prediction = generator(condition)
            real = discriminator(torch.cat([condition, batch["s1_t2"]], dim=1))
            fake = discriminator(torch.cat([condition, prediction.detach()], dim=1))
            adam["discriminator"].zero_grad()
            (0.5 * (functional.softplus(-real).mean() + functional.softplus(fake).mean())).backward()
            adam["discriminator"].step()
            adam["generator"].zero_grad()
            judged = functional.softplus(-discriminator(torch.cat([condition, prediction], dim=1))).mean()
            (judged + 100 * masked_l1(prediction, batch["s1_t2"], batch["valid"])).backward()
            adam["generator"].step()
    for key, value in weights(run).items():
        torch.testing.assert_close(value, net.state_dict()[key], atol=1e-6, rtol=1e-5)


def test_index_is_read_and_the_name_resolved_once(
    toy: Trainer, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, loads = [], []
    read_bytes, load = Path.read_bytes, zoo.load
    monkeypatch.setattr(Path, "read_bytes", lambda path: (reads.append(path), read_bytes(path))[1])
    monkeypatch.setattr(zoo, "load", lambda name: (loads.append(name), load(name))[1])
    run = toy("run", max_steps=1, width=8).run
    assert reads.count(tiny_dataset / INDEX_FILE) == 1
    assert loads == ["toy"]
    toy("run", resume=run, max_steps=2)
    assert reads.count(tiny_dataset / INDEX_FILE) == 2
    assert loads == ["toy", "toy"]
    evaluate([run], tiny_dataset, device="cpu")
    assert reads.count(tiny_dataset / INDEX_FILE) == 3


def test_learning_rate_falls_by_equal_steps_at_the_end() -> None:
    network = zoo.create("toy", {"epochs": "5", "decay_epochs": "3"})
    progress = [TrainingProgress(step=4 * epoch, epochs=float(epoch)) for epoch in range(5)]
    assert [network.learning_rate_factor("generator", at) for at in progress] == [1.0, 1.0, 0.75, 0.5, 0.25]
    assert {zoo.create("toy").learning_rate_factor("generator", at) for at in progress[:2]} == {1.0}
    with refuses(RunError, "decay_epochs", 16, 0, 15):
        zoo.create("pix2pix_opt2sar", {"decay_epochs": "16"})


def test_one_seed_gives_the_same_bits_and_another_seed_others(toy: Trainer) -> None:
    same = [weights(toy(name, deterministic=True, dropout=0.5, seed=1).run) for name in ("a", "b")]
    assert_same(*same)
    other = weights(toy("c", deterministic=True, dropout=0.5, seed=2).run)
    assert not torch.equal(other["generator.0.weight"], same[0]["generator.0.weight"])


@pytest.mark.parametrize("stopped_after", [1, 4, 6], ids=["mid first epoch", "at an epoch's end", "mid second epoch"])
def test_resumed_run_equals_an_undisturbed_one(toy: Trainer, stopped_after: int) -> None:
    settings = {"dropout": 0.5, "crop": 32}
    whole = toy("whole", **settings).run
    part = toy("part", **settings, max_steps=stopped_after).run
    assert json.loads((part / "checkpoints/last/checkpoint.json").read_text())["position"]["step"] == stopped_after
    toy("part", resume=part, max_steps="none")
    assert_same(weights(part), weights(whole))
    assert_same(optimizer_state(part), optimizer_state(whole))
    validated = [[row for row in rows(run) if row["split"] == "val" and row["step"] == "8"] for run in (part, whole)]
    assert validated[0] == validated[1] != []


def test_resumed_run_equals_an_undisturbed_one_with_channels_last(toy: Trainer) -> None:
    """Fused Adam walks weights and state in storage order; a layout meant for CUDA, tried on the CPU."""
    whole = toy("whole", channels_last=True).run
    part = toy("part", channels_last=True, max_steps=4).run
    toy("part", resume=part, max_steps="none")
    assert_same(weights(part), weights(whole))
    assert_same(optimizer_state(part), optimizer_state(whole))


def test_a_dataset_in_an_object_store_gives_the_same_run(
    toy: Trainer, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    store = Storage("memory://trained-on")
    for file in (path for path in tiny_dataset.rglob("*") if path.is_file() and ".cache" not in path.parts):
        store.write(file.relative_to(tiny_dataset).as_posix(), file.read_bytes())
    settings = {"workers": "0", "pictures": "0", "epochs": "2"}
    far = train("toy", store.url, out=tmp_path / "far", settings=settings, device="cpu", quiet=True).run
    assert_same(weights(far), weights(toy("near", epochs=2).run))
    assert json.loads((far / "run.json").read_text(encoding="utf-8"))["dataset"] == store.url
    assert train("toy", None, resume=far, settings={"epochs": "3"}, device="cpu", quiet=True).epochs == 3
    assert list((tmp_path / "caches" / "s1s2pairs").glob("*/s1.bin"))
    scored = [evaluate([far], data, device="cpu").rows for data in (store.url, tiny_dataset)]
    assert scored[0] == scored[1]


def test_run_goes_on_from_its_best_checkpoint_too(toy: Trainer) -> None:
    run = toy("run", epochs=1).run
    best = weights(run, "best")
    assert_same(best, weights(run))
    toy("run", resume=run / "checkpoints/best", epochs=2)
    assert_same(weights(run), weights(toy("whole", epochs=2).run))


def test_an_older_run_learns_its_pixel_size_when_it_goes_on(toy: Trainer) -> None:
    run = toy("run", max_steps=1).run
    record = json.loads((run / "run.json").read_text())
    assert record.pop("pixel_sizes_m") == [10.0]
    (run / "run.json").write_text(json.dumps(record))
    toy("run", resume=run, max_steps=2)
    assert json.loads((run / "run.json").read_text())["pixel_sizes_m"] == [10.0]


def test_metrics_have_each_step_once_after_a_resume(toy: Trainer) -> None:
    run = toy("run", max_steps=6, log_every_steps=1, checkpoint_every_steps=2).run
    with (run / "metrics.csv").open("a") as file:
        file.write("7,1,train,l1,0.1\n8,1,tra")  # written after the last checkpoint, the second line cut by a kill
    toy("run", resume=run, max_steps="none")
    steps = [row["step"] for row in rows(run) if row["metric"] == "l1" and row["split"] == "train"]
    assert steps == ["1", "2", "3", "4", "5", "6", "7", "8"]
    assert {row["split"] for row in rows(run)} == {"train", "val"}


def test_epochs_have_the_same_number_in_the_log_and_in_the_pictures(toy: Trainer) -> None:
    run = toy("run", epochs=2, pictures=1).run
    drawn = {int(path.name[5:9]) for path in (run / "samples").glob("epoch*.png")}
    assert {int(row["epoch"]) for row in rows(run)} == drawn == {1, 2}


def test_run_folder_holds_what_was_promised(tiny_dataset: Path, tmp_path: Path, toy: Trainer) -> None:
    run = toy("run", pictures=2, seed=3).run
    record = json.loads((run / "run.json").read_text())
    assert record["network"] == "toy"
    assert record["seed"] == 3
    assert record["task"]["target"] == {"sensor": "s1", "date": 1, "bands": ["VV"], "name": ""}
    assert record["config"]["learning_rate"] == 1e-3
    assert record["training"]["log_every_steps"] == 20
    assert Path(record["dataset"]) == tiny_dataset
    assert record["samples"] == {"train": 8, "val": 8}
    assert record["pixel_sizes_m"] == [10.0]
    assert record["status"] == "finished"
    assert record["versions"]["torch"] == torch.__version__
    assert set(record["git"]) == {"commit", "changed"}
    assert len(list((run / "samples").glob("epoch000[12]_*.png"))) == 4
    for which in ("last", "best"):
        names = sorted(path.suffix for path in (run / "checkpoints" / which).iterdir())
        assert names == [".json", ".safetensors", ".safetensors"]


def test_tensorboard_holds_losses_and_pictures(toy: Trainer) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = toy("run", pictures=1, log_every_steps=1).run
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    logged = {
        int(row["step"]): float(row["value"]) for row in rows(run) if (row["split"], row["metric"]) == ("train", "l1")
    }
    board = {event.step: event.value for event in events.Scalars("train/l1")}
    assert board == pytest.approx(logged, rel=1e-5)
    assert len(events.Images(events.Tags()["images"][0])) == 2


def test_a_narrower_reflectance_range_is_used_and_kept(toy: Trainer) -> None:
    run = toy("run", epochs=1, s2_range="0,0.3").run
    saved = checkpoint.read(run / "checkpoints/last")
    assert saved.scaling == Scaling(s2_range=(0.0, 0.3))
    assert not torch.equal(weights(run)["generator.0.weight"], weights(toy("wide", epochs=1).run)["generator.0.weight"])
    assert toy("run", resume=run, epochs=2).epochs == 2


def test_best_is_the_lowest_validation(toy: Trainer) -> None:
    run = toy("run", epochs=4, learning_rate=0.3).run
    scores = {
        int(row["step"]): float(row["value"]) for row in rows(run) if (row["split"], row["metric"]) == ("val", "l1")
    }
    best = json.loads((run / "checkpoints/best/checkpoint.json").read_text())["position"]
    assert scores[best["step"]] == min(scores.values())
    assert best["best_value"] == pytest.approx(min(scores.values()), rel=1e-6)


def test_without_val_split_best_is_last_and_said_so(
    tmp_path: Path, make_dataset: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    root = make_dataset(tmp_path / "data", size=32, splits=("train", "test"))
    settings = {"workers": "0", "pictures": "1"}
    run = train("toy", root, out=tmp_path / "run", settings=settings, device="cpu", quiet=True).run
    assert "no val split" in caplog.text
    assert json.loads((run / "run.json").read_text())["best_by"].startswith("last epoch")
    assert_same(weights(run, "best"), weights(run, "last"))


def test_progress_is_plain_lines_where_there_is_no_terminal(
    tiny_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"workers": "0", "pictures": "0"}
    train("toy", tiny_dataset, out=tmp_path / "loud", settings=settings, device="cpu")
    out, err = capsys.readouterr()
    assert out == ""
    first, *epochs = err.splitlines()
    assert first.endswith("loud: 8 steps on cpu; best checkpoint by lowest val L1")
    assert [line.split(", psnr")[0].rsplit(" ", 1)[0] for line in epochs] == [
        "epoch 1/2, step 4/8: val l1",
        "epoch 2/2, step 8/8: val l1",
    ]
    train("toy", tiny_dataset, out=tmp_path / "quiet", settings=settings, device="cpu", quiet=True)
    assert capsys.readouterr() == ("", "")


def test_bf16_keeps_weights_in_float32_and_comes_near(toy: Trainer, tiny_dataset: Path, tmp_path: Path) -> None:
    settings = {"workers": "0", "pictures": "0"}
    mixed = train(
        "toy", tiny_dataset, out=tmp_path / "mixed", settings=settings, device="cpu", precision="bf16-mixed", quiet=True
    ).run
    full = weights(toy("full").run)
    for key, value in weights(mixed).items():
        assert value.dtype == torch.float32
        assert not torch.equal(value, full[key]) or "bias" in key
        torch.testing.assert_close(value, full[key], atol=0.02, rtol=0)


def test_16_mixed_clips_and_goes_on_with_its_loss_scale(toy: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only GPUs are allowed to do, done on the CPU: the loss scaler's state must survive the checkpoint."""

    def half(_: object) -> Fabric:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
        plugin = MixedPrecision(precision="16-mixed", device="cpu", scaler=scaler)
        return Fabric(accelerator="cpu", devices=1, plugins=[plugin])

    monkeypatch.setattr("models.train.setup.make_fabric", half)
    whole = toy("whole", clip_norm=0.1).run
    part = toy("part", clip_norm=0.1, max_steps=4).run
    scaled = checkpoint.read(part / "checkpoints/last").precision_state
    assert scaled["scale"] != 2**10, "the scale has moved"
    toy("part", resume=part, max_steps="none")
    assert checkpoint.read(part / "checkpoints/last") == checkpoint.read(whole / "checkpoints/last")
    assert_same(weights(part), weights(whole))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", [None, "16-mixed", "32-true"])
def test_run_on_a_gpu_goes_on_where_it_stopped(tiny_dataset: Path, tmp_path: Path, precision: str | None) -> None:
    """Defaults of CUDA: bf16-mixed, fused Adam, pinned memory; and the layout that one may ask for there."""

    def run(name: str, resume: Path | None = None, **settings: str) -> Path:
        out = None if resume else tmp_path / name
        given = {"workers": "2", "pictures": "0", "channels_last": "true", **settings}
        return train(
            "toy", tiny_dataset, out=out, resume=resume, settings=given, device="cuda", precision=precision, quiet=True
        ).run

    whole, part = run("whole", clip_norm="1"), run("part", clip_norm="1", max_steps="4")
    run("part", resume=part, max_steps="none")
    for key, value in weights(whole).items():
        torch.testing.assert_close(weights(part)[key], value, atol=1e-4, rtol=1e-3)


def test_networks_of_the_zoo_train(tmp_path: Path, make_dataset: Callable[..., Path]) -> None:
    root = make_dataset(tmp_path / "data", size=128, splits=("train",), rois=1)
    settings = {"workers": "0", "pictures": "1", "width": "2", "epochs": "1", "batch_size": "2"}
    result = train("tsgan_v3", root, out=tmp_path / "run", settings=settings, device="cpu", quiet=True)
    assert result.steps == 2
    loaded = loading.load_translator(result.run, "last", device="cpu")
    assert loaded.checkpoint.network == "tsgan"
    assert loaded.checkpoint.config["version"] == "v3"


def test_two_processes_equal_one_with_the_double_batch(toy: Trainer, tmp_path: Path) -> None:
    one = weights(toy("one", batch_size=4, epochs=3).run)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [
        str(RUN_TOY),
        "toy",
        str(Path(json.loads((tmp_path / "one/run.json").read_text())["dataset"])),
    ]
    command += [str(tmp_path / "two"), "batch_size=2", "epochs=3", "workers=0", "pictures=1"]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    two = weights(tmp_path / "two")
    assert one.keys() == two.keys()
    for key in one:
        torch.testing.assert_close(two[key], one[key], atol=1e-6, rtol=0)
    assert json.loads((tmp_path / "two/run.json").read_text())["processes"] == 2
    validated = [
        [float(row["value"]) for row in rows(tmp_path / run) if row["split"] == "val"] for run in ("one", "two")
    ]
    assert validated[0] == pytest.approx(validated[1], rel=1e-5)


def test_command_on_two_processes_says_everything_once(tmp_path: Path, make_dataset: Callable[..., Path]) -> None:
    root = make_dataset(tmp_path / "data", size=128, splits=("train",), rois=1, patches=1)
    settings = ("width=4", "max_steps=1", "batch_size=1", "workers=0", "pictures=0")
    done = subprocess.run(
        [Path(sys.executable).with_name("s1s2"), "train", "tsgan", "--data", root, "--out", tmp_path / "run", "--device", "cpu",
         "--devices", "2", "--precision", "bf16", "--set", *settings],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == [f"{tmp_path / 'run'}: 1 epochs, 1 steps"]
    assert "lightning" not in done.stderr.lower()
    assert "MEMBER" not in done.stderr


def test_kill_leaves_a_whole_last_from_which_the_run_goes_on(toy: Trainer, tmp_path: Path) -> None:
    settings = ["epochs=6", "checkpoint_every_steps=1", "workers=0", "pictures=0"]
    whole = toy("whole", **dict(pair.split("=") for pair in settings))
    dataset = json.loads((whole.run / "run.json").read_text())["dataset"]
    run = tmp_path / "killed"
    command = [sys.executable, str(RUN_TOY), "toy", dataset, str(run), *settings]
    killed = subprocess.Popen(command, env={**os.environ, "TOY_STALLS_AT": "9"})
    last = run / "checkpoints/last/checkpoint.json"
    deadline = time.monotonic() + 120
    while not last.exists() or json.loads(last.read_text())["position"]["step"] < 8:
        assert killed.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    stopped_at = checkpoint.read(run / "checkpoints/last").position.step
    assert stopped_at == 8 < whole.steps
    toy("killed", resume=run)
    assert_same(weights(run), weights(whole.run))


def test_loss_that_is_no_number_stops_before_it_harms_anything(
    toy: Trainer, tmp_path: Path, tiny_dataset: Path
) -> None:
    poisoned = 5
    data = PairDataset(tiny_dataset, zoo.create("toy").task, split="train", scaling=Scaling())
    order = [[draw.sample for draw in drawn] for drawn in EpochBatches(data, batch_size=2, seed=0)]
    step = next(place for place, numbers in enumerate(order) if poisoned in numbers)
    with refuses(RunError, step + 1, *(data.samples[number].patch_id for number in order[step])):
        toy("run", poisoned_sample=poisoned, checkpoint_every_steps=1)
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "stopped"
    if step:
        saved = checkpoint.read(tmp_path / "run/checkpoints/last")
        assert saved.position.step == step
        assert all(torch.isfinite(value).all() for value in weights(tmp_path / "run").values())


def test_out_of_memory_says_what_to_lower(toy: Trainer) -> None:
    with refuses(RunError, "batch_size", "crop", "width", "--precision bf16-mixed"):
        toy("run", hog_bytes=1 << 60)


def test_reading_processes_give_the_same_weights(toy: Trainer) -> None:
    assert_same(weights(toy("none", workers=0).run), weights(toy("two", workers=2).run))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile on a CPU needs g++")
@pytest.mark.filterwarnings("ignore")  # torch.compile warns of its own doings
def test_compiled_run_comes_near_and_its_checkpoint_fits_a_plain_one(toy: Trainer) -> None:
    compiled = toy("compiled", compile="true", epochs=1).run
    for key, value in weights(toy("plain", epochs=1).run).items():
        torch.testing.assert_close(weights(compiled)[key], value, atol=1e-4, rtol=0)
    assert toy("compiled", resume=compiled, compile="false", epochs=2).epochs == 2


def test_a_run_killed_after_its_last_step_is_completed(toy: Trainer) -> None:
    run = toy("run").run
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"status": "running", "result": {}}))
    last = run / "checkpoints" / "last"
    whole = sorted(path.name for path in last.iterdir())
    (last / "weights-00000001.safetensors").write_bytes(b"of the checkpoint before")
    (last / "checkpoint.json.partial").write_bytes(b"{")
    toy("run", resume=run)
    again = json.loads((run / "run.json").read_text())
    assert again["status"] == "finished"
    assert again["result"]["steps"] == record["result"]["steps"]
    assert sorted(path.name for path in last.iterdir()) == whole
    with pytest.raises(RunError):
        toy("run", resume=run)


def test_best_is_made_up_for_after_a_kill_between_last_and_best(toy: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    run = toy("run", epochs=1).run
    shutil.rmtree(run / "checkpoints/best")

    def stop(*_: object) -> None:
        raise RunError("stopped")

    monkeypatch.setattr("models.networks.toy.Network.training_step", stop)
    with pytest.raises(RunError, match="stopped"):
        toy("run", resume=run, epochs=2)
    assert_same(weights(run, "best"), weights(run, "last"))


def test_clipping_limits_the_step(toy: Trainer) -> None:
    free, clipped = weights(toy("free").run), weights(toy("clipped", clip_norm=1e-9).run)
    torch.manual_seed(0)
    start = zoo.create("toy").state_dict()
    key = "generator.0.weight"
    # Adam divides by the gradient's size, so clipping shows only where its epsilon of 1e-8 takes over.
    assert (clipped[key] - start[key]).norm() < 0.2 * (free[key] - start[key]).norm()


class TestRefusals:
    def test_an_alias_of_other_settings_than_the_runs(self, toy: Trainer) -> None:
        run = toy("run", network="toy_narrow", epochs=1).run
        with refuses(RunError, "toy_wide", "width=8", run / "checkpoints/last", "width=4", "s1s2 train toy"):
            toy("run", network="toy_wide", resume=run, epochs=2)
        assert toy("run", network="toy_narrow", resume=run, epochs=2).epochs == 2

    def test_an_alias_of_a_switch_goes_on_with_its_run(self, tiny_dataset: Path, tmp_path: Path) -> None:
        settings = {
            "width": "2",
            "downsample": "4",
            "residual_blocks": "1",
            "epochs": "1",
            "workers": "0",
            "pictures": "0",
        }
        run = train("mtcnn", tiny_dataset, out=tmp_path / "run", settings=settings, device="cpu", quiet=True).run
        settings = {"epochs": "2"}
        with refuses(RunError, "cnn", "multitemporal=false", run / "checkpoints/last", "multitemporal=True", "mtcgan"):
            train("cnn", tiny_dataset, resume=run, settings=settings, device="cpu", quiet=True)
        assert train("mtcnn", tiny_dataset, resume=run, settings=settings, device="cpu", quiet=True).epochs == 2

    def test_unknown_network(self, toy: Trainer) -> None:
        with refuses(RunError) as caught:
            toy("run", network="tsgann")
        assert_suggests(str(caught.value), "tsgann", "tsgan", (*zoo.names(), *zoo.aliases()))

    def test_unknown_setting_names_the_nearest(self, toy: Trainer) -> None:
        with refuses(RunError) as caught:
            toy("run", batchsize=3)
        assert_suggests(str(caught.value), "batchsize", "batch_size", zoo.create("toy").config.values())

    def test_wrong_type_names_the_right_one(self, toy: Trainer) -> None:
        with refuses(RunError, "epochs", "many", "whole number"):
            toy("run", epochs="many")
        with refuses(RunError, "seed", "x", "whole number"):
            toy("run", seed="x")

    def test_folder_with_something_in_it(self, toy: Trainer, tmp_path: Path) -> None:
        toy("run", max_steps=1)
        with refuses(RunError, tmp_path / "run", "--out", "--resume"):
            toy("run", max_steps=1)

    def test_checkpoint_of_another_network(self, toy: Trainer) -> None:
        run = toy("run", max_steps=1).run
        with refuses(RunError, run / "checkpoints/last", "toy", "tsgan", "s1s2 train toy"):
            toy("run", network="tsgan", resume=run)

    def test_setting_that_would_change_what_is_learned(self, toy: Trainer) -> None:
        run = toy("run", max_steps=1).run
        with refuses(RunError, "seed", "epochs", "max_steps"):
            toy("run", resume=run, seed=2)

    def test_finished_run(self, toy: Trainer) -> None:
        run = toy("run").run
        with refuses(RunError, run, 8, 2, "--set epochs=N", "--set max_steps=N"):
            toy("run", resume=run)

    def test_other_data(self, toy: Trainer, tmp_path: Path, make_dataset: Callable[..., Path]) -> None:
        run = toy("run", max_steps=1).run
        other = make_dataset(tmp_path / "other", seed=9)
        with refuses(DatasetError, other, "SHA-256"):
            train("toy", other, resume=run, settings={"max_steps": "none"}, device="cpu", quiet=True)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
    def test_cuda_without_a_gpu(self, tiny_dataset: Path, tmp_path: Path) -> None:
        with refuses(RunError, "cuda", 0, "--device cpu"):
            train("toy", tiny_dataset, out=tmp_path / "run", device="cuda", quiet=True)
        assert not (tmp_path / "run").exists()

    def test_unknown_precision(self, tiny_dataset: Path, tmp_path: Path) -> None:
        with refuses(RunError, "8", "16-mixed", "32-true", "bf16-mixed"):
            train("toy", tiny_dataset, out=tmp_path / "run", device="cpu", precision="8", quiet=True)
        with refuses(RunError, "16-mixed", "GPU", "32-true", "bf16-mixed"):
            train("toy", tiny_dataset, out=tmp_path / "run", device="cpu", precision="16-mixed", quiet=True)

    def test_more_samples_per_step_than_there_are(self, toy: Trainer, tmp_path: Path) -> None:
        with refuses(RunError, 8, 9, "batch_size=N"):
            toy("run", batch_size=9)
        assert not (tmp_path / "run").exists(), "a refused run leaves no folder"
