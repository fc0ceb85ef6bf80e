"""Runs that predict the same target share samples and pixels, and each still reads what it was trained on."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from models.data.dataset import PairDataset
from models.evaluate.entries import Group, load_groups, scored_target, shared_dates
from models.evaluate.evaluate import evaluate
from models.evaluate.results import Evaluation, Row
from models.scaling import Scaling
from models.task import CONDITIONS, Stack, Task
from models.translator import Prediction
from s1s2pairs.errors import RunError
from tests.models import conftest
from tests.models.conftest import make_run, write_dataset
from tests.refusals import refuses

pytestmark = pytest.mark.usefixtures("toy_networks")
PERIODS = ("2018", "2019", "2022")


def stack(sensor: str, date: int, *bands: str, name: str = "") -> Stack:
    return Stack(sensor=sensor, date=date, bands=bands, name=name)  # type: ignore[arg-type]


VV = stack("s1", 1, "VV")
TASKS = {
    "two": Task(name="a", sources=(stack("s2", 1, "B3", "B4"),), references=(stack("s1", 0, "VV"),), target=VV),
    "others": Task(
        name="b", sources=(stack("s2", 1, "B8", "B2"),), references=(stack("s1", 0, "VH", "VV"),), target=VV
    ),
    "named": Task(
        name="c",
        sources=(stack("s2", 1, "B4"), stack("s2", 1, "B11", name="swir"), stack("s1", 1, "VH", name="cross")),
        references=(stack("s2", 0, "B11", name="swir"),),
        target=stack("s1", 1, "VV", name="co"),
    ),
    "reversed": Task(
        name="d", sources=(stack("s2", 0, "B4"),), references=(stack("s1", 1, "VV"),), target=stack("s1", 0, "VV")
    ),
    "one": Task(name="e", sources=(stack("s2", 0, "B4"),), references=(), target=stack("s1", 0, "VV")),
    "one late": Task(name="f", sources=(stack("s2", 1, "B4"),), references=(), target=VV, paired=False),
}


def group_of(*tasks: Task) -> Group:
    group = Group(name="", scaling=Scaling(), n_dates=2, target=scored_target(tasks[0]))
    for task in tasks:
        assert group.takes(task, Scaling())
        group.include(task)
    return group


def periods_by_date(task: Task, periods: tuple[str, ...], dates: tuple[int, ...]) -> tuple[str, ...]:
    """The periods a task's own dataset would name for a sample of the group."""
    return tuple(periods[dates[date]] for date in range(task.n_periods))


@pytest.mark.parametrize("name", TASKS)
def test_each_run_reads_what_its_own_dataset_would_give_it(name: str, tiny_dataset: Path) -> None:
    """Oracle: the loader for the run's own task, at the same patch and periods."""
    task, group = TASKS[name], group_of(*TASKS.values())
    together = PairDataset(tiny_dataset, group.task, split="test", scaling=Scaling())
    alone = PairDataset(tiny_dataset, task, split="test", scaling=Scaling())
    place = {(sample.patch_id, sample.periods): number for number, sample in enumerate(alone.samples)}
    assert len(together) == 8, "four patches, each in both directions"
    for number, sample in enumerate(together.samples):
        given = group.batch_of(task, together.batch([number]))
        own = alone.batch([place[sample.patch_id, periods_by_date(task, sample.periods, shared_dates(task))]])
        assert given.keys() == own.keys()
        for key in {*(item.key for item in task.stacks), *CONDITIONS}:
            assert torch.equal(given[key], own[key]), key
        assert bool((given["valid"] <= own["valid"]).all()), "what others read can be missing too"
        assert sample.direction == ("forward" if sample.periods == ("2019", "2021") else "backward")


def test_a_group_has_one_stack_for_each_choice_of_bands() -> None:
    task = group_of(*TASKS.values()).task
    assert [(item.key, item.bands) for item in task.stacks] == [
        ("s1_VH_t2", ("VH",)),
        ("s2_B2_B8_t2", ("B2", "B8")),
        ("s2_B3_B4_t2", ("B3", "B4")),
        ("s2_B11_t2", ("B11",)),
        ("s2_B4_t2", ("B4",)),
        ("s1_VV_VH_t1", ("VV", "VH")),
        ("s1_VV_t1", ("VV",)),
        ("s2_B11_t1", ("B11",)),
        ("s1_t2", ("VV",)),
    ]
    assert task.paired, "also where a run is trained on unpaired images"
    assert group_of(*reversed(TASKS.values())).task == task, "whatever the order of the runs"


