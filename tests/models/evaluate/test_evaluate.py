"""Evaluation of runs and baselines: rows against an independent computation, naming, tables, pages, and wrong inputs."""

import base64
import io
import json
import math
import re
import shutil
import statistics
from dataclasses import asdict, fields, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from rich.console import Console
from skimage.metrics import structural_similarity
from skimage.morphology import closing, remove_small_objects

from models.data.dataset import PairDataset
from models.evaluate import evaluate, page, tables
from models.evaluate.pooling import ScoreKey
from models.evaluate.results import Entry, Evaluation, NotFinite, Row
from models.evaluate.scores import score_batch
from models.metrics.names import METRICS
from models.metrics.pixels import PSNR_CEILING_DB
from models.metrics.ssim import RADIUS
from models.scaling import Scaling
from models.task import Stack, Task
from models.translator import Prediction
from s1s2pairs.errors import DatasetError, RunError
from s1s2pairs.progress import Lines, Silence
from tests.models import conftest
from tests.models.conftest import PERIODS, make_run, patch_values, write_dataset
from tests.refusals import refuses

KEYS = {"run", "network", "seed", "split", "direction", "ground", "roi", "band", "metric", "value", "n", "low", "high"}
MONO_PANELS = ["source, S2 T2", "prediction, S1 T2", "target, S1 T2", "error"]
Key = tuple[str, str, str, str, str | None, str | None]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Patches as large as Pix2Pix needs; the first ROI's first patch has holes."""
    return write_dataset(tmp_path_factory.mktemp("data") / "large", size=256, splits=("test",), rois=2, patches=1)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two seeds of one network, the same network set otherwise, and a network without a reference."""
    root = tmp_path_factory.mktemp("runs")
    return [
        make_run(root / "v1-a", "tsgan", seed=0, version="v1"),
        make_run(root / "v1-b", "tsgan", seed=1, version="v1"),
        make_run(root / "v1-plain", "tsgan", seed=0, version="v1", change_weighted_loss="false"),
        make_run(root / "mono", "pix2pix_opt2sar", seed=0),
    ]


@pytest.fixture(scope="module")
def evaluation(runs: list[Path], dataset: Path) -> Evaluation:
    return evaluate.evaluate(runs, dataset, device="cpu")


def by_key(rows: tuple[Row, ...]) -> dict[Key, Row]:
    return {(row.run, row.metric, row.ground, row.direction, row.roi, row.band): row for row in rows}


def radar_patches(dataset: Path) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Return (VV on [0, 1], valid) of both periods by ROI, read and scaled without the loader."""
    patches = {}
    for folder in sorted((dataset / "patches/test").glob("*/*")):
        pair = []
        for period in PERIODS:
            with rasterio.open(folder / f"{period}_s1.tif") as raster:
                vv, _, count = raster.read().astype(float)
            with rasterio.open(folder / f"{period}_s2.tif") as raster:
                optical = raster.read()
            unit = (np.clip(vv, -25, 10) + 25) / 35
            pair.append((unit, np.isfinite(vv) & (count > 0) & (optical > 0).all(axis=0)))
        patches[folder.parent.name] = pair
    return patches


def test_rows_have_the_columns_of_the_contract_and_no_doubles(evaluation: Evaluation) -> None:
    assert {field.name for field in fields(Row)} == KEYS
    assert len(by_key(evaluation.rows)) == len(evaluation.rows)
    assert {row.direction for row in evaluation.rows} == {"both", "forward", "backward"}
    assert {row.ground for row in evaluation.rows} == {"all", "changed", "unchanged"}
    assert {row.roi for row in evaluation.rows} == {None, "test-0", "test-1"}
    assert {row.split for row in evaluation.rows} == {"test"}


