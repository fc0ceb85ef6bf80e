from itertools import pairwise

from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from s1s2pairs.dataset.layout import patch_path
from s1s2pairs.dataset.patches import Window, grid_windows, patch_grid, patch_id, windows
from s1s2pairs.errors import GridError
from s1s2pairs.recipe.settings import PatchSettings
from tests.refusals import refuses

sizes = st.integers(1, 300)


@st.composite
def axes(draw: st.DrawFn) -> tuple[int, int]:
    size = draw(sizes)
    return draw(st.integers(size, 20 * size)), size


@given(axis=axes(), data=st.data())
def test_adaptive_windows_are_the_fewest_that_cover_with_the_overlap_wanted(
    axis: tuple[int, int], data: st.DataObject
) -> None:
    length, size = axis
    overlap = data.draw(st.integers(0, size - 1))
    starts = windows(length, size, min_overlap=overlap)
    assert starts[0] == 0
    assert starts[-1] == length - size
    covered = {pixel for start in starts for pixel in range(start, start + size)}
    assert covered == set(range(length))
    gaps = [b - a for a, b in pairwise(starts)]
    assert all(1 <= gap <= size - overlap for gap in gaps)
    assert not gaps or max(gaps) - min(gaps) <= 1
    # One window less cannot do it: it would reach at most this far.
    reach = size + max(0, len(starts) - 2) * (size - overlap)
    assert len(starts) == 1 or reach < length


@given(axis=axes(), data=st.data())
def test_fixed_strides_drop_nothing(axis: tuple[int, int], data: st.DataObject) -> None:
    length, size = axis
    stride = data.draw(st.integers(1, size))
    starts = windows(length, size, stride=stride)
    assert starts[-1] == length - size
    assert all(start == i * stride for i, start in enumerate(starts[:-1]))
    assert {pixel for start in starts for pixel in range(start, start + size)} == set(range(length))
    assert list(starts) == sorted(set(starts))


@given(size=st.integers(2, 300), data=st.data())
def test_an_axis_shorter_than_a_patch_is_refused(size: int, data: st.DataObject) -> None:
    length = data.draw(st.integers(1, size - 1))
    with refuses(GridError, length, size):
        windows(length, size)


def test_even_spread_by_hand() -> None:
    assert windows(600, 256) == (0, 172, 344)
    assert windows(512, 256) == (0, 256)
    assert windows(513, 256, min_overlap=0) == (0, 129, 257)
    assert windows(256, 256, stride=128) == (0,)
    assert windows(300, 256, stride=128) == (0, 44)


def test_windows_of_a_grid_go_row_by_row_and_lie_where_they_say() -> None:
    grid = GeoBox((40, 20), Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), "EPSG:32631")
    found = grid_windows(grid, PatchSettings(size=16, min_overlap=4))
    assert found == tuple(Window(row_off=r, col_off=c, size=16) for r in (0, 12, 24) for c in (0, 4))
    part = patch_grid(grid, found[-1])
    assert part.shape == (16, 16)
    assert part.transform * (0, 0) == grid.transform * (4, 24)
    path = patch_path(split="val", roi="bergen", patch=patch_id("bergen", found[-1]), period="2019", sensor="s1")
    assert path == "patches/val/bergen/bergen_24_4/2019_s1.tif"
