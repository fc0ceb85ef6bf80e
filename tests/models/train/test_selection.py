"""What chooses the best checkpoint, and when a run stops because nothing gets better."""

from pathlib import Path

import numpy as np
import pytest

from models.evaluate.evaluate import evaluate
from models.metrics.names import METRICS
from models.runs import checkpoint
from models.train.selection import select_by
from s1s2pairs.errors import RunError
from tests.models.conftest import patch_values, write_dataset
from tests.refusals import assert_suggests, refuses

from .helpers import Toy, assert_same, figures, record, tensors
from .test_resume import on_two_processes

STILL = {"learning_rate": 1e-30, "epochs": 10}
"""A training in which nothing changes."""


def evaluated(run: Path, dataset: Path, metric: str, ground: str) -> float:
    found = evaluate([run], dataset, split="val", device="cpu")
    (row,) = (
        row
        for row in found.rows
        if (row.run, row.metric, row.ground) == (run.name, metric, ground)
        and (row.direction, row.roi, row.band) == ("both", None, None)
    )
    assert row.value is not None
    return row.value


@pytest.mark.parametrize(
    ("figure", "metric", "ground"),
    [("psnr", "psnr", "all"), ("psnr_changed", "psnr", "changed"), ("rmse_db_unchanged", "rmse_db", "unchanged"),
     ("kge", "kge", "all"), ("hf_ratio", "hf_ratio", "all")],
)  # fmt: skip
@pytest.mark.parametrize("rate", [0.3, 1])
def test_best_is_what_the_evaluation_says(toys: Toy, figure: str, metric: str, ground: str, rate: float) -> None:
    """A rate of 0.3 makes it better from epoch to epoch, one of 1 worse."""
    run = toys("run", select=figure, epochs=4, learning_rate=rate).run
    saved = checkpoint.read(run / "checkpoints/best").position
    assert saved.best_value == pytest.approx(evaluated(run, toys.dataset, metric, ground), rel=1e-6)
    values = figures(run, figure)
    assert list(values) == [4, 8, 12, 16]
    assert saved.best_step == max(values, key=lambda step: METRICS[metric].better(values[step]))
    result = record(run)["result"]
    assert result["best"] == {figure: saved.best_value}
    assert (result["best_l1"], result["best_step"]) == (None, saved.best_step)
    assert figure in record(run)["best_by"]
    assert set(figures(run, "l1")) == set(values)


def test_psnr_on_the_networks_scale_chooses_the_highest(toys: Toy) -> None:
    run = toys("run", select="psnr_db", epochs=4, learning_rate=1).run
    values = figures(run, "psnr_db")
    assert (
        checkpoint.read(run / "checkpoints/best").position.best_step == max(values, key=lambda step: values[step]) < 16
    )
    assert record(run)["best_by"] == "highest psnr_db on the val split"


def test_a_run_resumed_goes_on_to_choose(toys: Toy) -> None:
    settings = {"select": "ssim_changed", "epochs": 4, "learning_rate": 0.3}
    whole = toys("whole", **settings).run
    part = toys("part", **settings, max_steps=6).run
    toys("part", resume=part, max_steps="none")
    for which in ("best", "last"):
        assert_same(tensors(part, which=which), tensors(whole, which=which))
    assert figures(part, "ssim_changed").items() >= figures(whole, "ssim_changed").items()


def test_two_processes_come_to_the_same_figure(toys: Toy, tmp_path: Path) -> None:
    one = toys("one", batch_size=4, select="psnr_changed").run
    on_two_processes(toys.dataset, tmp_path / "two", "batch_size=2", "select=psnr_changed")
    assert figures(tmp_path / "two", "psnr_changed") == pytest.approx(figures(one, "psnr_changed"), rel=1e-5)