def test_copy_baseline_equals_a_computation_from_the_files(evaluation: Evaluation, dataset: Path) -> None:
    """PSNR of copying T1 in both directions, on all and on changed ground, with the holes left out."""
    rows = by_key(evaluation.rows)
    values: dict[str, list[float]] = {"all": [], "changed": [], "unchanged": []}
    shares: dict[str, list[float]] = {"all": [], "changed": [], "unchanged": []}
    ssims = []
    for roi, ((earlier, valid_1), (later, valid_2)) in radar_patches(dataset).items():
        valid = valid_1 & valid_2
        difference = np.where(valid, np.abs(later - earlier), 0.0)
        cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
        changed = remove_small_objects(closing(difference > 0.09, cross, mode="ignore") & valid, max_size=39)
        assert changed.any()
        for ground, mask in (("all", valid), ("changed", changed), ("unchanged", valid & ~changed)):
            mse = np.mean(difference[mask] ** 2)  # 0 on unchanged ground of this dataset
            values[ground].append(min(PSNR_CEILING_DB, 10 * math.log10(1 / max(mse, 1e-30))))
            shares[ground].append(1.0 if ground == "all" else mask.mean())
        assert rows["copy_t1", "psnr", "all", "both", roi, None].value == pytest.approx(values["all"][-1], rel=1e-5)
        if valid.all():
            padded = [np.pad(image, RADIUS, mode="reflect") for image in (earlier, later)]
            ssims.append(
                structural_similarity(
                    *padded, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0
                )
            )
            assert rows["copy_t1", "ssim", "all", "both", roi, None].value == pytest.approx(ssims[-1], abs=1e-6)
    assert ssims
    for ground, expected in values.items():
        row = rows["copy_t1", "psnr", ground, "both", None, None]
        assert row.value == pytest.approx(np.average(expected, weights=shares[ground]), rel=1e-5)
        assert row.n == 4  # two patches, both directions
        for direction in ("forward", "backward"):  # copying is symmetric in time
            assert rows["copy_t1", "psnr", ground, direction, None, None].value == pytest.approx(row.value, rel=1e-5)
            assert rows["copy_t1", "psnr", ground, direction, None, None].n == 2


def test_every_run_and_baseline_has_the_same_rows(evaluation: Evaluation) -> None:
    keys: dict[str, set[tuple[object, ...]]] = {}
    for key in by_key(evaluation.rows):
        keys.setdefault(key[0], set()).add(key[1:])
    assert set(keys) == {"v1-a", "v1-b", "v1-plain", "mono", "copy_t1", "mean_references"}
    assert len({frozenset(own) for own in keys.values()}) == 1


def test_runs_of_one_network_are_pooled_only_if_they_differ_in_the_seed_alone(evaluation: Evaluation) -> None:
    labels = {entry.run: (entry.label, entry.seed) for entry in evaluation.entries}
    assert labels["v1-a"] == ("tsgan (change_weighted_loss=True)", 0)
    assert labels["v1-b"] == ("tsgan (change_weighted_loss=True)", 1)
    assert labels["v1-plain"] == ("tsgan (change_weighted_loss=False)", 0)
    assert labels["mono"] == ("pix2pix_opt2sar", 0)
    assert labels["copy_t1"] == ("copy_t1", None)


def test_tables_give_mean_and_spread_over_seeds(evaluation: Evaluation) -> None:
    rows = by_key(evaluation.rows)
    seeds = [rows[name, "psnr", "changed", "both", None, None].value for name in ("v1-a", "v1-b")]
    table = next(table for table in tables.tables(evaluation) if table.about == "changed ground")
    cells = dict(table.lines)["tsgan (change_weighted_loss=True)"]
    cell = cells[table.columns.index("psnr")]
    known = [value for value in seeds if value is not None]
    assert cell.mean == pytest.approx(statistics.fmean(known))
    assert cell.spread == pytest.approx(statistics.stdev(known))
    assert cell.seeds == 2
    alone = dict(table.lines)["pix2pix_opt2sar"][table.columns.index("psnr")]
    assert alone.spread is None


def test_scores_do_not_depend_on_the_batch_size(runs: list[Path], dataset: Path, evaluation: Evaluation) -> None:
    whole = by_key(evaluation.of_run("mono").rows)
    told = io.StringIO()
    lines = Lines(Console(file=told, width=200))
    single = evaluate.evaluate(runs[3:], dataset, device="cpu", batch_size=3, progress=lines)
    for key, row in by_key(single.rows).items():
        assert row.n == whole[key].n
        assert row.value == (pytest.approx(whole[key].value, rel=1e-4, abs=1e-5) if row.value is not None else None)
    assert re.search(r"^scoring mono: 4 to do\nscoring mono: 4/4", told.getvalue(), re.MULTILINE)


