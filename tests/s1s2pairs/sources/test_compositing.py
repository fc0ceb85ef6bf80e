"""Mean and median against numpy's, and the arithmetic of stored reflectance."""

from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from s1s2pairs.errors import SourceError
from s1s2pairs.sources.compositing import (
    MOST_ACQUISITIONS,
    LinearMean,
    check_countable,
    median_of_present,
    stored_reflectance,
)
from tests.refusals import refuses


@given(
    arrays(np.uint16, st.tuples(st.integers(1, 13), st.integers(1, 3), st.integers(1, 4), st.integers(1, 5))),
    st.integers(0, 2**32),
)
@settings(max_examples=150, deadline=None)
def test_median_is_numpy_s_over_what_is_there(values: np.ndarray, seed: int) -> None:
    values = np.maximum(values, 1)
    present = np.random.default_rng(seed).random((len(values), *values.shape[2:])) < 0.7
    values[~np.broadcast_to(present[:, None], values.shape)] = 0
    count = present.sum(axis=0).astype(np.uint8)
    masked = np.ma.masked_equal(values.astype(np.float64), 0)
    expected = np.floor(np.ma.median(masked, axis=0).filled(0) + 0.5).astype(np.uint16)
    np.testing.assert_array_equal(median_of_present(values.copy(), count), expected)


@pytest.mark.parametrize("dates", range(1, 40))
def test_any_number_of_dates_is_sorted(dates: int) -> None:
    """By the zero-one principle a network that sorts all of 0 and 1 sorts everything; random ones where there are too many."""
    random = np.random.default_rng(dates)
    every = np.arange(1 << min(dates, 12))[None] >> np.arange(dates)[:, None] & 1
    bits = every if dates <= 12 else random.integers(0, 2, (dates, 5000))
    values = (bits + 1).astype(np.uint16)[:, None, None, :]
    count = np.full((1, values.shape[-1]), dates, np.uint8)
    expected = np.floor(np.median(values, axis=0) + 0.5).astype(np.uint16)
    np.testing.assert_array_equal(median_of_present(values.copy(), count), expected)


def test_a_mean_is_taken_in_linear_power_over_valid_pixels() -> None:
    random = np.random.default_rng(3)
    dates = random.gamma(4.4, 0.02, (7, 2, 20, 30)).astype(np.float32)
    dates[0, 0, 0, 0], dates[1, 1, 0, 0], dates[2, 0, 0, 0], dates[3, 1, 0, 0] = np.nan, 0, -1, np.inf
    dates[:, 0, 5, 5] = np.nan
    mean = LinearMean(2, (20, 30))
    for date in dates:
        mean.add(date)
    linear, count = mean.result()
    valid = (np.isfinite(dates) & (dates > 0)).all(axis=1)
    np.testing.assert_array_equal(count, valid.sum(axis=0))
    masked = np.ma.array(dates.astype(np.float64), mask=~np.broadcast_to(valid[:, None], dates.shape))
    np.testing.assert_allclose(linear, masked.mean(axis=0).filled(np.nan), rtol=1e-7)
    assert np.isnan(linear[:, 5, 5]).all()
    assert count[0, 0] == 3


@given(
    raw=st.integers(0, 65_535),
    scale=st.sampled_from(["0.0001", "0.00005", "0.0002", "0.000125"]),
    offset=st.sampled_from(["0", "-0.1", "0.05"]),
)
@settings(max_examples=300, deadline=None)
def test_reflectance_is_rounded_as_on_paper(raw: int, scale: str, offset: str) -> None:
    exact = (Decimal(raw) * Decimal(scale) + Decimal(offset)) * 10_000
    # Half up means towards plus infinity; below zero everything becomes 1 anyway.
    expected = min(max(int(exact.quantize(Decimal(1), ROUND_HALF_UP)), 1), 65_535)
    one = np.array([raw], np.uint16)
    assert stored_reflectance(one, scale=float(scale), offset=float(offset))[0] == expected
    many = np.full(70_000, raw, np.uint16)
    assert (stored_reflectance(many, scale=float(scale), offset=float(offset)) == expected).all()
    assert stored_reflectance(one.astype(np.float32), scale=float(scale), offset=float(offset))[0] == expected


def test_as_many_acquisitions_as_a_pixel_can_count() -> None:
    most = [(str(number),) for number in range(MOST_ACQUISITIONS)]
    check_countable(most)
    mean = LinearMean(1, (1, 1))
    for _ in most:
        mean.add(np.full((1, 1, 1), 0.25, np.float32))
    linear, count = mean.result()
    assert (float(linear[0, 0, 0]), int(count[0, 0])) == (0.25, MOST_ACQUISITIONS)
    values = np.full((MOST_ACQUISITIONS, 1, 1, 1), 7, np.uint16)
    assert median_of_present(values, count) == 7
    with refuses(SourceError, 256, 255):
        check_countable([*most, ("one more",)])
