"""The estimate of `build --plan`, worked out by hand."""

from dataclasses import replace
from pathlib import Path

from s1s2pairs.plan.choices import needed
from s1s2pairs.sources import Cost
from s1s2pairs.sources.registry import cost_of
from tests.s1s2pairs.handmade import make_dataset


def test_every_window_at_its_own_resolution(tmp_path: Path) -> None:
    plan = make_dataset(tmp_path, years=(2019,), s2_bands=("B2", "B11"), failure="clouds")
    roi, failed = plan.rois[0], plan.rois[-1]
    assert roi.choices is not None
    assert roi.choices.grid.shape == (48, 48)
    (period,) = roi.choices.periods
    scenes = len(period.sar)
    assert {len(a.scene_ids) for a in (*period.sar, *period.optical)} == {1}
    one = replace(roi, choices=replace(roi.choices, periods=(replace(period, optical=period.optical[:1]),)))
    radar_bytes = scenes * 2 * 48 * 48 * 4
    # B2 at 10 m, B11 and the scene classes at 20 m.
    optical_bytes = 48 * 48 * 2 + 24 * 24 * 2 + 24 * 24
    cost = cost_of("catalogue:x", None, needed(one), roi.choices.grid, periods=1)
    assert cost == Cost(requests=scenes * 2 + 3, bytes=radar_bytes + optical_bytes)
    nothing = cost_of("stac:https://example.org", None, needed(failed), roi.choices.grid, periods=0)
    assert nothing == Cost(requests=0, bytes=0)