def test_files_are_complete_and_strict(evaluation: Evaluation, tmp_path: Path) -> None:
    paths = page.write_evaluation(evaluation, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "evaluation.html", "evaluation.json", "evaluation.md", "patches.csv"
    ]  # fmt: skip

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    document = json.loads(paths[0].read_text(encoding="utf-8"), parse_constant=refuse)
    assert all(set(row) == KEYS for row in document["rows"])
    assert len(document["rows"]) == len(evaluation.rows)
    markdown = paths[1].read_text(encoding="utf-8")
    assert "## Ranking: s1_t2 (VV)" in markdown
    assert "± " in markdown
    html = paths[2].read_text(encoding="utf-8")
    drawn = sum(len(example.panels) for example in evaluation.examples)
    assert (
        html.count("data:image/jpeg;base64,/9j/") == drawn == 3 * (3 * 6 + 4)
    )  # three ranks; TSGAN shows 6, pix2pix 4
    assert len(html) < 1_500_000
    assert outside_links(html) == []


def test_results_lie_in_each_run_and_beside_them(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    moved = tuple(replace(entry, path=None if entry.baseline else f"runs/{entry.run}") for entry in evaluation.entries)
    folder = page.write_results(replace(evaluation, entries=moved))
    assert folder.resolve() == tmp_path / "evaluation"
    assert {path.parent.name for path in tmp_path.rglob("evaluation.html")} == {
        "evaluation", "v1-a", "v1-b", "v1-plain", "mono"
    }  # fmt: skip
    own = json.loads((tmp_path / "runs/mono/evaluation.json").read_text(encoding="utf-8"))
    assert {row["run"] for row in own["rows"]} == {"mono", "copy_t1", "mean_references"}
    alone = replace(evaluation, entries=moved).of_run("mono")
    assert page.write_results(alone) == Path("runs/mono")
    assert page.write_results(alone, tmp_path / "out") == tmp_path / "out"
    assert (tmp_path / "out/evaluation.json").is_file()


def outside_links(html: str) -> list[str]:
    found: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(
                str(value) for name, value in attrs if name in ("src", "href") and not str(value).startswith("data:")
            )
            assert tag not in ("script", "link", "iframe")

    Links().feed(html)
    return found


def test_cells_show_decimals_by_metric_and_no_negative_zero() -> None:
    assert page.format_cell(tables.Cell(-1e-9, None, 1, 4), "skill") == "0.000"
    assert page.format_cell(tables.Cell(21.456, 0.123, 3, 4), "psnr") == "21.46 ± 0.12"
    assert page.format_cell(tables.Cell(None, None, 0, 0), "psnr") == "–"


def test_a_perfect_psnr_is_marked_and_the_mark_explained(evaluation: Evaluation) -> None:
    assert page.format_cell(tables.Cell(PSNR_CEILING_DB, None, 1, 4), "psnr") == "100.00†"
    assert page.format_cell(tables.Cell(99.99, None, 1, 4), "psnr") == "99.99"
    assert page.format_cell(tables.Cell(100.0, None, 1, 4), "mae_db") == "100.00"
    html = page.to_html(evaluation)  # copying is perfect on this dataset's unchanged ground
    assert "100.00†" in html
    assert "<li>† PSNR of an image without error" in html


def test_readers_see_names_units_and_arrows(evaluation: Evaluation) -> None:
    html = page.to_html(evaluation)
    assert '<th title="mae_db: mean absolute value of prediction - target">MAE<small>dB ↓</small></th>' in html
    assert "PSNR [dB] ↑ on changed ground by ROI</summary>" in html
    assert "| network | PSNR [dB] ↑ | SSIM ↑ |" in page.to_markdown(evaluation)
    shown = re.sub(r"<[^>]*>", "", html[html.index("<body>") : html.index("What the columns mean")])
    assert [name for name in ("psnr", "mae_db", "hf_ratio") if name in shown] == []


def test_every_metric_of_both_sensors_has_a_name(evaluation: Evaluation) -> None:
    optical = Stack(sensor="s2", date=1, bands=("B4", "B8"))
    task = Task(name="optical", sources=(), references=(replace(optical, date=0),), target=optical)
    images = torch.rand(3, 1, 2, 64, 64) * 2 - 1
    batch = {
        "s2_t1": images[0], "s2_t2": images[1], "valid": torch.ones(1, 1, 64, 64, dtype=torch.bool), "sample": torch.zeros(1)
    }  # fmt: skip
    observed = {stack.key: Scaling().unscale(batch[stack.key], stack) for stack in task.stacks}
    scored = score_batch(Prediction(images[2]), observed, batch, task, Scaling()).pool(np.array([True]))
    metrics = {row.metric for row in evaluation.rows} | {column.metric for column in scored}
    assert metrics == set(METRICS)


def test_the_scorer_counts_errors_beyond_the_scaling_range(dataset: Path) -> None:
    radar = Stack(sensor="s1", date=1, bands=("VV",))
    task = Task(name="radar", sources=(), references=(replace(radar, date=0),), target=radar)
    data = PairDataset(dataset, task, split="test", scaling=Scaling(s1_ranges_db={"VV": (-15.0, -14.0)}))
    scorer = evaluate._Scorer(dataset=data, device=torch.device("cpu"), batch_size=3, progress=Silence())
    scores = scorer.score("middle", lambda batch, _: (Prediction(torch.zeros_like(batch["s1_t2"])), None))
    raw = data.read(range(len(data)))
    stored = raw["s1_t2"][~torch.isnan(raw["s1_t1"]) & ~torch.isnan(raw["s1_t2"])]
    pooled = scores.pool(np.ones(len(data), bool))
    assert pooled[ScoreKey("mae_db", "all", None)].value == pytest.approx(float((stored + 14.5).abs().mean()), rel=1e-5)
    assert float((stored + 14.5).abs().mean()) > 1  # a clipped target would be at most half a decibel away


def test_the_page_names_the_dataset_and_not_where_it_lies(evaluation: Evaluation, dataset: Path) -> None:
    assert evaluation.dataset == str(dataset)
    for text in (page.to_html(evaluation), page.to_markdown(evaluation)):
        assert "Evaluation on large" in text
        assert str(dataset.parent) not in text


@pytest.mark.parametrize(("side", "kind"), [(64, "png"), (256, "jpeg")])
def test_images_are_small_and_true(side: int, kind: str) -> None:
    ramp = np.linspace(0, 255, side).round().astype(np.uint8)
    for rgb in (
        np.stack([np.tile(ramp, (side, 1))] * 3, axis=-1),
        np.stack(np.broadcast_arrays(ramp, ramp[:, None], 9), -1),
    ):
        head, _, data = page.image_uri(rgb.astype(np.uint8)).partition(",")
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)
        assert head == f"data:image/{kind};base64"
        assert np.abs(shown - rgb).mean() < (3 if kind == "jpeg" else 1e-9)


