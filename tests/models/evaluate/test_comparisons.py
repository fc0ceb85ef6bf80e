"""Paired comparisons of networks: differences, tests and verdicts from made-up scores."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from models.data.samples import Sample
from models.evaluate import page, tables
from models.evaluate.comparisons import RANKED_BY, Comparison, comparisons, pair_tables
from models.evaluate.pooling import ScoreKey, Value
from models.evaluate.results import Entry, Evaluation, NotFinite, Row, SampleTable, Scored
from models.metrics.pixels import FloatArray
from tests.models.evaluate.test_uncertainty import mean_of

PER_ROI = 4


def evaluation_of(networks: dict[str, FloatArray], rois: int, *, labels: dict[str, str] | None = None) -> Evaluation:
    """Every criterion of the ranking has the same values, (ROI x PER_ROI,) for each run; `copy_t1` is a baseline."""
    samples = [
        Sample(
            patch_id=f"patch-{roi}-{part // 2}",
            roi=f"roi-{roi}",
            periods=("2019", "2021"),
            direction="forward" if part % 2 else "backward",
            rows=(0, 1),
        )
        for roi in range(rois)
        for part in range(PER_ROI)
    ]
    table = SampleTable.of(samples)
    entries, rows, scored = [], [], {}
    for run, values in networks.items():
        label = (labels or {}).get(run, run)
        entries.append(
            Entry(run=run, network=label, label=label, seed=0, target="t", baseline=run == "copy_t1", path=None)
        )
        measure = mean_of(values)
        scored[run] = Scored(measures={ScoreKey(*key, None): measure for key in RANKED_BY}, table=table)
        value, n = measure.pool(np.ones(len(values), bool))
        rows += [
            Row(
                run=run, network=label, seed=0, split="test", direction="both", ground=ground, roi=None, band=None,
                metric=metric, value=value, n=n,
            )
            for metric, ground in RANKED_BY
        ]  # fmt: skip
    return Evaluation(dataset="d", split="test", entries=tuple(entries), rows=tuple(rows), examples=(), scored=scored)


def noise(rois: int, *, seed: int = 0, scale: float = 1.0) -> FloatArray:
    return np.random.default_rng(seed).normal(20, scale, rois * PER_ROI)


def found_for(evaluation: Evaluation, first: str, second: str) -> Comparison:
    return next(
        found
        for found in comparisons(evaluation)
        if (found.first, found.second, found.metric, found.ground) == (first, second, "psnr", "changed")
    )


def test_a_comparison_is_wilcoxon_over_rois_with_the_difference_of_the_pooled_values() -> None:
    one, other = noise(12), noise(12, seed=1) - 0.4
    found = found_for(evaluation_of({"one": one, "other": other}, 12), "one", "other")
    by_roi = (one - other).reshape(12, PER_ROI).mean(axis=1)
    assert found.difference == pytest.approx(float((one - other).mean()))
    assert found.p == pytest.approx(stats.wilcoxon(by_roi).pvalue)
    assert found.p_adjusted == found.p, "one pair, one test"
    assert found.rois == 12
    rng = np.random.default_rng(3)
    drawn = [by_roi[rng.integers(0, 12, 12)].mean() for _ in range(20_000)]
    np.testing.assert_allclose([found.low, found.high], np.percentile(drawn, [2.5, 97.5]), atol=0.05)


def test_pairs_are_told_apart_where_patches_alone_vary_more() -> None:
    """A small gain on every ROI shows, though it is far below the spread of the patches."""
    base = noise(12, scale=5)
    found = found_for(
        evaluation_of({"better": base + 0.1 + noise(12, scale=0.01) / 1000, "base": base}, 12), "better", "base"
    )
    assert found.verdict == "better"
    assert found.low is not None
    assert found.low > 0.09


def test_seeds_are_averaged_before_the_test() -> None:
    seeds = {"a-0": noise(9, seed=1), "a-1": noise(9, seed=2)}
    both = evaluation_of({**seeds, "b": noise(9, seed=3)}, 9, labels=dict.fromkeys(seeds, "a"))
    mean = evaluation_of({"a": (seeds["a-0"] + seeds["a-1"]) / 2, "b": noise(9, seed=3)}, 9)
    one, other = found_for(both, "a", "b"), found_for(mean, "a", "b")
    assert one.p == other.p
    assert (one.difference, one.low, one.high) == pytest.approx((other.difference, other.low, other.high))


def test_p_is_adjusted_for_all_pairs_but_not_for_equal_baselines() -> None:
    base = noise(10)
    networks = {"good": base + 1, "fair": base + 0.5, "copy_t1": base, "mean_references": base.copy()}
    found = evaluation_of(networks, 10)
    assert len([pair for pair in comparisons(found) if pair.metric == "psnr" and pair.ground == "changed"]) == 6
    least = 2 / 2**10
    for pair in (("good", "fair"), ("good", "copy_t1"), ("fair", "copy_t1")):
        assert found_for(found, *pair).p == pytest.approx(least)
        assert found_for(found, *pair).p_adjusted == pytest.approx(3 * least), "three different pairs"
    same = found_for(found, "mean_references", "copy_t1")
    assert (same.verdict, same.difference, same.p) == ("equal", 0, 1)
    assert found_for(found, "good", "mean_references").p_adjusted == pytest.approx(3 * least)


def test_few_rois_cannot_tell() -> None:
    base = noise(5)
    assert found_for(evaluation_of({"a": base + 9, "b": base}, 5), "a", "b").verdict == "too few ROIs"
    base = noise(6)
    assert found_for(evaluation_of({"a": base + 9, "b": base}, 6), "a", "b").verdict == "better"
    assert found_for(evaluation_of({"a": base - 9, "b": base}, 6), "a", "b").verdict == "worse"
    alike = found_for(evaluation_of({"a": noise(6, seed=7), "b": base}, 6), "a", "b")
    assert alike.verdict == "no difference shown"
    single = found_for(evaluation_of({"a": noise(1) + 9, "b": noise(1)}, 1), "a", "b")
    assert (single.low, single.high, single.verdict) == (None, None, "too few ROIs")
    assert page.format_difference(single)[1:] == ("", "too few ROIs (1)")
    assert page.format_difference(None) == ("–", "", "")


def test_what_is_not_finite_is_not_compared() -> None:
    found = evaluation_of({"a": noise(6), "b": noise(6, seed=1), "c": noise(6, seed=2)}, 6)
    bad = (NotFinite(patch_id="p", direction="forward", pixels=1),)
    entries = tuple(replace(entry, not_finite=bad if entry.run == "b" else ()) for entry in found.entries)
    assert {(pair.first, pair.second) for pair in comparisons(replace(found, entries=entries))} == {("a", "c")}


def test_the_ranking_says_which_neighbours_differ() -> None:
    base = noise(12)
    networks = {"copy_t1": base, "good": base + 1, "fair": base + noise(12, seed=8, scale=0.5) - 20.0}
    evaluation = evaluation_of(networks, 12)
    (ranking,) = tables.rankings(evaluation)
    said = {network.label: page.against_next(network, ranking) for network in ranking.networks}
    assert said["good"] == "better: PSNR changed, SSIM changed, PSNR unchanged, SSIM unchanged"
    neighbours = [network.label for network in ranking.networks]
    assert set(neighbours[1:]) == {"copy_t1", "fair"}
    assert said[neighbours[1]] == "no difference shown"
    assert said[neighbours[2]] == ""
    (places,) = [page.ranking_rows(ranking)["places"]]
    assert places[0]["against_next"]["psnr changed"] == "better"  # type: ignore[index]
    for text in (page.to_markdown(evaluation), page.to_html(evaluation)):
        assert "better: PSNR changed, SSIM changed" in text
        assert "no difference shown" in text


def test_networks_come_before_baselines_in_the_table_of_pairs() -> None:
    base = noise(12)
    evaluation = evaluation_of({"copy_t1": base, "good": base + 1}, 12)
    (table,) = pair_tables(comparisons(evaluation))
    assert [line[:2] for line in table.lines] == [("good", "copy_t1")]
    assert page.format_difference(table.lines[0][2][0]) == ("+1.00", "+1.00 to +1.00", "p < 0.001")
    assert "| good − copy_t1 | **+1.00 [+1.00 to +1.00], p < 0.001** |" in page.to_markdown(evaluation)
    html = page.to_html(evaluation)
    assert '<td class="best">+1.00<small>+1.00 to +1.00</small><small>p &lt; 0.001</small></td>' in html


def test_cells_of_several_seeds_have_the_interval_of_their_mean() -> None:
    seeds = {"a-0": noise(9, seed=1), "a-1": noise(9, seed=2)}
    evaluation = evaluation_of(seeds, 9, labels=dict.fromkeys(seeds, "a"))
    table = next(found for found in tables.tables(evaluation) if found.about == "changed ground")
    ((_, cells),) = table.lines
    rng = np.random.default_rng(5)
    by_roi = np.mean(list(seeds.values()), axis=0).reshape(9, PER_ROI).mean(axis=1)
    wanted = np.percentile([by_roi[rng.integers(0, 9, 9)].mean() for _ in range(20_000)], [2.5, 97.5])
    np.testing.assert_allclose([cells[0].low, cells[0].high], wanted, atol=0.05)
    shown = page.format_interval(cells[0], "psnr")
    assert shown == f"{cells[0].low:.2f} to {cells[0].high:.2f}"
    assert f"| a, 95 % | {shown} |" in page.to_markdown(evaluation)
    assert f"<small>{shown}</small>" in page.to_html(evaluation)
    assert Value(cells[0].mean, 36) == Value(pytest.approx(np.mean(list(seeds.values()))), 36)
