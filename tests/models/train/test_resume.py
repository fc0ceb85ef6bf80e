"""Going on with a run: on other devices, in its precision, before its first checkpoint, from old and from damaged files."""

import json
import logging
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
from safetensors.torch import load_file
from torch import Tensor

from models import zoo
from models.data.dataset import PairDataset
from models.data.loader import EpochBatches
from models.hardware import choose_hardware
from models.runs import checkpoint
from models.runs.folder import LOCK_FILE
from models.runs.record import read_record
from models.scaling import Scaling
from models.train.loop import RunResult, train
from s1s2pairs.errors import RunError
from tests.refusals import refuses

pytestmark = pytest.mark.usefixtures("toy_networks")
RUN_TOY = Path(__file__).parents[1] / "run_toy.py"
ROOT = Path(__file__).parents[3]
PLAIN = {"workers": "0", "pictures": "0"}

Trainer = Callable[..., RunResult]


@pytest.fixture
def toy(tiny_dataset: Path, tmp_path: Path) -> Trainer:
    """Train the toy network on the tiny dataset (8 samples) into `tmp_path/<name>`; settings are keyword arguments."""

    def run(name: str, *, resume: Path | None = None, precision: str | None = None, **settings: object) -> RunResult:
        given = PLAIN | {key: str(value) for key, value in settings.items()}
        out = None if resume else tmp_path / name
        return train(
            "toy", tiny_dataset, out=out, resume=resume, settings=given, device="cpu", precision=precision, quiet=True
        )

    return run


def on_two_processes(
    dataset: Path, out: Path | str, *settings: str, network: str = "toy"
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(RUN_TOY)]
    command += [network, str(dataset), str(out), *(f"{key}={value}" for key, value in PLAIN.items()), *settings]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr
    return done


def tensors(run: Path, kind: str = "weights", which: str = "last") -> dict[str, Tensor]:
    return load_file(next((run / "checkpoints" / which).glob(f"{kind}-*.safetensors")))


def assert_same_run(one: Path, other: Path, *, metrics: bool = True) -> None:
    for kind in ("weights", "optimizers"):
        first, second = tensors(one, kind), tensors(other, kind)
        assert first.keys() == second.keys()
        for key, value in first.items():
            assert torch.equal(value, second[key]), key
    values = [
        [line for line in (run / "metrics.csv").read_text().splitlines() if "samples_per_s" not in line]
        for run in (one, other)
    ]
    assert values[0] == values[1] or not metrics


def order_of(dataset: Path, epoch: int, seed: int = 0) -> list[int]:
    """All samples of the train split in the order of an epoch, worked out with batches of one."""
    data = PairDataset(dataset, zoo.create("toy").task, split="train", scaling=Scaling())
    batches = EpochBatches(data, batch_size=1, seed=seed)
    batches.epoch = epoch
    return [batch[0].sample for batch in batches]


