"""`patches.csv` and the intervals of `evaluation.json`, from two evaluations of one tiny dataset."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.evaluate import page
from models.evaluate.evaluate import evaluate
from models.evaluate.results import Evaluation
from models.evaluate.rows import PATCH_COLUMNS, patch_lines
from tests.models.conftest import make_run, write_dataset

COLUMNS = [
    "run", "network", "seed", "patch_id", "roi", "direction", "periods", "ground", "metric", "value", "weight"
]  # fmt: skip
ONE_BY_ONE = {"psnr", "ssim", "wpsnr", "wssim", "psnr_2to1", "ssim_2to1", "mae_db"}
"""Metrics whose mean over patches, by weight, is the value in `evaluation.json`."""


@pytest.fixture
def runs(tmp_path: Path, toy_networks: Path) -> list[Path]:
    del toy_networks
    return [make_run(tmp_path / f"toy-{seed}", "toy", seed=seed) for seed in (0, 1)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data", splits=("test",), rois=3, patches=3)


def read(found: Evaluation) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(b"".join(patch_lines(found))))


def test_every_sample_has_its_own_figures(runs: list[Path], data: Path, tmp_path: Path) -> None:
    folder = page.write_results(evaluate(runs, data, device="cpu", batch_size=5), tmp_path / "out")
    patches = pd.read_csv(folder / page.PATCHES_NAME)
    assert list(patches.columns) == COLUMNS == list(PATCH_COLUMNS)
    key = ["run", "patch_id", "direction", "periods", "ground", "metric"]
    assert not patches.duplicated(key).any()
    whole = patches[(patches.ground == "all") & (patches.metric == "psnr")]
    assert whole.groupby("run").size().to_dict() == dict.fromkeys(["copy_t1", "mean_references", "toy-0", "toy-1"], 18)
    assert set(zip(patches.direction, patches.periods, strict=True)) == {
        ("forward", "2019 2021"),
        ("backward", "2021 2019"),
    }
    assert patches.seed[patches.run == "toy-1"].eq(1).all()
    assert patches.seed[patches.run == "copy_t1"].isna().all()
    assert (patches.weight > 0).all()
    rows = pd.DataFrame(json.loads((folder / page.JSON_NAME).read_text())["rows"])
    checked = set()
    for row in rows[rows.band.isna() & rows.metric.isin(ONE_BY_ONE) & rows.value.notna()].itertuples():
        own = patches[(patches.run == row.run) & (patches.ground == row.ground) & (patches.metric == row.metric)]
        own = own[(own.direction == row.direction) | (row.direction == "both")]
        own = own[own.roi == row.roi] if isinstance(row.roi, str) else own
        assert len(own) == row.n
        assert np.average(own.value, weights=own.weight) == pytest.approx(row.value, rel=1e-6)
        checked.add((row.metric, row.ground))
    assert len(checked) == 2 * 3 + 4 + 3


def test_a_run_s_folder_has_its_own_and_the_baselines(runs: list[Path], data: Path, tmp_path: Path) -> None:
    page.write_results(evaluate(runs, data, device="cpu"), tmp_path / "out")
    own = pd.read_csv(runs[0] / page.PATCHES_NAME)
    assert set(own.run) == {"toy-0", "copy_t1", "mean_references"}


def test_two_evaluations_give_equal_bytes(runs: list[Path], data: Path, tmp_path: Path) -> None:
    folders = [page.write_results(evaluate(runs, data, device="cpu"), tmp_path / name) for name in ("a", "b")]
    names = sorted(path.name for path in folders[0].iterdir())
    assert names == ["evaluation.html", "evaluation.json", "evaluation.md", "patches.csv"]
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


def test_lines_come_sample_by_sample(runs: list[Path], data: Path) -> None:
    pieces = list(patch_lines(evaluate(runs[:1], data, device="cpu")))
    assert len(pieces) == 1 + 3 * 18, "the head, then one piece a sample for the run and two baselines"
    assert max(map(len, pieces)) < 6000


def test_undefined_and_invalid_values_are_left_empty(
    runs: list[Path], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.networks.toy import Network  # type: ignore[import-not-found]

    forward = Network.forward

    def broken(network: object, batch: dict[str, object]) -> object:
        prediction = forward(network, batch)
        prediction.mean[batch["sample"] == 4] = np.nan
        return prediction

    monkeypatch.setattr(Network, "forward", broken)
    found = evaluate(runs[:1], data, device="cpu")
    table = read(found)
    (bad,) = next(entry for entry in found.entries if entry.run == "toy-0").not_finite
    empty = table[table.value.isna() & (table.metric != "skill")]
    assert set(zip(empty.run, empty.patch_id, empty.direction, strict=True)) == {("toy-0", bad.patch_id, bad.direction)}
    assert set(empty.metric) == set(table.metric) - {"skill"}
    undefined = table[(table.run == "copy_t1") & (table.metric == "skill")]
    assert (undefined.value.isna() == (undefined.ground == "unchanged")).all(), "copying is perfect there, 0 / 0"


def test_rows_have_intervals_over_rois_and_over_the_patches_of_one(runs: list[Path], data: Path) -> None:
    """Oracle: numpy draws of the lines of `patches.csv`."""
    found = evaluate(runs[:1], data, device="cpu")
    rows = {(row.run, row.metric, row.ground, row.direction, row.roi, row.band): row for row in found.rows}
    patches = read(found)
    own = patches[(patches.run == "toy-0") & (patches.metric == "mae_db") & (patches.ground == "unchanged")]
    rng = np.random.default_rng(0)
    for roi, about, unit in ((None, own, "roi"), ("test-1", own[own.roi == "test-1"], "patch_id")):
        row = rows["toy-0", "mae_db", "unchanged", "both", roi, None]
        parts = [part for _, part in about.groupby(unit)]
        sums = np.array([((part.value * part.weight).sum(), part.weight.sum()) for part in parts])
        drawn = sums[rng.integers(0, len(parts), (20_000, len(parts)))].sum(axis=1)
        wanted = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
        assert row.low is not None
        assert row.low < row.value < row.high  # type: ignore[operator]
        np.testing.assert_allclose([row.low, row.high], wanted, rtol=1e-6)
    for key, row in rows.items():
        assert (row.low is None) == (row.high is None), key
        if row.low is not None:
            assert row.low <= row.high  # type: ignore[operator]
            assert row.value is not None
