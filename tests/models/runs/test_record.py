"""The run folder's name, `run.json`, default data, and which setting belongs to whom."""

from pathlib import Path

import pytest

from models import zoo
from models.runs.record import claim_folder, default_dataset, git_state, read_record
from models.runs.settings import TrainSettings, split
from s1s2pairs.errors import RunError


def test_only_dataset_is_the_default(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no dataset under"):
        default_dataset(tmp_path)
    (tmp_path / "not-built").mkdir()
    (tmp_path / "oscd").mkdir()
    (tmp_path / "oscd/index.parquet").touch()
    assert default_dataset(tmp_path) == tmp_path / "oscd"
    (tmp_path / "small").mkdir()
    (tmp_path / "small/index.parquet").touch()
    with pytest.raises(RunError, match=r"2 datasets under .*oscd, .*small.*--data"):
        default_dataset(tmp_path)


def test_runs_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [claim_folder(None, "tsgan") for _ in range(2)] == [Path("runs/tsgan-1"), Path("runs/tsgan-2")]
    assert claim_folder(None, "tsgan_v1") == Path("runs/tsgan_v1-1")


def test_empty_folder_may_be_claimed_and_a_file_may_not(tmp_path: Path) -> None:
    assert claim_folder(tmp_path, "tsgan") == tmp_path
    (tmp_path / "notes.txt").touch()
    for taken in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(RunError, match="is not empty"):
            claim_folder(taken, "tsgan")


def test_broken_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no run.json"):
        read_record(tmp_path)
    (tmp_path / "run.json").write_text('{"network": "tsgan"')
    with pytest.raises(RunError, match=r"run.json is damaged"):
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
    ("key", "value", "message"),
    [
        ("sead", "1", r"no setting 'sead'\. Did you mean seed\?"),
        ("lambda", "1", r"no setting 'lambda'\. Did you mean lambda_l1\?"),
        ("seed", "1.5", r"seed=1\.5 does not fit, a whole number is needed"),
        ("crop", "big", r"crop=big does not fit, a whole number or none is needed"),
        ("clip_norm", "0", r"clip_norm=0\.0 does not fit: it must be above 0"),
        ("compile", "perhaps", r"compile=perhaps does not fit, true or false is needed"),
        ("s2_range", "0.3", r"s2_range=0\.3 does not fit, 2 values with a comma, each a number, is needed"),
        ("s2_range", "0.3,0", r"s2_range=\(0\.3, 0\.0\) does not fit: the first value must be the lower one"),
        ("log_every_steps", "0", r"log_every_steps=0 does not fit: the least is 1"),
    ],
)
def test_wrong_settings_are_named(key: str, value: str, message: str) -> None:
    with pytest.raises(RunError, match=message):
        split(zoo.resolve("tsgan"), {key: value})
