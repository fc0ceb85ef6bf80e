"""The archive of real cities, two dates each: every city becomes pairs of patches."""

from pathlib import Path

import pytest

from s1s2pairs import build_dataset, open_dataset, verify_dataset


@pytest.mark.timeout(600)
def test_every_city_is_built(real_data: Path, tmp_path: Path) -> None:
    archive = real_data / "oscd"
    report = build_dataset(archive / "recipe.geojson", source=str(archive), out=tmp_path / "oscd")
    assert not report.failed
    index = open_dataset(tmp_path / "oscd").index
    assert (index.roi.nunique(), index.patch_id.nunique(), len(index)) == (13, 372, 744)
    assert verify_dataset(tmp_path / "oscd").ok