def test_a_network_without_a_reference_is_scored_on_changed_ground_too(tmp_path: Path, toys: Toy) -> None:
    data = write_dataset(tmp_path / "data", size=256, splits=("train", "val"), rois=1, patches=1)
    settings = {"width": 2, "epochs": 1, "batch_size": 1, "crop": 256, "select": "psnr_changed"}
    run = toys("run", network="pix2pix_opt2sar", data=data, **settings).run
    saved = checkpoint.read(run / "checkpoints/best").position
    assert saved.best_value == pytest.approx(evaluated(run, data, "psnr", "changed"), rel=1e-6)


class TestPatience:
    def test_a_run_stops_after_so_many_epochs_without_a_better_figure(self, toys: Toy) -> None:
        result = toys("run", patience=3, **STILL)
        assert (result.epochs, result.best_step) == (4, 4)
        assert "L1" in str(result.stopped_early)
        assert str(result.stopped_early) in str(result)
        assert record(result.run)["status"] == "finished"
        assert record(result.run)["result"]["stopped_early"] == result.stopped_early
        assert checkpoint.read(result.run / "checkpoints/last").position.epochs_since_best == 3

    def test_a_run_that_gets_better_is_trained_to_its_end(self, toys: Toy) -> None:
        result = toys("run", patience=1, epochs=3)
        assert (result.epochs, result.stopped_early) == (3, None)

    def test_it_goes_on_when_there_is_more_patience(self, toys: Toy) -> None:
        run = toys("run", patience=1, **STILL).run
        with refuses(RunError, run, "--set patience=N", "patience=none"):
            toys("run", resume=run)
        assert toys("run", resume=run, patience=3).epochs == 4
        whole = toys("whole", patience=3, **STILL).run
        for kind in ("weights", "optimizers"):
            assert_same(tensors(run, kind), tensors(whole, kind))
        assert checkpoint.read(run / "checkpoints/last") == checkpoint.read(whole / "checkpoints/last")

    @pytest.mark.parametrize("stopped_after", [4, 6, 8, 10])
    def test_resumed_stops_where_an_undisturbed_run_does(self, toys: Toy, stopped_after: int) -> None:
        """An epoch that was interrupted counts once, at its end."""
        part = toys("part", patience=2, **STILL, max_steps=stopped_after).run
        assert toys("part", resume=part, max_steps="none").epochs == 3


class TestRefusals:
    def test_a_figure_that_does_not_exist(self, toys: Toy) -> None:
        with refuses(RunError) as caught:
            toys("run", select="psnr_chnged")
        assert_suggests(str(caught.value), "psnr_chnged", "psnr_changed", ("psnr_unchanged", "psnr_changed"))
        with refuses(RunError, "select=psnr_all", "l1", "psnr_db", "ssim", "_changed"):
            select_by("psnr_all")

    def test_a_figure_that_the_target_does_not_have(self, toys: Toy, tmp_path: Path) -> None:
        for figure in ("mae_reflectance", "sam_deg", "hf_ratio_changed"):
            with refuses(RunError, f"select={figure}", "s1_t2", "psnr", "rmse_db_changed"):
                toys("run", select=figure)
        assert not (tmp_path / "run").exists()

    def test_ground_that_the_val_split_does_not_have(
        self, toys: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unchanged(*_: object, **__: object) -> object:
            return patch_values(np.random.default_rng(0), 32, changed=False, holes=False)

        monkeypatch.setattr("tests.models.conftest.patch_values", unchanged)
        data = write_dataset(tmp_path / "data", size=32)
        with refuses(RunError, "select=psnr_changed", "changed", "val"):
            toys("run", data=data, select="psnr_changed")
        assert toys("run", data=data, select="psnr_unchanged", epochs=1).epochs == 1

    def test_choosing_without_a_val_split(self, toys: Toy, tmp_path: Path) -> None:
        data = write_dataset(tmp_path / "data", size=32, splits=("train",))
        with refuses(RunError, "select=psnr", "patience=3", data, "val"):
            toys("run", data=data, select="psnr", patience=3)

    def test_patience_of_no_epoch(self, toys: Toy) -> None:
        with refuses(RunError, "patience=0", 1):
            toys("run", patience=0)
