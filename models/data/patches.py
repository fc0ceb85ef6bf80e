"""Pixels of samples, read from the packed caches of one or several datasets."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..task import Stack
from .cache import Cache

Crop = tuple[int, int]
"""First row and column of the part of a patch to read."""
RawBatch = dict[str, torch.Tensor]
"""A batch as stored: `sample` as in `Batch`; `acquisitions` (batch, date, 4) float32 with the columns of
`samples.acquisition_table`; per stack (batch, band, y, x), S1 float32 dB with NaN where missing, S2 uint16 reflectance x
10000 with 0 where missing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Samples to read, as reading needs to know them."""

    rows: npt.NDArray[np.int_]
    """(batch, stack) index rows."""
    acquisitions: npt.NDArray[np.float32]
    """(batch, date, 4), see `samples.acquisition_table`."""
    numbers: tuple[int, ...]
    """Numbers of the samples."""
    offsets: npt.NDArray[np.int_] | None
    """(batch, stack, 2) first row and column of the square to read; None reads whole patches."""


class Patches:
    """Reads batches from packed caches. Sent to another process, it is paths and names of bands, of whatever dataset."""

    def __init__(self, caches: Sequence[Cache], stacks: Sequence[Stack], crop: int | None) -> None:
        """Read some stacks.

        Args:
            caches: Of one or several datasets; index rows count through them.
            stacks: What to read of a row.
            crop: Side in pixels of squares to read; none means that of the shorter side of a patch.
        """
        self._caches, self._stacks, self._crop = tuple(caches), tuple(stacks), crop
        self._readers = [_Reader(self._caches, stack) for stack in stacks]

    def __reduce__(self) -> tuple[type["Patches"], tuple[tuple[Cache, ...], tuple[Stack, ...], int | None]]:
        """Send no pixels to another process, which maps the caches itself."""
        return Patches, (self._caches, self._stacks, self._crop)

    def read(self, request: Request) -> RawBatch:
        """Read samples as they are stored."""
        layout = self._caches[0].layout
        side = self._crop or min(layout.height, layout.width)
        raw = {}
        for place, (stack, reader) in enumerate(zip(self._stacks, self._readers, strict=True)):
            if request.offsets is None:
                windows = [(slice(None), slice(None))] * len(request.rows)
            else:
                corners = request.offsets[:, place].tolist()
                windows = [(slice(row, row + side), slice(column, column + side)) for row, column in corners]
            raw[stack.key] = torch.from_numpy(reader.read(request.rows[:, place], windows))
        acquisitions = torch.from_numpy(request.acquisitions)
        return {**raw, "acquisitions": acquisitions, "sample": torch.tensor(list(request.numbers))}


class _Reader:
    """Reads one stack."""

    def __init__(self, caches: Sequence[Cache], stack: Stack) -> None:
        self._packed = [cache.s1 if stack.sensor == "s1" else cache.s2 for cache in caches]
        names = [cache.layout.bands(stack.sensor) for cache in caches]
        self._channels = [_as_slice([there.index(band) for band in stack.bands]) for there in names]
        self._first_rows = [0, *np.cumsum([cache.layout.rows for cache in caches[:-1]]).tolist()]
        self._bands = len(stack.bands)

    def read(self, rows: npt.NDArray[np.int_], windows: Sequence[tuple[slice, slice]]) -> npt.NDArray[Any]:
        """Return (batch, band, y, x) as packed, from index rows (batch,)."""
        first = self._packed[0][0, 0][windows[0]]
        read = np.empty((len(rows), self._bands, *first.shape), self._packed[0].dtype)
        for sample, (row, window) in enumerate(zip(rows.tolist(), windows, strict=True)):
            number = bisect.bisect_right(self._first_rows, row) - 1
            patch = self._packed[number][row - self._first_rows[number]]
            read[sample] = patch[self._channels[number]][:, *window]
        return read


def _as_slice(channels: list[int]) -> slice | list[int]:
    """Return neighbouring channels as a slice, which reads without a copy."""
    first = channels[0]
    return slice(first, first + len(channels)) if channels == list(range(first, first + len(channels))) else channels