def test_names_are_escaped_in_the_page(evaluation: Evaluation) -> None:
    entries = tuple(Entry(**{**asdict(entry), "label": "<b>bold</b>"}) for entry in evaluation.entries)
    odd = Evaluation(dataset="a<script>", split="test", entries=entries, rows=evaluation.rows, examples=())
    assert "<b>bold</b>" not in page.to_html(odd)
    assert "a<script>" not in page.to_html(odd)


def test_pictures_show_worst_median_and_best(evaluation: Evaluation) -> None:
    shown = [example for example in evaluation.examples if example.run == "mono"]
    assert all([panel.name for panel in picture.panels] == MONO_PANELS for picture in shown)
    assert [picture.rank for picture in shown] == ["worst", "median", "best"]
    assert shown[0].psnr_db <= shown[1].psnr_db <= shown[2].psnr_db
    assert shown[0].psnr_db < shown[2].psnr_db


def test_part_of_one_run_keeps_its_baselines(evaluation: Evaluation) -> None:
    part = evaluation.of_run("v1-b")
    assert {entry.run for entry in part.entries} == {"v1-b", "copy_t1", "mean_references"}
    assert {row.run for row in part.rows} == {"v1-b", "copy_t1", "mean_references"}
    assert {example.run for example in part.examples} == {"v1-b"}


