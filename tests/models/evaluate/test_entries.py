"""Runs are taken for seeds of one network only if nothing but the seed tells them apart."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from models.evaluate.entries import load_groups
from models.runs.record import read_record, write_record
from tests.models.conftest import make_run


def labels(*runs: Path) -> list[str]:
    return [entry.label for group in load_groups(runs, "best") for entry, _ in group.runs]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "one", "tsgan", seed=1)


def test_runs_that_differ_in_the_seed_share_a_label(run: Path, tmp_path: Path) -> None:
    assert labels(run, make_run(tmp_path / "two", "tsgan", seed=2)) == ["tsgan", "tsgan"]


def test_runs_trained_on_different_data_do_not(run: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "two", "tsgan", seed=2)
    write_record(other, replace(read_record(other), dataset_sha256="f" * 64))
    assert labels(run, other) == ["tsgan (dataset=0)", "tsgan (dataset=ffffffff)"]


def test_checkpoints_of_one_run_are_no_seeds(run: Path) -> None:
    shutil.copytree(run / "checkpoints/best", run / "checkpoints/last")
    assert labels(run / "checkpoints/best", run / "checkpoints/last") == ["tsgan, best", "tsgan, last"]


def test_a_run_named_twice_is_scored_once(run: Path) -> None:
    assert labels(run, run.parent / "." / run.name) == ["tsgan"]


def test_runs_that_differ_as_aliases_do_are_called_by_them(run: Path, tmp_path: Path) -> None:
    v3 = make_run(tmp_path / "v3", "tsgan", version="v3")
    narrow = make_run(tmp_path / "narrow", "tsgan", version="v3", width="2")
    assert labels(run, v3) == ["tsgan_v2", "tsgan_v3"]
    assert labels(run, v3, narrow) == ["tsgan_v2 (width=4)", "tsgan_v3 (width=4)", "tsgan_v3 (width=2)"]
    single = make_run(tmp_path / "single", "mccgan", multitemporal="false")
    assert labels(single, make_run(tmp_path / "both", "mccgan")) == ["pix2pix_sar2opt", "mccgan (multitemporal=True)"]
