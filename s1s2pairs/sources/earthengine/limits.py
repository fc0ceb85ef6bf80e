"""What Earth Engine allows in one request, how a grid is cut to fit, and what a plan will cost.

The limits are Google's, from https://developers.google.com/earth-engine/guides/usage and
https://developers.google.com/earth-engine/reference/rest/v1/projects.image/computePixels; the error texts name the same numbers.
"""

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from odc.geo.geobox import GeoBox

from ...acquisitions import Needed, Span
from ...sensors import Sensor
from .. import Cost

MAX_PIXELS_BYTES: Final = 50_331_648
"""Of one `computePixels` reply, uncompressed (48 MB)."""
MAX_DIMENSION_PX: Final = 32_768
MAX_REQUESTS: Final = 40
"""In flight at once, of one project and endpoint."""
MAX_REQUESTS_PER_S: Final = 100
MAX_TILE_SCALE: Final = 16
MAX_AGGREGATIONS: Final = 10
"""Reductions over a region in one request. How many Earth Engine computes at once for a user is not published; requests
with hundreds are refused."""
MEASURING_AT_ONCE: Final = 4
"""Requests with reductions in flight at once: they share the user's aggregations, whatever the other limits allow."""
ACQUISITIONS_AT_ONCE: Final = 48
"""Optical acquisitions in one reduction, as three bands each."""
ANGLES_AT_ONCE: Final = 300
"""Radar scenes in one reduction, as one band each, over a few points."""

SAR_VALUE_BYTES: Final = 4
"""float32: each polarisation, and the count."""
OPTICAL_VALUE_BYTES: Final = 2
"""uint16: each band, and the count of clear acquisitions. One type for all bands, so that it does not matter whether the limit
counts each band's own type or the widest."""

EECU_SECONDS_PER_PIXEL: Final = 5e-5
"""Rough: 5,000 EECU-seconds were reported for an export of 10,000 x 10,000 pixels. Good to a factor of three, if that."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A rectangle of a grid that one request asks for."""

    row: int
    column: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, for indexing (..., y, x) arrays."""
        return slice(self.row, self.row + self.height), slice(self.column, self.column + self.width)

    def halves(self) -> tuple["Block", "Block"] | None:
        """Cut the longer side in two; None for a single pixel."""
        if self.height * self.width == 1:
            return None
        if self.height >= self.width:
            half = self.height // 2
            return (
                Block(row=self.row, column=self.column, height=half, width=self.width),
                Block(row=self.row + half, column=self.column, height=self.height - half, width=self.width),
            )
        half = self.width // 2
        return (
            Block(row=self.row, column=self.column, height=self.height, width=half),
            Block(row=self.row, column=self.column + half, height=self.height, width=self.width - half),
        )


def windows(grid: GeoBox, *, bytes_per_pixel: int) -> tuple[Block, ...]:
    """Cut a grid into the fewest windows that each fit one request; of equally many, the most nearly square."""
    height, width = grid.shape
    most = MAX_PIXELS_BYTES // bytes_per_pixel
    layouts = sorted(_layouts(height, width, most))
    _, _, rows, columns = layouts[0]
    return tuple(
        Block(row=top, column=left, height=bottom - top, width=right - left)
        for top, bottom in _cuts(height, rows)
        for left, right in _cuts(width, columns)
    )


def _layouts(height: int, width: int, most: int) -> Iterator[tuple[int, float, int, int]]:
    """Yield (windows, how far from square, rows, columns) of the layouts worth a look."""
    for columns in range(1, math.ceil(width / math.isqrt(most)) + 2):
        across = math.ceil(width / columns)
        down = min(most // across, MAX_DIMENSION_PX)
        if across > MAX_DIMENSION_PX or not down:
            continue
        rows = math.ceil(height / down)
        yield rows * columns, abs(math.log(math.ceil(height / rows) / across)), rows, columns


def _cuts(length: int, parts: int) -> Iterator[tuple[int, int]]:
    size = math.ceil(length / parts)
    for start in range(0, length, size):
        yield start, min(start + size, length)


def halves(spans: Sequence[Span], *, longitude: float) -> tuple[list[Span], list[Span]] | None:
    """Part stretches of time in two of about the same length, None when they make up no more than a day.

    The cut lies at local solar midnight, when neither satellite passes: no overflight is cut in two.
    """
    total = sum(((span.end - span.start) for span in spans), dt.timedelta())
    if total <= dt.timedelta(days=1):
        return None
    early: list[Span] = []
    late: list[Span] = []
    passed = dt.timedelta()
    for span in sorted(spans, key=lambda span: span.start):
        length = span.end - span.start
        if passed + length <= total / 2:
            early.append(span)
        elif passed >= total / 2:
            late.append(span)
        else:
            cut = _solar_midnight(span.start + (total / 2 - passed), longitude)
            early += [Span(start=span.start, end=min(cut, span.end))] if cut > span.start else []
            late += [Span(start=max(cut, span.start), end=span.end)] if cut < span.end else []
        passed += length
    return (early, late) if early and late else None


def _solar_midnight(time: dt.datetime, longitude: float) -> dt.datetime:
    """Return the local solar midnight nearest to a time, to the second."""
    ahead = dt.timedelta(seconds=round(longitude * 240))
    noon = time + ahead + dt.timedelta(hours=12)
    return noon.replace(hour=0, minute=0, second=0, microsecond=0) - ahead


def cost(needed: Needed, grid: GeoBox, *, periods: int, sensors: Sequence[Sensor]) -> Cost:
    """Estimate what the rasters of a ROI will cost, one for each of the sensors and periods."""
    per_pixel = {"s1": sar_bytes(len(needed.polarisations)), "s2": optical_bytes(len(needed.bands))}
    return Cost.total([grid_cost(grid, bytes_per_pixel=per_pixel[sensor]) for sensor in sensors] * periods)


def grid_cost(grid: GeoBox, *, bytes_per_pixel: int) -> Cost:
    """Estimate the cost of one raster."""
    pixels = grid.height * grid.width
    return Cost(
        requests=len(windows(grid, bytes_per_pixel=bytes_per_pixel)),
        bytes=pixels * bytes_per_pixel,
        eecu_seconds=pixels * EECU_SECONDS_PER_PIXEL,
    )


def sar_bytes(polarisations: int) -> int:
    """Return the bytes per pixel of a radar request: the polarisations and the count."""
    return (polarisations + 1) * SAR_VALUE_BYTES


def optical_bytes(bands: int) -> int:
    """Return the bytes per pixel of an optical request: the bands and the count."""
    return (bands + 1) * OPTICAL_VALUE_BYTES
