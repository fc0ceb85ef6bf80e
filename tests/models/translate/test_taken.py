"""Networks that read when and how images were taken are told so for whole scenes, or refuse."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from models.data.samples import DAY_ZERO, YEAR_DAYS, conditions
from models.runs.loading import load_translator
from models.task import Batch
from models.translate.taken import acquisitions
from models.translate.translate import translate
from models.zoo import load
from s1s2pairs.errors import RunError
from tests.models.conftest import make_run, write_dataset
from tests.refusals import refuses

pytestmark = pytest.mark.usefixtures("toy_networks")
TASK = load("tsgan").config().task


@pytest.fixture
def dataset(tmp_path: Path, rasters: Path) -> Path:
    """A dataset with rasters of the ROI `train-0`."""
    root = write_dataset(tmp_path / "built", rois=1, patches=1, size=32)
    shutil.copytree(rasters, root / "rasters" / "train-0")
    return root


def paths(folder: Path) -> dict[str, Path]:
    return {"s2_t2": folder / "2021/s2.tif", "s1_t1": folder / "2019/s1.tif", "s2_t1": folder / "2019/s2.tif"}


def test_rasters_of_a_dataset_are_looked_up(dataset: Path) -> None:
    table = acquisitions(TASK, paths(dataset / "rasters/train-0"), None)
    seen = [datetime(year, 6, 17, 10, 30, tzinfo=UTC) for year in (2019, 2021)]
    days = [(time - DAY_ZERO).total_seconds() / 86_400 for time in seen]
    np.testing.assert_allclose(table, [[days[0], 39, 110, 0], [days[1], 39, 110, 0]], rtol=1e-6)


def test_the_only_date_of_a_task_stands_for_all(dataset: Path) -> None:
    task = load("pix2pix_opt2sar").config().task  # S2 to S1, both at T2
    files = {"s2_t2": dataset / "rasters/train-0/2021/s2.tif"}
    table = acquisitions(task, files, None)
    assert not table.isnan().any()
    assert torch.equal(table[0], table[1])
    assert acquisitions(task, files, ["2014-01-03"])[:, 0].tolist() == [2, 2]
    with refuses(RunError, "--dates", 2, 1):
        acquisitions(task, files, ["2014-01-03", "2014-01-04"])


def test_of_other_files_nothing_is_known_but_what_the_user_says(rasters: Path) -> None:
    assert acquisitions(TASK, paths(rasters), None).isnan().all()
    table = acquisitions(TASK, paths(rasters), ["2014-01-02", " 2014-01-11T14:00+02:00"])
    np.testing.assert_allclose(table[:, 0], [1, 10.5])
    assert table[:, 1:].isnan().all()


@pytest.mark.parametrize(
    ("dates", "named"),
    [
        (["2019-06-01"], (1, 2, "T2")),
        (["2019-06-01", "June"], ("June", "2021-06-15")),
        (["2019-06-01", "9999-99-99"], ("9999",)),
    ],
)
def test_dates_that_do_not_fit_are_refused(rasters: Path, dates: list[str], named: tuple[object, ...]) -> None:
    with refuses(RunError, "--dates", *named):
        acquisitions(TASK, paths(rasters), dates)


def test_a_network_gets_what_it_reads(dataset: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "toy_unpaired")
    folder = dataset / "rasters/train-0/2019"
    out = translate(run, [folder], tmp_path / "out.tif", window=160, device="cpu")
    loaded = load_translator(run, device="cpu")
    with rasterio.open(folder / "s1.tif") as raster:
        values = torch.nn.functional.pad(torch.from_numpy(raster.read([1]))[None], (0, 20, 0, 10), mode="reflect")
    stack = loaded.translator.task.inputs[0]
    batch: Batch = {"s1_t1": loaded.scaling.scale(values, stack), "incidence": torch.full((1, 1), 39.0)}
    with torch.inference_mode():
        wanted = loaded.scaling.unscale(loaded.translator(batch).mean, loaded.translator.task.target)[0, :, :150, :140]
    with rasterio.open(out) as raster:
        found = raster.read()
    inside = (slice(None), slice(10, -1), slice(10, -1))  # away from the missing corner and from what was mirrored
    np.testing.assert_allclose(found[inside], wanted.numpy()[inside], atol=1e-5)


def test_a_network_refuses_what_is_not_told(rasters: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "toy_unpaired")
    with refuses(RunError, "toy_unpaired", "incidence", "T1"):
        translate(run, [rasters / "2019"], tmp_path / "out.tif", device="cpu")
    with refuses(RunError, "toy_unpaired", "incidence", "T1"):
        translate(run, [rasters / "2019"], tmp_path / "out.tif", device="cpu", dates=["2019-06-01"])
    assert not (tmp_path / "out.tif").exists()


def test_seasons_turn_once_a_year() -> None:
    table = torch.full((1, 5, 4), float("nan"))
    table[0, :, 0] = torch.arange(5) * YEAR_DAYS / 4
    season = conditions(table)["season"][0]
    torch.testing.assert_close(season[:, 0], torch.tensor([0.0, 1.0, 0.0, -1.0, 0.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(season[:, 1], torch.tensor([1.0, 0.0, -1.0, 0.0, 1.0]), atol=1e-3, rtol=0)
