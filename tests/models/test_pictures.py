"""Pictures show what they say: stretch, missing pixels, error."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.data.dataset import PairDataset
from models.pictures import MISSING_RGB, Panel, draw_sample, sample_panels
from models.scaling import Scaling
from models.task import Batch, Stack, Task

OPTICAL = ("B2", "B3", "B4", "B8")
SAR = Task(
    name="shift",
    sources=(Stack(sensor="s2", date=1, bands=OPTICAL),),
    references=(Stack(sensor="s1", date=0, bands=("VV",)),),
    target=Stack(sensor="s1", date=1, bands=("VV",)),
)
DUAL = Task(
    name="dual",
    sources=(Stack(sensor="s1", date=0, bands=("VV", "VH")),),
    references=(),
    target=Stack(sensor="s2", date=0, bands=("B8",)),
)


@pytest.mark.parametrize("task", [SAR, DUAL])
def test_every_kind_of_stack_can_be_drawn(tiny_dataset: Path, task: Task) -> None:
    dataset = PairDataset(tiny_dataset, task, split="train", scaling=Scaling())
    batch = dataset.batch([0, 1])
    png = draw_sample(batch, batch[task.target.key], row=1, task=task, scaling=Scaling(), title="a patch")
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    assert picture.shape[1] > 1.5 * picture.shape[0]
    assert picture.std() > 10, "the picture is not blank"


def test_patch_without_valid_pixels_can_be_drawn(tiny_dataset: Path) -> None:
    batch = PairDataset(tiny_dataset, SAR, split="train", scaling=Scaling()).batch([0])
    empty = {key: values.zero_() for key, values in batch.items()}
    assert draw_sample(empty, empty["s1_t2"] + 0.1, row=0, task=SAR, scaling=Scaling())[:4] == b"\x89PNG"


def panels_of(batch: Batch, prediction: torch.Tensor, row: int = 0) -> dict[str, Panel]:
    drawn = sample_panels(batch, prediction, row=row, task=SAR, scaling=Scaling())
    return {panel.name: panel for panel in drawn}


def physical(batch: Batch, stack: Stack, row: int = 0) -> np.ndarray:
    """Values in dB or reflectance, NaN where missing, worked out from the documented scaling."""
    scaled = batch[stack.key][row].numpy().astype(float)
    low, high = (-25.0, 10.0) if stack.sensor == "s1" else (0.0, 1.0)
    return np.where((scaled == 0).all(axis=0), np.nan, (scaled + 1) / 2 * (high - low) + low)


def test_stretch_is_2_to_98_percent_of_all_dates_and_missing_is_violet(tiny_dataset: Path) -> None:
    batch = PairDataset(tiny_dataset, SAR, split="train", scaling=Scaling()).batch([0])
    images = {stack.key: physical(batch, stack) for stack in (SAR.references[0], SAR.target)}
    low, high = np.nanpercentile(np.stack(list(images.values())), (2, 98))
    panel = panels_of(batch, batch["s1_t2"])["target, S1 T2"]
    assert panel.bar is not None
    assert (panel.bar.low, panel.bar.high) == pytest.approx((low, high), abs=1e-4)
    assert panel.bar.labels == (f"−{-low:.1f}", f"−{-(low + high) / 2:.1f}", f"−{-high:.1f} dB")
    missing = np.isnan(images["s1_t2"][0])
    assert missing.sum() == 5 * 7 + 1
    assert (panel.rgb[missing] == MISSING_RGB).all()
    expected = np.clip((images["s1_t2"][0] - low) / (high - low), 0, 1) * 255
    np.testing.assert_allclose(panel.rgb[~missing], np.stack([expected[~missing]] * 3, axis=-1), atol=0.51)


def test_true_colour_is_red_green_blue_by_name(tiny_dataset: Path) -> None:
    batch = PairDataset(tiny_dataset, SAR, split="train", scaling=Scaling()).batch([2])
    image = physical(batch, SAR.sources[0])
    panel = panels_of(batch, batch["s1_t2"])["source, S2 T2"]
    assert panel.bar is None
    for channel, (colour, band) in enumerate((("red", "B4"), ("green", "B3"), ("blue", "B2"))):
        plane = image[OPTICAL.index(band)]
        low, high = np.nanpercentile(plane, (2, 98))
        seen = ~np.isnan(plane)
        expected = np.clip((plane[seen] - low) / (high - low), 0, 1) * 255
        np.testing.assert_allclose(panel.rgb[..., channel][seen], expected, atol=0.51)
        assert f"{colour} {band} {low:.3f} to {high:.3f}" in panel.legend


@pytest.mark.parametrize(
    ("offset_db", "limit_db"), [(0.0, 1.0), (0.4, 1.0), (2.0, 2.0), (2.1, 3.0), (-3.3, 5.0), (14.0, 20.0)]
)
def test_error_is_signed_and_its_scale_symmetric_and_wide_enough(offset_db: float, limit_db: float) -> None:
    """A uniform error of a known size: colour, scale, labels and mean all say so."""
    size = 16
    batch: Batch = {key: torch.full((1, 1, size, size), -0.3) for key in ("s1_t1", "s1_t2")}
    batch |= {"s2_t2": torch.rand(1, 4, size, size), "valid": torch.ones(1, 1, size, size, dtype=torch.bool)}
    batch["valid"][0, 0, 0, 0] = False
    panel = panels_of(batch, batch["s1_t2"] + offset_db / 35 * 2)["error"]
    assert panel.bar is not None
    assert (panel.bar.low, panel.bar.high) == (-limit_db, limit_db)
    assert panel.bar.labels[0].startswith("−")
    assert panel.bar.labels[2].startswith("+")
    assert panel.bar.labels[2].endswith(" dB")
    assert (panel.rgb[0, 0] == MISSING_RGB).all()
    red, _, blue = panel.rgb[1, 1].astype(int)
    assert red > blue + 9 if offset_db > 0 else blue > red + 9 if offset_db < 0 else abs(red - blue) <= 1
    assert f"mean absolute error {abs(offset_db):.3g} dB" in panel.legend


def test_one_wild_pixel_does_not_set_the_error_s_scale() -> None:
    side = 32
    ones = torch.ones(1, 1, side, side)
    for task, usual, wild, span, limit in ((SAR, 1.7, 14.0, 35.0, 2.0), (DUAL, 0.017, 0.3, 1.0, 0.02)):
        batch: Batch = {stack.key: -0.3 * ones.repeat(1, len(stack.bands), 1, 1) for stack in task.stacks}
        batch["valid"] = ones.bool()
        errors = usual * ones
        errors[0, 0, 0, 0] = wild
        predicted = batch[task.target.key] + errors / span * 2
        *_, panel = sample_panels(batch, predicted, row=0, task=task, scaling=Scaling())
        assert panel.name == "error"
        assert panel.bar is not None
        assert panel.bar.high == limit
