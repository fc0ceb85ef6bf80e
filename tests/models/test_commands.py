"""The commands around networks, as a user meets them: `networks`, `evaluate`, `translate`, `map --earthengine`."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

import cli
from models import zoo
from models.translate.translate import translate
from s1s2pairs.report import web_map as maps
from tests.command import s1s2
from tests.refusals import assert_names

from .conftest import make_run, write_dataset

SIZE = 256


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "tiny", size=SIZE, splits=("test",), rois=1, patches=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network that reads one optical image."""
    return make_run(tmp_path_factory.mktemp("runs") / "mono", "pix2pix_opt2sar")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One optical image two windows high and a little more."""
    path = tmp_path_factory.mktemp("scene") / "s2.tif"
    bands = ("B2", "B3", "B4", "B8", "B11", "B12")
    values = np.random.default_rng(0).integers(500, 3000, (len(bands), 520, 270)).astype(np.uint16)
    with rasterio.open(
        path, "w", driver="GTiff", count=len(bands), height=520, width=270, dtype="uint16", crs="EPSG:32631",
        transform=rasterio.Affine(10, 0, 500_000, 0, -10, 4_600_000), nodata=0,
    ) as raster:  # fmt: skip
        raster.write(values)
        raster.descriptions = bands
    return path


def test_networks_are_listed_as_a_table_with_a_line_each(tmp_path: Path) -> None:
    code, out, _ = s1s2("networks", cwd=tmp_path)
    head, *lines = out.splitlines()
    assert code == 0
    assert head.split() == ["network", "year", "parameters", "task", "aliases", "paper"]
    assert [line.split()[0] for line in lines] == list(zoo.names())
    for title in ("year", "parameters", "task", "aliases", "paper"):
        start = head.index(title)
        assert all(line[start - 2 : start] == "  " and line[start] != " " for line in lines), f"{title} is aligned"
    tsgan = next(line for line in lines if line.startswith("tsgan"))
    assert "tsgan_v1, tsgan_v2, tsgan_v3" in tsgan
    assert "s2_t2 + s1_t1 + s2_t1 -> s1_t2" in tsgan


def test_networks_as_json_keep_exact_counts(tmp_path: Path) -> None:
    code, out, _ = s1s2("networks", "--json", cwd=tmp_path)
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert set(rows) == set(zoo.names())
    with torch.device("meta"):
        network = zoo.create("tsgan")
    assert rows["tsgan"]["parameters"]["generator"] == zoo.count_parameters(network, "generator")


def test_evaluate_tells_how_far_it_is_and_stays_quiet_on_request(run: Path, dataset: Path, tmp_path: Path) -> None:
    words = ("evaluate", run, "--data", dataset, "--device", "cpu", "--out", tmp_path / "out")
    code, out, err = s1s2(*words, cwd=tmp_path)
    assert code == 0, err
    assert re.findall(r"scoring (\S+): 2/2", err) == ["copy_t1", "mean_references", "mono"]
    assert "| network | PSNR [dB] ↑ |" in out
    assert out.rstrip().endswith("evaluation.html")
    assert s1s2(*words, "--quiet", cwd=tmp_path) == (0, "", "")
    code, out, err = s1s2(*words, "--json", cwd=tmp_path)
    assert (code, err) == (0, "")
    assert {row["metric"] for row in json.loads(out)["rows"]} >= {"psnr", "mae_db"}


def test_translate_tells_how_far_it_is_and_takes_its_windows(run: Path, scene: Path, tmp_path: Path) -> None:
    words = ("translate", run, scene, "--device", "cpu")
    code, out, err = s1s2(*words, "--out", "a.tif", "--overlap", 0, "--batch-size", 1, cwd=tmp_path)
    assert (code, out.strip()) == (0, "a.tif"), err
    assert "translating rows: 520/520" in err
    assert "s1s2: The run does not say on which pixel size" in err
    assert s1s2(*words, "--out", "b.tif", "--window", SIZE, "--overlap", 128, "--quiet", cwd=tmp_path) == (0, "", "")
    with rasterio.open(tmp_path / "a.tif") as plain, rasterio.open(tmp_path / "b.tif") as blended:
        assert plain.shape == blended.shape == (520, 270)
        assert not np.allclose(plain.read(), blended.read()), "another overlap blends other windows"


@pytest.mark.parametrize(
    ("option", "named"),
    [
        (("--window", 100), ("window", 100)),
        (("--overlap", SIZE), ("overlap", SIZE)),
        (("--batch-size", 0), ("batch_size", 0)),
    ],
)
def test_windows_that_do_not_fit_are_refused(
    option: tuple[object, ...], named: tuple[object, ...], run: Path, scene: Path, tmp_path: Path
) -> None:
    code, _, err = s1s2("translate", run, scene, "--out", "a.tif", "--device", "cpu", *option, cwd=tmp_path)
    assert code == 2
    assert_names(err, *named)
    assert list(tmp_path.iterdir()) == []


def test_the_batch_size_of_the_command_is_that_of_the_function() -> None:
    of_command = inspect.signature(cli.translate).parameters["batch_size"].default
    assert of_command == inspect.signature(translate).parameters["batch_size"].default


@pytest.mark.parametrize(
    ("words", "layers", "project"), [((), False, None), (("--earthengine", "--project", "mine"), True, "mine")]
)
def test_map_asks_earth_engine_only_when_told(
    words: tuple[str, ...], layers: bool, project: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def make_map(path: str, out: Path, *, source_layers: bool, project: str | None) -> Path:
        asked.extend((path, out, source_layers, project))
        return out

    monkeypatch.setattr(maps, "make_map", make_map)
    assert s1s2("map", "r.geojson", "--out", "m.html", *words, cwd=tmp_path) == (0, "m.html\n", "")
    assert asked == ["r.geojson", Path("m.html"), layers, project]


def test_a_mistyped_network_is_refused_before_pytorch_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys, cli\n"
        "try:\n    cli.main(sys.argv[1:])\n"
        "finally:\n    print(*({'torch', 'numpy', 'lightning_fabric'} & set(sys.modules)))\n"
    )
    for words in (("tsgam",), ("tsgam", "--data", "anywhere"), ("TSGAN_V2", "--resume", "anywhere")):
        done = subprocess.run(
            [sys.executable, "-c", code, "train", *words],
            cwd=Path(cli.__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert f"there is no network {words[0]!r}. Did you mean tsgan" in done.stderr
        assert done.stdout == "\n", "nothing heavy is loaded"
