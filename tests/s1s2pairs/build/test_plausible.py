"""Data that cannot be, and patches that hold too little: nothing of either goes in unsaid."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s1s2pairs.acquisitions import SceneIds
from s1s2pairs.build.build import BuildReport
from s1s2pairs.build.text import build_lines
from s1s2pairs.dataset.dataset import open_dataset
from s1s2pairs.dataset.layout import CARD_FILE
from s1s2pairs.dataset.left_out import CARD_LEFT_OUT_KEY
from s1s2pairs.dataset.verify import verify
from s1s2pairs.plan import lock
from s1s2pairs.sources import OpticalComposite, SarMean
from tests.s1s2pairs.conftest import TWO, edit_card, tiny_recipe, tree
from tests.s1s2pairs.fake_source import FakeSource, calls

Run = Callable[..., BuildReport]


def spoil(monkeypatch: pytest.MonkeyPatch, method: str, change: Callable[[Any], Any]) -> None:
    """Change what the fake source answers for the ROI `north`."""
    honest = getattr(FakeSource, method)

    def answer(self: FakeSource, acquisitions: Sequence[SceneIds], **asked: Any) -> Any:
        given = honest(self, acquisitions, **asked)
        return change(given) if "north" in acquisitions[0][0] else given

    monkeypatch.setattr(FakeSource, method, answer)


def no_pixel(mean: SarMean) -> SarMean:
    return SarMean(linear=np.full_like(mean.linear, np.nan), count=np.zeros_like(mean.count))


@pytest.mark.parametrize(
    ("method", "change", "words"),
    [
        ("mean_sar", no_pixel, ("s1.tif", "S1/north", "not one valid pixel", "`raster:bands`", "dB")),
        (
            "mean_sar",
            lambda mean: replace(mean, linear=10 ** (mean.linear / 10)),
            ("s1.tif", "S1/north", "found 0.", "`raster:bands`"),
        ),
        (
            "mean_sar",
            lambda mean: replace(mean, linear=mean.linear * np.float32(1e-8)),
            ("s1.tif", "found -"),
        ),
        (
            "composite_optical",
            lambda made: OpticalComposite(reflectance=made.reflectance * 0, clear=made.clear * 0),
            ("s2.tif", "S2/north", "not one valid pixel", "nodata"),
        ),
        (
            "composite_optical",
            lambda made: replace(made, reflectance=np.where(made.reflectance > 0, 30_000, 0).astype(np.uint16)),
            ("s2.tif", "S2/north", "reflectance above 2", "100%", "scale"),
        ),
    ],
    ids=["no radar", "dB that is power", "far below the noise", "no optical", "bright beyond snow"],
)
def test_values_that_cannot_be_fail_their_roi(
    method: str, change: Any, words: tuple[str, ...], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, method, change)
    report = run(tiny_recipe(TWO))
    (failed,) = report.failed
    assert failed.roi == "north"
    for word in words:
        assert word in str(failed.failure)
    assert set(open_dataset(tmp_path / "out").index["roi"]) == {"south"}
    assert verify(tmp_path / "out").ok


def holes(part: float) -> Callable[[SarMean], SarMean]:
    """Take radar values from the first columns of every raster."""

    def change(mean: SarMean) -> SarMean:
        columns = round(part * mean.count.shape[1])
        linear, count = mean.linear.copy(), mean.count.copy()
        linear[:, :, :columns], count[:, :columns] = np.nan, 0
        return SarMean(linear=linear, count=count)

    return change


def test_patches_with_too_few_valid_pixels_are_left_out(
    run: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, "mean_sar", holes(0.5))
    report = run(tiny_recipe(TWO))
    whole = open_dataset(tmp_path / "out").index
    kept = whole[whole.roi == "north"]
    assert kept[["s1_valid_fraction", "s2_valid_fraction"]].min(axis=None) >= 0.1
    (north, south) = report.rois
    assert (south.left_out, south.patches) == (0, 12)
    assert (north.left_out, north.patches) == (6, 6), "three patches in two periods"
    assert kept.patch_id.nunique() == 3
    assert "north: 4 rasters made, 0 kept, 6 pairs of patches, 6 left out for want of valid pixels" in build_lines(
        report
    )
    assert len(list((tmp_path / "out/patches/train/north").rglob("*.tif"))) == 3 * 4
    assert verify(tmp_path / "out").ok
    before, fetched = tree(tmp_path / "out"), calls(source)
    again = run(tiny_recipe(TWO))
    assert tree(tmp_path / "out") == before, "a second start changes nothing"
    assert calls(source) == fetched
    assert [roi.left_out for roi in again.rois] == [6, 0]
    assert [roi.kept for roi in again.rois] == [4, 4]


def test_zero_keeps_all(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, "mean_sar", holes(0.9))
    assert [roi.patches for roi in run(tiny_recipe(TWO, min_valid_fraction=0)).rois] == [12, 12]
    assert CARD_LEFT_OUT_KEY not in json.loads((tmp_path / "out" / CARD_FILE).read_text())


def test_a_roi_without_a_patch_fails(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, "mean_sar", holes(0.97))
    (failed,) = run(tiny_recipe(TWO)).failed
    assert failed.roi == "north"
    for word in ("6 patches", "min_valid_fraction", "0.1", "at best 0.0"):
        assert word in str(failed.failure)
    assert verify(tmp_path / "out").ok


def test_verify_looks_whether_patches_were_rightly_left_out(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, "mean_sar", holes(0.5))
    run(tiny_recipe(TWO))
    card = json.loads((tmp_path / "out" / CARD_FILE).read_text())
    name, held = next(iter(card[CARD_LEFT_OUT_KEY].items()))
    held[next(iter(held))] = 0.05
    edit_card(tmp_path / "out", lambda card: card[CARD_LEFT_OUT_KEY].update({name: held}))
    assert {(one.kind, one.path) for one in verify(tmp_path / "out").problems} >= {("row", CARD_FILE)}
    assert any(name in one.detail for one in verify(tmp_path / "out").problems)


def test_a_lock_of_before_keeps_all_patches(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tiny_recipe({"north": {}}, min_valid_fraction=0), out="first")
    old = json.loads((tmp_path / "first/recipe.lock.geojson").read_text())
    for feature in old["features"]:
        del feature["properties"]["min_valid_fraction"]
    (tmp_path / "old.geojson").write_text(json.dumps(old))
    spoil(monkeypatch, "mean_sar", holes(0.5))
    assert [roi.patches for roi in run(lock.load(tmp_path / "old.geojson")).rois] == [12]
