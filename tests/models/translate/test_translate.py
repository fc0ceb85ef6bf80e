"""Whole scenes: blending, reading, writing, and everything that can be wrong with the inputs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine

from models import zoo
from models.runs import loading
from models.scaling import Scaling
from models.task import Batch
from models.translate.blend import blend_rows, hann_weights, window_offsets
from models.translate.inputs import Inputs, input_paths
from models.translate.translate import tiling, translate, translate_scene
from models.translator import Prediction, Translator
from s1s2pairs.dataset.storage import Storage
from s1s2pairs.errors import DatasetError, RunError
from tests.models.translate.conftest import GRID, S2_BANDS, Identity, Unheard, radar, write
from tests.refusals import refuses


def run_identity(
    tmp_path: Path, values: np.ndarray, network: Translator, *, window: int = 32, overlap: int = 16
) -> np.ndarray:
    source = write(tmp_path / "in.tif", values, ("VV",), nodata=float("nan"))
    with Inputs(network.task, {"s1_t1": source}) as scene:
        out = translate_scene(network, Scaling(), scene, tmp_path / "out.tif", window=window, overlap=overlap)
    with rasterio.open(out) as raster:
        return raster.read()


@settings(max_examples=200, deadline=None)
@given(size=st.integers(1, 64), extra=st.integers(0, 300), share=st.floats(0, 0.99))
def test_windows_cover_every_pixel_and_overlap_enough(size: int, extra: int, share: float) -> None:
    length, overlap = size + extra, int(size * share)
    offsets = window_offsets(length, size, overlap)
    assert offsets[0] == 0
    assert offsets[-1] == length - size
    steps = np.diff(offsets)
    assert (steps > 0).all()
    assert (steps <= size - overlap).all()
    fewest = 1 + -(-(length - size) // (size - overlap))
    assert len(offsets) == fewest


@pytest.mark.parametrize(("height", "width"), [(32, 32), (75, 101), (33, 64), (20, 40), (5, 3)])
def test_an_identity_network_returns_its_input(tmp_path: Path, height: int, width: int) -> None:
    values = radar(height, width)
    result = run_identity(tmp_path, values, Identity())
    assert result.shape == values.shape
    span_db = 35.0
    assert np.abs(result - values).max() <= 1e-6 * span_db  # 1e-6 of the scaled range; float32 dB resolves no more
    np.testing.assert_allclose(result, values, rtol=1e-6, atol=1e-6 * span_db)


@pytest.mark.parametrize("overlap", [8, 16, 24])
def test_windows_that_disagree_leave_no_step(tmp_path: Path, overlap: int) -> None:
    """Every window gets its own bias; laid side by side that makes steps as large as the biases differ."""
    flat = np.full((1, 80, 96), -7.5, np.float32)  # the middle of the range: 0 for the network
    biases = np.random.default_rng(1).uniform(-0.5, 0.5, 400).tolist()
    result = run_identity(tmp_path, flat, Identity(biases), overlap=overlap)[0] / 17.5
    steps = max(np.abs(np.diff(result, axis=axis)).max() for axis in (0, 1))
    spread = result.max() - result.min()
    assert spread > 0.3  # the windows do disagree
    # Blending runs over `overlap` pixels; the steepest point of the weights' ratio is pi / overlap per pixel.
    assert steps <= 1.05 * np.pi / overlap


def test_blending_is_the_weighted_mean_of_all_windows() -> None:
    size, height, width, overlap = 8, 21, 19, 3
    rng = np.random.default_rng(0)
    tiles = {
        (row, column): rng.normal(size=(2, size, size)).astype(np.float32)
        for row in window_offsets(height, size, overlap)
        for column in window_offsets(width, size, overlap)
    }
    strips = list(
        blend_rows(
            lambda row, columns: ((column, tiles[row, column]) for column in columns),
            bands=2,
            height=height,
            width=width,
            size=size,
            overlap=overlap,
        )
    )
    result = np.concatenate([values for _, values in strips], axis=1)
    total, weight = np.zeros((2, height, width)), np.zeros((height, width))
    for (row, column), tile in tiles.items():
        total[:, row : row + size, column : column + size] += tile * hann_weights(size)
        weight[row : row + size, column : column + size] += hann_weights(size)
    np.testing.assert_allclose(result, total / weight, rtol=1e-12)
    assert [row for row, _ in strips] == list(np.cumsum([0, *(values.shape[1] for _, values in strips[:-1])]))
    assert max(values.shape[1] for _, values in strips) <= size  # no more rows than a window are held


def test_missing_pixels_are_missing_in_the_output_and_nowhere_else(tmp_path: Path) -> None:
    values = radar(70, 90)
    values[0, 10:30, 20:25] = np.nan
    values[0, :, 60:] = np.nan  # whole windows without a pixel
    network = Identity()
    result = run_identity(tmp_path, values, network)
    np.testing.assert_array_equal(np.isnan(result), np.isnan(values))
    np.testing.assert_allclose(result, values, atol=5e-5)
    assert all(batch["valid"].flatten(1).any(dim=1).all() for batch in network.seen)  # none was predicted in vain
    assert all(bool((batch["s1_t1"][~batch["valid"]] == 0).all()) for batch in network.seen)


def test_output_is_a_georeferenced_cog(tmp_path: Path) -> None:
    source = write(tmp_path / "in.tif", radar(700, 600), ("VV",), nodata=float("nan"))
    network = Identity()
    with Inputs(network.task, {"s1_t1": source}) as scene:
        out = translate_scene(network, Scaling(), scene, tmp_path / "new" / "out.tif", window=256, overlap=64)
    with rasterio.open(out) as raster:
        assert raster.crs.to_epsg() == 32631
        assert raster.transform == GRID
        assert raster.descriptions == ("VV",)
        assert raster.units == ("dB",)
        assert np.isnan(raster.nodata)
        assert raster.dtypes == ("float32",)
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert raster.overviews(1)
    assert [path.name for path in out.parent.iterdir()] == ["out.tif"]


def test_a_spread_changes_nothing_yet(tmp_path: Path) -> None:
    class Unsure(Identity):
        def forward(self, batch: Batch) -> Prediction:
            return replace(super().forward(batch), spread=torch.ones_like(batch["s1_t1"]))

    values = radar(40, 40)
    np.testing.assert_array_equal(run_identity(tmp_path, values, Unsure()), run_identity(tmp_path, values, Identity()))


def test_a_failure_leaves_no_output(tmp_path: Path) -> None:
    class Broken(Identity):
        def forward(self, batch: Batch) -> Prediction:
            return Prediction(batch["s1_t1"] * torch.nan)

    with refuses(RunError, "metrics.csv"):
        run_identity(tmp_path, radar(40, 40), Broken())
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("tried to allocate 2 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        None,
    ],
    ids=["PyTorch on a GPU", "the driver", "cuDNN", "a CPU, in earnest"],
)
def test_out_of_memory_says_what_to_do(tmp_path: Path, error: Exception | None) -> None:
    class Hungry(Identity):
        def forward(self, batch: Batch) -> Prediction:
            if error is not None:
                raise error
            return torch.empty(1 << 60)

    with refuses(RunError, 2, 32, "--device cpu", "batch_size"):
        run_identity(tmp_path, radar(40, 40), Hungry())


def test_other_failures_are_not_taken_for_a_lack_of_memory(tmp_path: Path) -> None:
    class Wrong(Identity):
        def forward(self, batch: Batch) -> Prediction:
            raise RuntimeError("sizes do not match")

    with pytest.raises(RuntimeError, match="sizes do not match"):
        run_identity(tmp_path, radar(40, 40), Wrong())


# --- a real network, real files


def test_a_dataset_folder_and_its_files_give_the_same(run: Path, rasters: Path, tmp_path: Path) -> None:
    ways: dict[str, list[str | Path]] = {
        "folder": [rasters],
        "periods": [rasters / "2019", rasters / "2021"],
        "order": [rasters / "2021/s2.tif", rasters / "2019/s1.tif", rasters / "2019/s2.tif"],
        "names": [
            f"s1_t1={rasters}/2019/s1.tif", f"s2_t1={rasters}/2019/s2.tif", f"s2_t2={rasters}/2021/s2.tif"
        ],
    }  # fmt: skip
    results = []
    for name, inputs in ways.items():
        out = translate(run, inputs, tmp_path / f"{name}.tif", window=128, overlap=16, device="cpu")
        with rasterio.open(out) as raster:
            results.append(raster.read())
    missing = np.zeros((1, 150, 140), bool)
    missing[0, :4, :5] = True  # count is 0
    missing[0, 100, 100] = True  # one optical band is 0
    for result in results:
        np.testing.assert_array_equal(np.isnan(result), missing)
        np.testing.assert_array_equal(result, results[0])
    backward = translate(
        run, [rasters / "2021", rasters / "2019"], tmp_path / "b.tif", window=128, overlap=16, device="cpu"
    )
    with rasterio.open(backward) as raster:
        assert np.nanmax(np.abs(raster.read() - results[0])) > 0


def test_what_lies_behind_urls_gives_the_same(run: Path, rasters: Path, tmp_path: Path) -> None:
    store = Storage("memory://translated/rasters/delft")
    for file in rasters.rglob("*.tif"):
        store.write(file.relative_to(rasters).as_posix(), file.read_bytes())
    periods = [store.where(period) for period in ("2019", "2021")]
    files = [f"s1_t1={periods[0]}/s1.tif", f"s2_t1={periods[0]}/s2.tif", f"s2_t2={rasters}/2021/s2.tif"]
    options = {"window": 128, "overlap": 16, "device": "cpu"}
    wanted = Path(translate(run, [rasters], tmp_path / "near.tif", **options)).read_bytes()
    for inputs in ([store.url], [f"{store.url}/"], periods, [rasters / "2019", periods[1]], files):
        out = translate(run, inputs, "memory://translated/out/far.tif", **options)
        assert out == "memory://translated/out/far.tif"
        assert Storage("memory://translated/out").read("far.tif") == wanted
    assert Storage("memory://translated/out").files() == {"far.tif"}
    top = translate(run, [f"file://{rasters}"], f"file://{tmp_path}/new/near.tif", **options)
    assert Path(str(top).removeprefix("file://")).read_bytes() == wanted
    translate(run, [rasters], "memory://far.tif", **options)
    assert Storage("memory://").read("far.tif") == wanted


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "/broken/s2.tif"), (b"", "empty"), (b"no raster", "not recognized")],
)
def test_a_url_without_a_raster_is_refused(
    run: Path, rasters: Path, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    store = Storage("memory://broken")
    store.remove("s2.tif")
    if content is not None:
        store.write("s2.tif", content)
    inputs = ["memory://broken/s2.tif", f"{rasters}/2019/s1.tif", f"{rasters}/2019/s2.tif"]
    with refuses(RunError, "s2_t2", "memory://broken/s2.tif", reason):
        translate(run, inputs, tmp_path / "out.tif", device="cpu")


def test_storage_of_an_unknown_kind_is_refused_before_the_work(run: Path, rasters: Path, tmp_path: Path) -> None:
    for inputs, out in (["nowhere://a/b.tif"], tmp_path / "out.tif"), ([rasters], "nowhere://a/out.tif"):
        with refuses(DatasetError, "nowhere://a" if inputs == [rasters] else "nowhere://a/b.tif"):
            translate(run, inputs, out, window=128, device="cpu", progress=Unheard())


def test_prediction_is_in_decibels_and_matches_the_network(run: Path, rasters: Path, tmp_path: Path) -> None:
    """One window, no blending: the file holds what the network says of the same values."""
    loaded = loading.load_translator(run, device="cpu")
    out = translate(run, [rasters], tmp_path / "out.tif", window=128, overlap=0, device="cpu")
    with Inputs(loaded.translator.task, input_paths(loaded.translator.task, [rasters])) as scene:
        corner = scene.read(0, 0, 128)
    batch = {}
    for stack in loaded.translator.task.inputs:
        values = torch.from_numpy(corner.stacks[stack.key])[None]
        batch[stack.key] = loaded.scaling.scale(values, stack).nan_to_num(0.0)
    batch["valid"] = torch.from_numpy(corner.valid)[None, None]
    with torch.inference_mode():
        expected = loaded.scaling.unscale(loaded.translator(batch).mean, loaded.translator.task.target)[0].numpy()
    with rasterio.open(out) as raster:
        mine = raster.read(window=((0, 20), (0, 10)))  # only the first window reaches this corner
    valid = corner.valid[:20, :10]
    np.testing.assert_allclose(mine[:, valid], expected[:, :20, :10][:, valid], atol=1e-4)


def test_reflectance_scale_of_the_file_is_honoured(rasters: Path, run: Path) -> None:
    task = loading.load_translator(run, device="cpu").translator.task
    paths = input_paths(task, [rasters])
    with Inputs(task, paths) as scene:
        plain = scene.read(0, 0, 64).stacks["s2_t1"]
    with rasterio.open(paths["s2_t1"]) as raster:
        stored = raster.read()
    unscaled = write(paths["s2_t1"], stored, (*S2_BANDS, "clear"), nodata=None)  # x 10000 understood, 0 is missing
    with Inputs(task, paths) as scene:
        np.testing.assert_array_equal(scene.read(0, 0, 64).stacks["s2_t1"], plain)
    write(unscaled, (stored / 5000.0).astype(np.float32), (*S2_BANDS, "clear"), scale=0.5, nodata=0)
    with Inputs(task, paths) as scene:
        np.testing.assert_allclose(scene.read(0, 0, 64).stacks["s2_t1"], plain, rtol=1e-6)


def test_stored_integers_offered_as_reflectance_are_refused(rasters: Path, run: Path, tmp_path: Path) -> None:
    with rasterio.open(rasters / "2019/s2.tif") as raster:
        stored = raster.read().astype(np.float32)
    write(rasters / "2019/s2.tif", stored, (*S2_BANDS, "clear"))
    with refuses(RunError, rasters / "2019/s2.tif", f"{stored[:6].max():.0f}", "gdal_edit -scale 0.0001"):
        translate(run, [rasters], tmp_path / "out.tif", window=128, device="cpu")


def test_another_grid_is_refused_with_what_differs(run: Path, rasters: Path, tmp_path: Path) -> None:
    path = rasters / "2019/s1.tif"
    with rasterio.open(path) as raster:
        values = raster.read()
    write(path, values, ("VV", "VH", "count"), transform=GRID @ Affine.translation(0.5, 0))
    with refuses(RunError, "s1_t1", path, "s2_t2", 500005.0, 500000.0):
        translate(run, [rasters], tmp_path / "out.tif", window=128, device="cpu")
    write(path, values[:, :-1], ("VV", "VH", "count"))
    with refuses(RunError, "s1_t1", path, "s2_t2", "(149, 140)", "(150, 140)"):
        translate(run, [rasters], tmp_path / "out.tif", window=128, device="cpu")


def test_a_missing_band_is_named(run: Path, rasters: Path, tmp_path: Path) -> None:
    with rasterio.open(rasters / "2021/s2.tif") as raster:
        values = raster.read()
    write(rasters / "2021/s2.tif", values[:5], S2_BANDS[:5])
    with refuses(RunError, "s2_t2", rasters / "2021/s2.tif", "B12", "B2, B3, B4, B8, B11"):
        translate(run, [rasters], tmp_path / "out.tif", device="cpu")


def test_radar_that_is_not_in_decibels_is_refused(run: Path, rasters: Path, tmp_path: Path) -> None:
    write(rasters / "2019/s1.tif", radar(150, 140), ("VV",), unit="1")
    with refuses(RunError, "s1_t1", "VV", rasters / "2019/s1.tif", 1, "dB"):
        translate(run, [rasters], tmp_path / "out.tif", device="cpu")


WANTED = (3, "s2_t2=FILE.tif s1_t1=FILE.tif s2_t1=FILE.tif")


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        (["a.tif"], (*WANTED, "a.tif")),
        ([], WANTED),
        (["s2_t2=a.tif", "s1_t1=b.tif", "s1_t1=c.tif"], (*WANTED, "s2_t2=a.tif s1_t1=b.tif s1_t1=c.tif")),
        (["s2_t2=a.tif", "s1_t1=b.tif", "s2_t3=c.tif"], (*WANTED, "s2_t2=a.tif s1_t1=b.tif s2_t3=c.tif")),
        (["a.tif", "b.tif", "c.tif"], ("s2_t2", "a.tif")),
    ],
)
def test_inputs_that_do_not_fit_the_task(
    run: Path, tmp_path: Path, inputs: list[str], named: tuple[object, ...]
) -> None:
    with refuses(RunError, *named):
        translate(run, inputs, tmp_path / "out.tif", device="cpu")


def test_too_many_periods_are_refused_by_name(run: Path, rasters: Path, tmp_path: Path) -> None:
    (rasters / "2023").mkdir()
    with refuses(RunError, 2, 3, "2019, 2021, 2023"):
        translate(run, [rasters], tmp_path / "out.tif", device="cpu")


def test_a_task_of_one_date_takes_one_period(rasters: Path) -> None:
    task = zoo.create("pix2pix_opt2sar").task
    for inputs, period in (
        ([rasters / "2019"], "2019"),
        ([rasters], "2021"),
        ([rasters / "2021", rasters / "2019"], "2019"),
    ):
        assert input_paths(task, inputs) == {"s2_t2": rasters / period / "s2.tif"}
    (rasters / "2023").mkdir()
    with refuses(RunError, 1, 3, "2019, 2021, 2023"):
        input_paths(task, [rasters])


def test_missing_run_is_refused(tmp_path: Path) -> None:
    with refuses(RunError, tmp_path / "nowhere", "s1s2 train"):
        translate(tmp_path / "nowhere", [], tmp_path / "out.tif")


def test_windows_must_fit_the_network() -> None:
    network = Identity()
    assert tiling(network, None, None) == (256, 128)
    assert tiling(network, 64, 10) == (64, 10)
    with refuses(RunError, "window", 60, 8):
        tiling(network, 60, None)
    with refuses(RunError, "overlap", 64, "0 to 63"):
        tiling(network, 64, 64)


def test_a_disk_without_room_for_the_last_bytes_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = rasterio.shutil.copy

    def short_of_room(source: Path, target: Path, **options: Any) -> None:
        copy(source, target, **options)
        with target.open("rb+") as file:
            file.truncate(target.stat().st_size - 1)

    monkeypatch.setattr(rasterio.shutil, "copy", short_of_room)
    with pytest.raises(RunError, match=r"out\.tif cannot be written .*last bytes are missing"):
        run_identity(tmp_path, radar(40, 40), Identity())
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]
