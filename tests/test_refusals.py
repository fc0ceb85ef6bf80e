"""The helper that other tests look at messages with: it must not be satisfied too easily."""

import pytest

from s1s2pairs.errors import S1S2Error, SourceError
from tests.refusals import assert_names, assert_suggests, refuses

SAID = "data/a.tif: pixel_size_m=-3.5 does not fit; choose from S10, S2, or give --out"


def test_values_that_are_there_are_found() -> None:
    assert_names(SAID, "data/a.tif", "a.tif", "pixel_size_m", -3.5, "pixel_size_m=-3.5", "S2", "--out", but_not=("S3",))


@pytest.mark.parametrize("value", ["S1", "10", "3", "5", "pixel", "-o", "b.tif", "data/a.ti"])
def test_parts_of_words_and_numbers_are_not_values(value: str) -> None:
    with pytest.raises(AssertionError, match=f"does not name '{value}'.*{SAID[:10]}"):
        assert_names(SAID, value)
    assert_names(SAID, but_not=(value,))


def test_what_must_not_be_there() -> None:
    with pytest.raises(AssertionError, match="it names 'S2'"):
        assert_names(SAID, but_not=("S2",))


def test_the_nearest_comes_first() -> None:
    text = "There is no 'tsgn'. Did you mean tsgan? Choose from pix2pix, tsgan, tsgan_v1."
    assert_suggests(text, "tsgn", "tsgan", ("pix2pix", "tsgan", "tsgan_v1"))
    with pytest.raises(AssertionError, match="it suggests 'pix2pix', not 'tsgan'"):
        assert_suggests(text.replace("Did you mean tsgan? ", ""), "tsgn", "tsgan", ("pix2pix", "tsgan", "tsgan_v1"))


def test_the_class_is_the_very_one() -> None:
    with refuses(SourceError, "x.tif"):
        raise SourceError("x.tif is gone")
    with pytest.raises(AssertionError, match="SourceError, not S1S2Error"), refuses(S1S2Error):
        raise SourceError("x.tif is gone")
    with pytest.raises(AssertionError, match=r"does not name 'y\.tif'"), refuses(SourceError, "y.tif"):
        raise SourceError("x.tif is gone")
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"), refuses(SourceError):
        pass