def test_unchanged_dataset_has_null_and_no_zero_on_changed_ground(
    tmp_path: Path, runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def still(rng: np.random.Generator, size: int, *, changed: bool, holes: bool) -> tuple[np.ndarray, np.ndarray]:
        del changed
        return patch_values(rng, size, changed=False, holes=holes)

    monkeypatch.setattr(conftest, "patch_values", still)
    data = write_dataset(tmp_path / "data", size=256, splits=("test",), rois=1, patches=1)
    rows = by_key(evaluate.evaluate(runs[3:], data, device="cpu").rows)
    row = rows["mono", "psnr", "changed", "both", None, None]
    assert (row.value, row.n) == (None, 0)
    assert rows["mono", "psnr", "unchanged", "both", None, None].n == 2


def test_runs_that_cannot_share_pixels_are_scored_apart(runs: list[Path], dataset: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "cross", "pix2pix_opt2sar", s1_bands="VH")
    result = evaluate.evaluate([runs[3], other], dataset, device="cpu")
    assert len({entry.target for entry in result.entries}) == 2
    assert [ranking.target for ranking in tables.rankings(result)] == ["s1_t2 (VV)", "s1_t2 (VH)"]
    assert sum(entry.baseline for entry in result.entries) == 4
    assert len({entry.run for entry in result.entries}) == 6


def test_equal_folder_names_are_told_apart(runs: list[Path], dataset: Path, tmp_path: Path) -> None:
    twin = make_run(tmp_path / "mono", "pix2pix_opt2sar", seed=5)
    result = evaluate.evaluate([runs[3], twin], dataset, device="cpu")
    assert {entry.run for entry in result.entries if not entry.baseline} == {str(runs[3]), str(twin)}


def test_a_checkpoint_folder_can_be_scored_too(runs: list[Path], dataset: Path) -> None:
    result = evaluate.evaluate([runs[3] / "checkpoints/best"], dataset, device="cpu")
    assert [entry.seed for entry in result.entries if not entry.baseline] == [0]


# --- rankings from made-up rows


def made_up(values: dict[str, dict[tuple[str, str], float | None]]) -> Evaluation:
    entries = [
        Entry(run=name, network=name, label=name, seed=0, target="s1_t2 (VV)", baseline=False, path=None)
        for name in values
    ]
    rows = [
        Row(
            run=name, network=name, seed=0, split="test", direction="both", ground=ground, roi=None, band=None,
            metric=metric, value=value, n=0 if value is None else 1,
        )  # type: ignore[arg-type]
        for name, own in values.items()
        for (metric, ground), value in own.items()
    ]  # fmt: skip
    return Evaluation(dataset="d", split="test", entries=tuple(entries), rows=tuple(rows), examples=())


def test_ranking_is_the_mean_rank_with_ties_shared() -> None:
    criteria = [("psnr", "changed"), ("ssim", "changed"), ("psnr", "unchanged"), ("ssim", "unchanged")]
    ranking = tables.rankings(
        made_up(
            {
                "copy": dict(zip(criteria, (10, 0.1, 30, 0.9), strict=True)),
                "good": dict(zip(criteria, (16, 0.4, 29, 0.9), strict=True)),
                "wild": dict(zip(criteria, (15, 0.3, 20, 0.5), strict=True)),
            }
        )
    )[0]
    assert [(network.place, network.label, network.mean_rank) for network in ranking.networks] == [
        (1, "good", (1 + 1 + 2 + 1.5) / 4),
        (2, "copy", (3 + 3 + 1 + 1.5) / 4),
        (3, "wild", (2 + 2 + 3 + 3) / 4),
    ]


def test_a_criterion_without_values_does_not_rank() -> None:
    ranking = tables.rankings(
        made_up(
            {
                "a": {("psnr", "changed"): None, ("psnr", "unchanged"): 20.0},
                "b": {("psnr", "changed"): None, ("psnr", "unchanged"): 21.0},
            }
        )
    )[0]
    assert ranking.criteria == (("psnr", "unchanged"),)
    assert [network.label for network in ranking.networks] == ["b", "a"]


def test_a_network_with_invalid_scores_ranks_last() -> None:
    criteria = [("psnr", "changed"), ("psnr", "unchanged")]
    bad = (NotFinite(patch_id="p", direction="forward", pixels=3),)
    found = made_up(
        {
            "broken": dict(zip(criteria, (None, 40.0), strict=True)),
            "poor": dict(zip(criteria, (5.0, 6.0), strict=True)),
            "good": dict(zip(criteria, (16.0, 29.0), strict=True)),
        }
    )
    entries = tuple(replace(entry, not_finite=bad if entry.run == "broken" else ()) for entry in found.entries)
    ranking = tables.rankings(replace(found, entries=entries))[0]
    assert ranking.criteria == tuple(criteria), "it takes no criterion from the others"
    assert [(network.place, network.label, network.ranks) for network in ranking.networks] == [
        (1, "good", (1, 1)),
        (2, "poor", (2, 2)),
        (3, "broken", (3, 3)),
    ]


def test_predictions_that_are_not_finite_are_named_and_make_no_score(
    runs: list[Path],
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    evaluation: Evaluation,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One pixel of one sample, in one of two seeds."""
    from models import zoo
    from models.networks.tsgan import Network

    shutil.copytree(runs[1], tmp_path / "v1-bad")
    forward, calls = Network.forward, []

    def broken(network: Network, batch: dict[str, torch.Tensor]) -> Prediction:
        calls.append(network)
        mean = forward(network, batch).mean.clone()
        if network is not calls[0]:  # the second seed
            mean[batch["sample"] == 2, :, 100, 100] = math.nan
        return Prediction(mean)

    monkeypatch.setattr(Network, "forward", broken)
    found = evaluate.evaluate([runs[0], tmp_path / "v1-bad", runs[3]], dataset, device="cpu")
    bad = next(entry for entry in found.entries if entry.run == "v1-bad")
    data = PairDataset(dataset, zoo.create("tsgan").task, split="test", scaling=Scaling())
    sample = data.samples[2]
    assert bad.not_finite == (NotFinite(patch_id=sample.patch_id, direction=sample.direction, pixels=1),)
    assert all(entry.not_finite == () for entry in found.entries if entry is not bad)
    rows, before = by_key(found.rows), by_key(evaluation.rows)
    for key, row in rows.items():
        if key[0] != "v1-bad":
            assert row == before[key]
        elif (row.roi in (None, sample.roi)) and row.direction in ("both", sample.direction):
            assert row.value is None or row.ground == "changed"
        else:
            assert row.value == before[("v1-b", *key[1:])].value, "other ROIs and directions keep their values"
    assert rows["v1-bad", "psnr", "all", "both", None, None].value is None
    ranking = tables.rankings(found)[0]
    assert ranking.networks[-1].label == bad.label, "the sound seed does not save it"

    folder = page.write_results(found, tmp_path / "out")
    document = json.loads((folder / page.JSON_NAME).read_text(), parse_constant=pytest.fail)
    named = {entry["run"]: entry["not_finite"] for entry in document["entries"]}
    assert named["v1-bad"] == [{"patch_id": sample.patch_id, "direction": sample.direction, "pixels": 1}]
    assert named["copy_t1"] == []
    for name in (page.HTML_NAME, page.MARKDOWN_NAME):
        text = (folder / name).read_text()
        assert f"v1-bad: NaN or infinity is predicted where the target is valid, in 1 sample: {sample.patch_id}" in text
        assert "invalid" in text
    assert (
        f"v1-bad: NaN or infinity is predicted where the target is valid, in 1 sample: {sample.patch_id}" in caplog.text
    )


@pytest.mark.parametrize(
    ("metric", "worse", "good"),
    [("psnr", 20, 21), ("mae_db", 3, 2), ("rmse_reflectance", 0.2, 0.1), ("sam_deg", 5, 4), ("hf_ratio", 1.5, 0.8)],
)
def test_better_knows_each_metric_s_direction(metric: str, worse: float, good: float) -> None:
    assert METRICS[metric].better(good) > METRICS[metric].better(worse)


# --- what is refused


def test_no_runs(dataset: Path) -> None:
    with refuses(RunError, "s1s2 train"):
        evaluate.evaluate([], dataset)


def test_missing_run(dataset: Path, tmp_path: Path) -> None:
    with refuses(RunError, tmp_path / "nowhere", "s1s2 train"):
        evaluate.evaluate([tmp_path / "nowhere"], dataset, device="cpu")


def test_missing_dataset(runs: list[Path], tmp_path: Path) -> None:
    with refuses(DatasetError, tmp_path / "nowhere", f"s1s2 build RECIPE --out {tmp_path / 'nowhere'}"):
        evaluate.evaluate(runs[3:], tmp_path / "nowhere", device="cpu")


def test_empty_split(runs: list[Path], dataset: Path) -> None:
    with refuses(RunError, dataset, "val", "test"):
        evaluate.evaluate(runs[3:], dataset, split="val", device="cpu")


def test_dataset_that_lacks_a_band_of_the_run(dataset: Path, tmp_path: Path) -> None:
    greedy = make_run(tmp_path / "greedy", "pix2pix_opt2sar", s2_bands="B2,B5")
    with refuses(RunError, dataset, "B5", "B2, B3, B4, B8, B11, B12", "--set"):
        evaluate.evaluate([greedy], dataset, device="cpu")


def test_damaged_run_record(dataset: Path, tmp_path: Path) -> None:
    broken = make_run(tmp_path / "broken", "pix2pix_opt2sar")
    (broken / "run.json").write_text("{", encoding="utf-8")
    with refuses(RunError, broken / "run.json"):
        evaluate.evaluate([broken], dataset, device="cpu")
