"""The run folder's name, `run.json`, default data, and which setting belongs to whom."""

from dataclasses import fields
from pathlib import Path

import pytest

from models import zoo
from models.runs.folder import claim_folder
from models.runs.record import default_dataset, git_state, read_record
from models.runs.settings import TrainSettings, split
from s1s2pairs.errors import RunError
from tests.refusals import assert_suggests, refuses


def test_only_dataset_is_the_default(tmp_path: Path) -> None:
    with refuses(RunError, tmp_path, "s1s2 build RECIPE", "--data"):
        default_dataset(tmp_path)
    (tmp_path / "not-built").mkdir()
    (tmp_path / "oscd").mkdir()
    (tmp_path / "oscd/index.parquet").touch()
    assert default_dataset(tmp_path) == tmp_path / "oscd"
    (tmp_path / "small").mkdir()
    (tmp_path / "small/index.parquet").touch()
    with refuses(RunError, 2, tmp_path / "oscd", tmp_path / "small", "--data"):
        default_dataset(tmp_path)


def test_runs_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [claim_folder(None, "tsgan") for _ in range(2)] == [Path("runs/tsgan-1"), Path("runs/tsgan-2")]
    assert claim_folder(None, "tsgan_v1") == Path("runs/tsgan_v1-1")


def test_empty_folder_may_be_claimed_and_a_file_may_not(tmp_path: Path) -> None:
    assert claim_folder(tmp_path, "tsgan") == tmp_path
    (tmp_path / "notes.txt").touch()
    for taken in (tmp_path, tmp_path / "notes.txt"):
        with refuses(RunError, taken, "--out", "--resume"):
            claim_folder(taken, "tsgan")


def test_broken_record_is_named(tmp_path: Path) -> None:
    with refuses(RunError, tmp_path, "run.json", "s1s2 train"):
        read_record(tmp_path)
    (tmp_path / "run.json").write_text('{"network": "tsgan"')
    with refuses(RunError, tmp_path / "run.json", "JSON"):
        read_record(tmp_path)


def test_git_state_is_that_of_this_code() -> None:
    state = git_state()
    if not (Path(__file__).parents[3] / ".git").exists():
        assert state is None
        return
    assert state is not None
    assert len(str(state["commit"])) == 40


def test_settings_go_where_they_belong() -> None:
    training, theirs = split(
        zoo.resolve("tsgan"), {"seed": "7", "width": "8", "clip_norm": "none", "compile": "true", "crop": "128"}
    )
    assert training == TrainSettings(seed=7, clip_norm=None, compile=True, crop=128)
    assert theirs == {"width": "8"}


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("seed", "1.5", ("1.5", "whole number")),
        ("crop", "big", ("big", "whole number", "none")),
        ("clip_norm", "0", ("0.0", "above 0")),
        ("compile", "perhaps", ("perhaps", "true", "false")),
        ("s2_range", "0.3", ("0.3", "2 values")),
        ("s2_range", "0.3,0", ("(0.3, 0.0)", "first", "lower")),
        ("log_every_steps", "0", ("0", "1")),
    ],
)
def test_wrong_settings_are_named(key: str, value: str, named: tuple[str, ...]) -> None:
    with refuses(RunError, key, *named):
        split(zoo.resolve("tsgan"), {key: value})


@pytest.mark.parametrize(("key", "nearest"), [("sead", "seed"), ("lambda", "lambda_l1")])
def test_a_misspelt_setting_gets_the_nearest(key: str, nearest: str) -> None:
    tsgan = zoo.resolve("tsgan")
    with refuses(RunError) as caught:
        split(tsgan, {key: "1"})
    choices = (*zoo.create("tsgan").config.values(), *(field.name for field in fields(TrainSettings)))
    assert_suggests(str(caught.value), key, nearest, choices)
