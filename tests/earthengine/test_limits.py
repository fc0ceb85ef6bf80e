"""How grids and spans are cut."""

import datetime as dt
import math

from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from s1s2pairs.acquisitions import Needed, Span
from s1s2pairs.sources import Cost
from s1s2pairs.sources.earthengine import cost
from s1s2pairs.sources.earthengine.limits import (
    MAX_DIMENSION_PX,
    MAX_PIXELS_BYTES,
    halves,
    optical_bytes,
    sar_bytes,
    windows,
)

sides = st.integers(1, 70_000)


def grid(height: int, width: int) -> GeoBox:
    return GeoBox((height, width), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32631")


@given(height=sides, width=sides, bytes_per_pixel=st.sampled_from([4, 12, 14, 26]))
def test_windows_cover_the_grid_once_and_each_fits_a_request(height: int, width: int, bytes_per_pixel: int) -> None:
    parts = windows(grid(height, width), bytes_per_pixel=bytes_per_pixel)
    assert sum(part.height * part.width for part in parts) == height * width
    corners = {(part.row, part.column) for part in parts}
    assert len(corners) == len(parts)
    for part in parts:
        assert part.height * part.width * bytes_per_pixel <= MAX_PIXELS_BYTES
        assert max(part.height, part.width) <= MAX_DIMENSION_PX
        below, right = part.row + part.height, part.column + part.width
        assert below == height or (below, part.column) in corners
        assert right == width or (part.row, right) in corners


@given(height=st.integers(1, 12_000), width=st.integers(1, 12_000))
def test_no_regular_cut_makes_fewer_windows(height: int, width: int) -> None:
    most = MAX_PIXELS_BYTES // 12

    def is_enough(rows: int, columns: int) -> bool:
        return math.ceil(height / rows) * math.ceil(width / columns) <= most

    number = len(windows(grid(height, width), bytes_per_pixel=12))
    assert not any(
        is_enough(rows, columns) for rows in range(1, number) for columns in range(1, (number - 1) // rows + 1)
    )


def test_the_sizes_up_to_which_one_request_does() -> None:
    assert sar_bytes(2) == 12
    assert optical_bytes(6) == 14
    assert len(windows(grid(2048, 2048), bytes_per_pixel=12)) == 1
    assert len(windows(grid(2049, 2048), bytes_per_pixel=12)) == 2
    assert len(windows(grid(1896, 1896), bytes_per_pixel=14)) == 1
    assert len(windows(grid(1897, 1896), bytes_per_pixel=14)) == 2


spans_of = st.lists(st.tuples(st.integers(0, 800), st.integers(1, 90)), min_size=1, max_size=4)


@given(spans=spans_of, longitude=st.floats(-180, 180))
def test_halves_of_spans_hold_every_moment_once_and_cut_at_night(
    spans: list[tuple[int, int]], longitude: float
) -> None:
    start, whole = dt.datetime(2019, 1, 1, tzinfo=dt.UTC), []
    for gap, days in spans:
        whole.append(Span(start=start + dt.timedelta(days=gap), end=start + dt.timedelta(days=gap + days)))
        start = whole[-1].end
    parts = halves(whole, longitude=longitude)
    total = sum((span.end - span.start for span in whole), dt.timedelta())
    if parts is None:
        assert total <= dt.timedelta(days=2)
        return
    early, late = parts
    assert early
    assert late
    assert all(span.start < span.end for span in (*early, *late))
    assert sum((span.end - span.start for span in (*early, *late)), dt.timedelta()) == total
    assert early[-1].end <= late[0].start
    edges = {span.start for span in whole} | {span.end for span in whole}
    for time in {span.end for span in early} | {span.start for span in late}:
        if time not in edges:
            solar = time + dt.timedelta(hours=longitude / 15)
            midnight = solar.replace(hour=0, minute=0, second=0, microsecond=0)
            assert min(abs(solar - midnight), abs(solar - midnight - dt.timedelta(days=1))) < dt.timedelta(seconds=5)


def test_the_cost_of_each_raster_is_counted_once_a_period() -> None:
    needed = Needed(sar=(), optical=(), polarisations=("VV", "VH"), bands=("B2", "B3"))
    both = cost(needed, grid(100, 200), periods=3, sensors=("s1", "s2"))
    assert (both.requests, both.bytes) == (6, 3 * 20_000 * (12 + 6))
    assert cost(needed, grid(100, 200), periods=0, sensors=("s1", "s2")) == Cost(requests=0, bytes=0)
