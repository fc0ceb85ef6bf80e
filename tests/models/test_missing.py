"""A missing pixel keeps its mark from a file to a network's input."""

import numpy as np
import torch

from models.missing import BLANK, has_values, is_blank, present


def test_a_pixel_misses_where_a_band_or_the_count_says_so() -> None:
    bands = np.array([[[1.0, np.nan, 3.0]], [[1.0, 2.0, 3.0]]])
    assert has_values(bands, None).tolist() == [[[True, False, True]], [[True, True, True]]]
    assert has_values(bands, np.array([[2, 1, 0]])).tolist() == [[[True, False, False]], [[True, True, False]]]


def test_one_missing_band_makes_the_pixel_missing() -> None:
    radar = torch.tensor([[1.0, torch.nan, 0.0], [1.0, 2.0, 0.0]]).view(1, 2, 1, 3)
    assert present(radar).tolist() == [[[[True, False, True]]]]
    assert present(radar.nan_to_num(0.0), nodata=0).tolist() == [[[[True, False, False]]]]


def test_only_all_bands_blank_stand_for_missing() -> None:
    values = torch.tensor([[BLANK, BLANK], [0.5, BLANK]]).view(2, 1, 2)
    assert is_blank(values).tolist() == [[[False, True]]]
