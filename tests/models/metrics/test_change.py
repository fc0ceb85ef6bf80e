"""The hard change mask against scikit-image, and which dates a task compares."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.morphology import closing, remove_small_objects

from models.metrics import change
from models.task import Stack, Task

S1_T1 = Stack(sensor="s1", date=0, bands=("VV",))
S1_T2 = Stack(sensor="s1", date=1, bands=("VV",))
S2_T1 = Stack(sensor="s2", date=0, bands=("B4", "B8"))
S2_T2 = Stack(sensor="s2", date=1, bands=("B4", "B8"))
TSGAN = Task(name="shift", sources=(S2_T2,), references=(S1_T1, S2_T1), target=S1_T2)
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)


def _blobs(seed: int, size: int = 64) -> np.ndarray:
    """Return (y, x) noise with structure at many scales, so that areas of all sizes cross the threshold."""
    rng = np.random.default_rng(seed)
    image = sum(np.kron(rng.normal(0, 1, (size // k, size // k)), np.ones((k, k))) for k in (1, 4, 8, 16))
    return np.abs(np.asarray(image) * 0.03).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_mask_equals_scikit_image(seed: int) -> None:
    soft = _blobs(seed)
    mine = change.hard_change(torch.from_numpy(soft)[None, None], torch.ones(1, 1, 64, 64, dtype=torch.bool))
    closed = closing(soft > 0.09, CROSS, mode="ignore")
    expected = remove_small_objects(closed, max_size=39)  # removes areas up to and including 39 px
    np.testing.assert_array_equal(mine[0, 0].numpy(), expected)


@pytest.mark.parametrize(("pixels", "kept"), [(39, False), (40, True)])
def test_areas_under_40_pixels_go(pixels: int, kept: bool) -> None:
    soft = torch.zeros(1, 1, 50, 50)
    soft[0, 0, 3, 3 : 3 + pixels] = 0.2
    assert change.hard_change(soft, soft >= 0).any().item() is kept


def test_threshold_is_exclusive_and_three_decibels() -> None:
    soft = torch.full((1, 1, 10, 10), 0.09)
    everywhere = soft > 0
    assert not change.hard_change(soft, everywhere).any()
    assert change.hard_change(soft + 1e-4, everywhere).all()


def test_invalid_ground_is_never_changed() -> None:
    soft = torch.full((2, 1, 20, 20), 0.5)
    valid = torch.ones(2, 1, 20, 20, dtype=torch.bool)
    valid[:, :, 8:12] = False
    mask = change.hard_change(soft, valid)
    assert torch.equal(mask, valid)


def test_soft_change_is_the_mean_difference_on_the_unit_range() -> None:
    bands = ("VV", "VH")
    reference, target = (Stack(sensor="s1", date=date, bands=bands) for date in (0, 1))
    task = Task(name="two polarisations", sources=(), references=(reference,), target=target)
    batch = {
        "s1_t1": torch.tensor([0.5, 0.1]).view(1, 2, 1, 1),
        "s1_t2": torch.tensor([-0.5, 0.3]).view(1, 2, 1, 1),
        "valid": torch.ones(1, 1, 1, 1, dtype=torch.bool),
    }
    soft = change.soft_change(batch, task)
    assert soft is not None
    assert soft.item() == pytest.approx((1.0 + 0.2) / 2 / 2)
    batch["valid"][:] = False
    masked = change.soft_change(batch, task)
    assert masked is not None
    assert masked.item() == 0.0


def test_radar_at_both_dates_decides_whatever_the_target() -> None:
    optical = Task(name="to optical", sources=(S1_T2,), references=(S1_T1, S2_T1), target=S2_T2)
    assert change.change_stacks(TSGAN) == (S1_T1, S1_T2, ("VV",))
    assert change.change_stacks(optical) == (S1_T1, S1_T2, ("VV",))


def test_without_radar_at_both_dates_the_target_sensor_decides() -> None:
    task = Task(name="no radar at T1", sources=(S1_T2,), references=(S2_T1,), target=S2_T2)
    assert change.change_stacks(task) == (S2_T1, S2_T2, ("B4", "B8"))


def test_a_task_without_reference_has_no_change() -> None:
    mono = Task(name="mono", sources=(S2_T2,), references=(), target=S1_T2)
    assert change.change_stacks(mono) is None
    assert change.soft_change({}, mono) is None


def test_only_bands_seen_at_both_dates_tell_of_change() -> None:
    before, after = Stack(sensor="s2", date=0, bands=("B8", "B4", "B3")), Stack(sensor="s2", date=1, bands=("B3", "B8"))
    task = Task(name="subset", sources=(S1_T2,), references=(before,), target=after)
    assert change.change_stacks(task) == (before, after, ("B3", "B8"))
    batch = {
        "s2_t1": torch.tensor([0.5, 9.0, -0.5])[None, :, None, None],
        "s2_t2": torch.tensor([-0.1, 0.7])[None, :, None, None],
        "valid": torch.ones(1, 1, 1, 1, dtype=torch.bool),
    }
    found = change.soft_change(batch, task)
    assert found is not None
    assert found.item() == pytest.approx((0.4 + 0.2) / 2 / 2)
