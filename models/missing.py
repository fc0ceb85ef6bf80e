"""What marks a missing pixel, on its way from a file to a network: the one place that decides."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

BLANK: Final = 0.0
"""What a network gets in all bands of a missing pixel: the middle of the range."""


def has_values(bands: NDArray[Any], count: NDArray[Any] | None) -> NDArray[np.bool_]:
    """Return which pixels of a file have values: (band, y, x) bool.

    Args:
        bands: (band, y, x), NaN where missing.
        count: (y, x), how many observations there are; None where a file does not say.
    """
    finite: NDArray[np.bool_] = np.isfinite(bands)
    return finite if count is None else finite & (count > 0)


def present(values: Tensor, *, nodata: int | None = None) -> Tensor:
    """Return which pixels have all their bands: (batch, 1, y, x) bool.

    Args:
        values: (batch, band, y, x) float, not negative where `nodata` is given.
        nodata: The least value, which stands for missing; None where NaN does.
    """
    least = values.amin(dim=1, keepdim=True)  # NaN if any is NaN
    return ~least.isnan() if nodata is None else least != nodata


def is_blank(values: Tensor) -> Tensor:
    """Return which pixels of a network's input (..., band, y, x) are missing: (..., 1, y, x) bool."""
    return (values == BLANK).all(dim=-3, keepdim=True)