def test_a_task_without_the_targets_earlier_image_gets_it() -> None:
    cross = stack("s1", 1, "VH")
    wide = Task(name="wide", sources=(), references=(stack("s1", 0, "VV", "VH"),), target=cross)
    narrow = Task(name="narrow", sources=(), references=(stack("s1", 0, "VV"),), target=cross)
    plain = Task(name="plain", sources=(stack("s2", 1, "B4"),), references=(), target=cross)
    for task, keys in ((wide, ["s1_VV_VH_t1"]), (narrow, ["s1_VH_t1", "s1_VV_t1"]), (plain, ["s1_VH_t1"])):
        assert [item.key for item in group_of(task).task.references] == keys


def test_other_samples_or_pixels_cannot_be_shared() -> None:
    group = group_of(TASKS["two"])
    three = Task(name="three", sources=(), references=(stack("s1", 0, "VV"), stack("s1", 2, "VV")), target=VV)
    assert not group.takes(three, Scaling()), "a sample is three periods"
    last = Task(name="last", sources=(), references=(stack("s1", 0, "VV"),), target=stack("s1", 2, "VV"))
    assert not Group(name="", scaling=Scaling(), n_dates=3, target=scored_target(three)).takes(last, Scaling())
    assert not group.takes(TASKS["two"], Scaling(s2_range=(0.0, 0.5)))
    other = Task(name="other", sources=(), references=(), target=stack("s1", 1, "VH"))
    assert not group.takes(other, Scaling())


