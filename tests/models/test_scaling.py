import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from models.scaling import Scaling, change_map
from models.task import Stack
from s1s2pairs.errors import RunError
from tests.refusals import refuses

RADAR = Stack(sensor="s1", date=0, bands=("VH", "VV"))
OPTICAL = Stack(sensor="s2", date=0, bands=("B4", "B8"))


def test_range_ends_and_middles_are_where_they_belong() -> None:
    decibels = torch.tensor([[-32.0, -14.5, 3.0], [-25.0, -7.5, 10.0]])[None, :, None, :]
    expected = torch.tensor([-1.0, 0.0, 1.0]).expand(1, 2, 1, 3)
    torch.testing.assert_close(Scaling().scale(decibels, RADAR), expected)
    reflectance = torch.tensor([0.0, 0.5, 1.0]).expand(1, 2, 1, 3)
    torch.testing.assert_close(Scaling().scale(reflectance, OPTICAL), expected)


def test_values_outside_the_range_are_clipped_and_nan_stays() -> None:
    values = torch.tensor([-60.0, 40.0, torch.nan]).expand(2, 1, 3)
    scaled = Scaling().scale(values, RADAR)
    np.testing.assert_array_equal(scaled[1, 0].numpy(), [-1.0, 1.0, np.nan])


@given(values=st.lists(st.floats(-25, 3, width=32), min_size=1, max_size=20))
def test_scaling_back_restores_values_within_both_ranges(values: list[float]) -> None:
    decibels = torch.tensor(values).expand(2, 1, len(values))
    scaling = Scaling()
    torch.testing.assert_close(scaling.unscale(scaling.scale(decibels, RADAR), RADAR), decibels, rtol=0, atol=1e-5)


def test_a_patch_is_scaled_alike_whatever_lies_around() -> None:
    quiet = torch.full((2, 4, 4), -10.0)
    loud = torch.cat([quiet, torch.full((2, 4, 4), 5.0)], dim=-1)
    scaling = Scaling()
    assert torch.equal(scaling.scale(quiet, RADAR), scaling.scale(loud, RADAR)[..., :4])


def test_a_network_difference_of_two_is_one_span() -> None:
    scaling = Scaling(s2_range=(0.0, 0.3))
    assert scaling.span(RADAR) == (35.0, 35.0)
    assert scaling.span(OPTICAL) == pytest.approx((0.3, 0.3))
    ends = scaling.unscale(torch.tensor([-1.0, 1.0]).expand(2, 1, 2), OPTICAL)
    torch.testing.assert_close(ends[..., 1] - ends[..., 0], torch.full((2, 1), 0.3))


def test_a_scaling_survives_json() -> None:
    scaling = Scaling(s1_ranges_db={"VV": (-30.0, 5.0)}, s2_range=(0.0, 0.4))
    assert TypeAdapter(Scaling).validate_python(json.loads(json.dumps(asdict(scaling)))) == scaling


def test_what_cannot_be_scaled_is_refused() -> None:
    with refuses(RunError, "s2", "(5.0, 5.0)"):
        Scaling(s2_range=(5.0, 5.0))
    with refuses(RunError, "S1 VH", "VV"):
        Scaling(s1_ranges_db={"VV": (-25.0, 10.0)}).scale(torch.zeros(2, 1, 1), RADAR)
    with refuses(RunError, "s1_t1", "VH, VV", "(3, 1, 1)"):
        Scaling().scale(torch.zeros(3, 1, 1), RADAR)


def test_the_change_map_is_target_minus_reference() -> None:
    source, reference = torch.tensor([1.0, -1.0, 0.5]), torch.tensor([-1.0, 1.0, 0.5])
    change = change_map(source, reference)
    assert change.tolist() == [1.0, -1.0, 0.0]