class TestAnotherNumberOfProcesses:
    @pytest.mark.parametrize("used", [0, 2, 4, 6])
    def test_an_epoch_goes_on_behind_the_samples_it_has_had(self, tiny_dataset: Path, used: int) -> None:
        order = order_of(tiny_dataset, 0)
        data = PairDataset(tiny_dataset, zoo.create("toy").task, split="train", scaling=Scaling())
        for processes in (1, 2, 3):
            steps = []
            for rank in range(processes):
                batches = EpochBatches(data, batch_size=1, seed=0, rank=rank, world_size=processes)
                batches.first = used
                steps.append([batch[0].sample for batch in batches])
            seen = [number for step in zip(*steps, strict=True) for number in step]
            assert seen == order[used : used + (8 - used) // processes * processes]

    def test_from_two_processes_to_one(
        self, toy: Trainer, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = tmp_path / "run"
        on_two_processes(tiny_dataset, run, "batch_size=1", "epochs=2", "max_steps=3")
        saved = checkpoint.read(run / "checkpoints/last").position
        assert (saved.epoch, saved.step, saved.samples_in_epoch) == (0, 3, 6)
        used: list[int] = []
        begin = "models.train.log.LossMeter.begin_step"
        monkeypatch.setattr(begin, lambda self, step, numbers: used.extend(numbers.tolist()))
        result = toy("run", resume=run, max_steps="none")
        assert used == order_of(tiny_dataset, 0)[6:] + order_of(tiny_dataset, 1)
        assert (result.steps, result.epochs) == (3 + 2 + 8, 2)
        record = read_record(run)
        assert (record.processes, record.resumed[-1]["processes"]) == (2, 1)

    @pytest.mark.parametrize(("stopped_after", "more"), [(1, 1), (2, 1), (3, 0)])
    def test_from_one_process_to_two(self, toy: Trainer, tiny_dataset: Path, stopped_after: int, more: int) -> None:
        """Four steps an epoch become two; after three of four, what is left fills no step of two processes."""
        run = toy("run", batch_size=2, epochs=3, max_steps=stopped_after).run
        done = on_two_processes(tiny_dataset, f"--resume={run}", "max_steps=none")
        position = checkpoint.read(run / "checkpoints/last").position
        assert (position.epoch, position.samples_in_epoch, position.step) == (3, 0, stopped_after + more + 4)
        assert read_record(run).status == "finished"
        said = "goes on with 2 processes instead of 1"
        assert done.stderr.count(said) == 1

    def test_an_old_checkpoint_counts_in_steps_of_the_processes_that_made_them(
        self, toy: Trainer, caplog: pytest.LogCaptureFixture
    ) -> None:
        whole = toy("whole", dropout=0.5).run
        part = toy("part", dropout=0.5, max_steps=5).run
        path = part / "checkpoints/last/checkpoint.json"
        document = json.loads(path.read_text())
        assert document["position"].pop("samples_in_epoch") == 2
        del document["sha256"]
        document["position"]["step_in_epoch"], document["format"] = 1, 1
        path.write_text(json.dumps(document))
        toy("part", resume=part, max_steps="none")
        assert_same_run(part, whole, metrics=False)  # the log has one row more, where the part ended
        assert "before hashes were kept" in caplog.text


def test_a_run_from_before_a_setting_was_there_goes_on_without_it(toy: Trainer) -> None:
    """`channels_last` could be none, which meant yes on CUDA and no on a CPU."""
    whole, part = toy("whole").run, toy("part", max_steps=5).run
    record = json.loads((part / "run.json").read_text())
    for key in ("accumulate", "ema", "select", "patience"):
        del record["training"][key]
    assert record.pop("init") is None
    assert record["training"]["channels_last"] is False
    record["training"]["channels_last"] = None
    (part / "run.json").write_text(json.dumps(record))
    path = part / "checkpoints/last/checkpoint.json"
    document = json.loads(path.read_text())
    assert document["position"].pop("epochs_since_best") == 0
    path.write_text(json.dumps(document))
    toy("part", resume=part, max_steps="none")
    assert_same_run(part, whole, metrics=False)


class TestPrecision:
    def test_the_runs_own_is_kept(self, toy: Trainer) -> None:
        whole = toy("whole", precision="bf16-mixed").run
        part = toy("part", precision="bf16-mixed", max_steps=4).run
        toy("part", resume=part, max_steps="none")
        assert read_record(part).resumed[-1]["precision"] == "bf16-mixed"
        assert_same_run(part, whole)

    def test_another_is_taken_when_asked_for_and_said(self, toy: Trainer, caplog: pytest.LogCaptureFixture) -> None:
        run = toy("run", precision="bf16-mixed", max_steps=4).run
        toy("run", resume=run, precision="32-true", max_steps=5)
        assert "goes on in precision 32-true, as asked; it was trained in bf16-mixed up to step 4" in caplog.text
        caplog.clear()
        toy("run", resume=run, max_steps="none")
        assert [entry["precision"] for entry in read_record(run).resumed] == ["32-true", "32-true"]
        assert "precision" not in caplog.text

    def test_one_that_the_device_lacks_is_refused(self) -> None:
        with refuses(RunError, "16-mixed", "GPU", "--precision"):
            choose_hardware("cpu", None, None, kept="16-mixed")
        assert choose_hardware("cpu", None, "bf16", kept="16-mixed").precision == "bf16-mixed"


class TestBeforeTheFirstCheckpoint:
    """A run killed in its first epoch, as it lies there: a record, rows of metrics, pictures, half a checkpoint."""

    @pytest.fixture
    def killed(self, toy: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        def die(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, "_commit", die)
            with pytest.raises(KeyboardInterrupt):
                toy("killed", dropout=0.5, log_every_steps=1)
        run = tmp_path / "killed"
        (run / "run.json").write_text((run / "run.json").read_text().replace('"stopped"', '"running"'))
        (run / ".run.json.abc.part").write_text("{")
        (run / LOCK_FILE).touch()
        assert list((run / "checkpoints/last").glob("weights-*"))
        return run

    @pytest.mark.parametrize("again", ["the same command", "--resume"])
    def test_it_starts_anew_and_ends_like_an_undisturbed_one(self, killed: Path, toy: Trainer, again: str) -> None:
        whole = toy("whole", dropout=0.5, log_every_steps=1).run
        if again == "--resume":
            toy("killed", resume=killed)
        else:
            toy("killed", dropout=0.5, log_every_steps=1)
        assert_same_run(killed, whole)
        names = [sorted(path.name for path in run.rglob("*") if "tfevents" not in path.name) for run in (killed, whole)]
        assert names[0] == names[1]
        assert len(list((killed / "tensorboard").iterdir())) == 1
        assert read_record(killed).status == "finished"
        assert read_record(killed).resumed == ()

    def test_other_settings_do_not_delete_it(self, killed: Path, toy: Trainer) -> None:
        with refuses(RunError, killed, "training", "--resume", "--out"):
            toy("killed", dropout=0.5, log_every_steps=1, seed=3)
        with refuses(RunError, "seed", "epochs"):
            toy("killed", resume=killed, seed=3)
        assert (killed / "metrics.csv").stat().st_size > 100

    def test_a_run_under_way_is_left_alone_until_it_is_killed(
        self, toy: Trainer, tiny_dataset: Path, tmp_path: Path
    ) -> None:
        run = tmp_path / "busy"
        command = [sys.executable, str(RUN_TOY), "toy", str(tiny_dataset), str(run), "workers=0", "pictures=0"]
        busy = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT), "TOY_STALLS_AT": "3"})
        try:
            deadline = time.monotonic() + 120
            while not (run / "metrics.csv").exists():
                assert busy.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            for resume in (None, run):
                with refuses(RunError, run, "--out"):
                    toy("busy", resume=resume)
            assert (run / "metrics.csv").exists()
        finally:
            busy.send_signal(signal.SIGKILL)
            busy.wait()
        toy("busy")
        assert_same_run(run, toy("whole").run)
        assert not (run / LOCK_FILE).exists()

    def test_a_folder_with_a_checkpoint_is_never_begun_again(self, toy: Trainer, tmp_path: Path) -> None:
        run = toy("run", max_steps=1).run
        for which in ("best", "last"):
            with refuses(RunError, run, "--out", "--resume"):
                toy("run", max_steps=1)
            if which == "best":
                shutil.rmtree(run / "checkpoints" / which)


def test_a_flipped_byte_in_the_weights_stops_a_resumed_run(toy: Trainer, caplog: pytest.LogCaptureFixture) -> None:
    run = toy("run", max_steps=4).run
    for kind in ("optimizers", "weights"):
        path = next((run / "checkpoints/last").glob(f"{kind}-*"))
        whole = path.read_bytes()
        path.unlink()  # `best` may be the same file
        path.write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
        with caplog.at_level(logging.WARNING), refuses(RunError, path, "SHA-256"):
            toy("run", resume=run, max_steps="none")
        path.write_bytes(whole)
    assert toy("run", resume=run, max_steps="none").epochs == 2
