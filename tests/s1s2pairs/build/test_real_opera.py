"""The temporal mean of real gamma0 scenes, 30 m, against what was computed apart from the source."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s1s2pairs.acquisitions import RoiGrids, Span
from s1s2pairs.errors import SourceError
from s1s2pairs.plan.choices import place
from s1s2pairs.recipe.parser import parse_recipe
from s1s2pairs.sources.registry import open_source
from tests.refusals import refuses

ALL = (Span(start=dt.datetime(2021, 1, 1, tzinfo=dt.UTC), end=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),)


@pytest.fixture(scope="module")
def archive(real_data: Path) -> Path:
    return real_data / "opera-t137"


@pytest.fixture(scope="module")
def expected(archive: Path) -> dict[str, Any]:
    return json.loads((archive / "expected.json").read_text())


def places(archive: Path, *, pixel_size_m: int) -> dict[str, RoiGrids]:
    recipe = json.loads((archive / "recipe.geojson").read_text())
    recipe["s1s2"] = {"patch": {"size": 64}, "pixel_size_m": pixel_size_m}
    parsed = parse_recipe(
        json.dumps(recipe), file="recipe.geojson", today=dt.date(2026, 1, 1), default_name="opera", years=[2021]
    )
    return {roi.name: place(roi) for roi in parsed.rois}


@pytest.mark.parametrize("pixel_size_m", [10, 30])
def test_temporal_mean(archive: Path, expected: dict[str, Any], pixel_size_m: int) -> None:
    source = open_source(str(archive))
    assert source.backscatter() == "gamma0"
    for name, roi in places(archive, pixel_size_m=pixel_size_m).items():
        group = expected["rois"][name]["s1"]["groups"]["137"]
        found = source.find_sar(roi, ALL, polarisations=("VV", "VH"))
        assert [a.scene_ids[0] for a in found] == group["ids"]
        for acquisition in found:
            assert acquisition.incidence_deg == pytest.approx(group["mean_angle_deg"], abs=2e-3)
        mean = source.mean_sar([a.scene_ids for a in found], polarisations=("VV", "VH"), grid=roi.grid)
        assert (mean.count == 21).all()
        assert roi.grid.shape == (3000 // pixel_size_m, 3000 // pixel_size_m)
        for band, truth in zip(mean.linear.astype(np.float64), ("VV", "VH"), strict=True):
            db = 10 * np.log10(band)
            assert db.mean() == pytest.approx(group["mean_over_all_dates"][truth]["mean_db"], abs=1e-3)
            assert db.std() == pytest.approx(group["mean_over_all_dates"][truth]["std_db"], abs=1e-3)


def test_an_archive_without_optical_scenes_says_so(archive: Path) -> None:
    roi = next(iter(places(archive, pixel_size_m=10).values()))
    with refuses(SourceError, archive.name, "sentinel-2-l2a", "sentinel-2-c1-l2a"):
        open_source(str(archive)).find_optical(roi, ALL)