def test_bands_of_a_target_come_out_in_the_order_of_the_group(
    tmp_path: Path, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_run(tmp_path / "first", "toy_dates", s1_bands="VV,VH")
    second = make_run(tmp_path / "second", "toy_dates", s1_bands="VH,VV")
    (group,) = load_groups([first, second], "best")
    batch = PairDataset(tiny_dataset, group.task, split="test", scaling=Scaling()).batch([0, 3])
    run = group.runs[1][1]
    mine = run.translator(group.batch_of(run.translator.task, batch)).mean
    found = group.predict(run, batch)
    assert torch.equal(found.mean, mine[:, [1, 0]])
    assert found.spread is None
    forward = type(run.translator).forward
    monkeypatch.setattr(type(run.translator), "forward", lambda *given: Prediction(mine, forward(*given).mean))
    assert torch.equal(group.predict(run, batch).spread, mine[:, [1, 0]])  # type: ignore[arg-type]


def rows_of(found: Evaluation, run: str) -> list[tuple[object, ...]]:
    return [
        (row.metric, row.ground, row.direction, row.roi, row.band, row.value, row.n, row.low, row.high)
        for row in found.rows
        if row.run == run
    ]


def test_runs_with_other_bands_under_equal_names_are_ranked_together(tmp_path: Path, tiny_dataset: Path) -> None:
    """Every patch that lacks B8 lacks B4, too: so each run scores as it does alone."""
    runs = [make_run(tmp_path / f"run-{bands}", "toy", s2_bands=bands) for bands in ("B3,B4", "B4,B8", "B8,B4")]
    together = evaluate(runs, tiny_dataset, device="cpu")
    assert {entry.target for entry in together.entries} == {"s1_t2 (VV)"}
    assert sum(entry.baseline for entry in together.entries) == 2
    for run in runs:
        assert rows_of(together, run.name) == rows_of(evaluate([run], tiny_dataset, device="cpu"), run.name)
    assert rows_of(together, runs[0].name) != rows_of(together, runs[1].name)


def test_one_date_and_two_are_scored_on_the_same_pairs(tmp_path: Path, tiny_dataset: Path) -> None:
    layouts = ("one", "one_late", "two", "two_reversed")
    runs = [make_run(tmp_path / layout, "toy_dates", layout=layout, named="true") for layout in layouts]
    found = evaluate(runs, tiny_dataset, device="cpu")
    assert {entry.target for entry in found.entries} == {"s1_t2 (VV)"}
    assert rows_of(found, "one") == rows_of(found, "one_late"), "equal weights, equal pictures"
    assert rows_of(found, "two") == rows_of(found, "two_reversed"), "forward is the later from the earlier for both"
    assert rows_of(found, "one") != rows_of(found, "two")
    drawn = {
        run: [
            (panel.name, panel.rgb.tobytes())
            for example in found.examples
            if example.run == run
            for panel in example.panels
        ]
        for run in layouts
    }
    assert [name for name, _ in drawn["one"][:3]] == ["source, S2 T2", "prediction, S1 T2", "target, S1 T2"]
    assert (drawn["one"], drawn["two"]) == (drawn["one_late"], drawn["two_reversed"])
    assert [row.n for row in found.rows if row.run == "one" and row.metric == "psnr"][:1] == [8]


def test_a_run_trained_on_unpaired_images_is_scored_on_pairs(tmp_path: Path, tiny_dataset: Path) -> None:
    runs = [make_run(tmp_path / paired, "toy_unpaired", paired=paired) for paired in ("false", "true")]
    found = evaluate(runs, tiny_dataset, device="cpu")
    assert {entry.target for entry in found.entries} == {"s2_t2 (B3, B4)"}
    assert rows_of(found, "false") == rows_of(found, "true"), "equal weights, equal pairs"


# --- three dates


def radar_of(folder: Path) -> list[np.ndarray]:
    """Return VV at each period, dB; NaN where any period or the optical image of the middle one is missing."""
    radar, valid = [], np.bool_(True)
    for period in PERIODS:
        with rasterio.open(folder / f"{period}_s1.tif") as raster:
            vv, _, count = raster.read().astype(float)
        radar.append(vv)
        valid = valid & np.isfinite(vv) & (count > 0)
        with rasterio.open(folder / f"{period}_s2.tif") as raster:
            optical = raster.read()
        valid = valid & (optical[[1, 2]] > 0).all(axis=0) & (optical[6] > 0)
    return [np.where(valid, image, np.nan) for image in radar]


@pytest.fixture
def triples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three periods that all differ, partly below the scaling's -25 dB, unevenly spaced in time."""
    values, calls = conftest.patch_values, []

    def drifting(rng: np.random.Generator, size: int, *, changed: bool, holes: bool) -> tuple[np.ndarray, np.ndarray]:
        radar, optical = values(rng, size, changed=changed, holes=holes)
        calls.append(size)
        radar[:2] += (-9.0, -5.0, 2.0)[(len(calls) - 1) % 3]
        return radar, optical

    monkeypatch.setattr(conftest, "patch_values", drifting)
    return write_dataset(tmp_path / "triples", splits=("test",), rois=2, patches=2, periods=PERIODS)


def days_of(period: str) -> float:
    return (np.datetime64(f"{period}-06-17") - np.datetime64("2014-01-01")).astype(float)


def test_baselines_of_a_task_with_three_dates_are_right(triples: Path, tmp_path: Path) -> None:
    """Oracle: the rasters. The middle period is predicted, from both others, as time runs and in reverse."""
    run = make_run(tmp_path / "between", "toy_dates", layout="between")
    found = evaluate([run], triples, device="cpu")
    rows: dict[tuple[str, str, str], Row] = {
        (row.run, row.metric, row.direction): row
        for row in found.rows
        if row.ground == "all" and row.roi is None and row.band is None
    }
    share = (days_of("2019") - days_of("2018")) / (days_of("2022") - days_of("2018"))
    assert 0.2 < share < 0.3
    errors: dict[tuple[str, str], list[np.ndarray]] = {}
    for folder in sorted((triples / "patches/test").glob("*/*")):
        first, middle, last = radar_of(folder)
        guesses = {
            ("copy_t1", "forward"): first,
            ("copy_t1", "backward"): last,
            **{("mean_references", way): (first + last) / 2 for way in ("forward", "backward")},
            **{("linear_interpolation", way): first + share * (last - first) for way in ("forward", "backward")},
        }
        for key, guess in guesses.items():
            errors.setdefault(key, []).append((guess - middle)[np.isfinite(middle)])
    assert {entry.run for entry in found.entries} == {"between", *(name for name, _ in errors)}
    for (name, direction), parts in errors.items():
        error = np.concatenate(parts)
        assert rows[name, "mae_db", direction].value == pytest.approx(np.abs(error).mean(), rel=1e-5), (name, direction)
        assert rows[name, "rmse_db", direction].value == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)
        copied = np.concatenate(errors["copy_t1", direction])
        skill = 1 - (error**2).sum() / (copied**2).sum()
        assert rows[name, "skill", direction].value == pytest.approx(skill, rel=1e-4, abs=1e-6)
        assert rows[name, "mae_db", direction].n == 4
    assert rows["between", "mae_db", "both"].n == 8


def test_two_dates_and_three_are_no_rivals(triples: Path, tmp_path: Path) -> None:
    """Each pair of periods is a sample of the one, only all three are one of the other."""
    runs = [make_run(tmp_path / layout, "toy_dates", layout=layout) for layout in ("two", "between")]
    found = evaluate(runs, triples, device="cpu")
    assert [entry.target for entry in found.entries if not entry.baseline] == ["s1_t2 (VV)", "s1_t2 (VV), group 2"]
    assert {row.n for row in found.rows if row.run == "two" and row.metric == "mae_db" and row.roi is None} >= {24}
    names = [entry.run for entry in found.entries if entry.baseline]
    assert "linear_interpolation of s1_t2 (VV), group 2" in names
    assert "linear_interpolation of s1_t2 (VV)" not in names


def test_three_dates_need_three_periods(tiny_dataset: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "between", "toy_dates", layout="between")
    with refuses(RunError, tiny_dataset, "needs 3", "2019, 2021"):
        evaluate([run], tiny_dataset, device="cpu")
