"""Pictures show what they say: stretch, missing pixels, error."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.data import PairDataset
from models.pictures import _draw_error, _draw_image, _limits, _physical, draw_sample
from models.scaling import Scaling
from models.task import Stack, Task

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


class Recorder:
    """Stands in for matplotlib's axes and keeps what was drawn."""

    def __init__(self) -> None:
        self.title = ""

    def imshow(self, image: np.ndarray, **settings: object) -> None:
        self.image, self.settings = image, settings

    def set_title(self, title: str, **_: object) -> None:
        self.title = title

    def set_axis_off(self) -> None: ...


@pytest.mark.parametrize("task", [SAR, DUAL])
def test_every_kind_of_stack_can_be_drawn(tiny_dataset: Path, task: Task) -> None:
    dataset = PairDataset(tiny_dataset, task, split="train", scaling=Scaling())
    batch = dataset.batch([0, 1])
    png = draw_sample(batch, batch[task.target.key], row=1, task=task, scaling=Scaling(), title="a patch")
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    assert picture.shape[1] > 2 * picture.shape[0]
    assert picture.std() > 10, "the picture is not blank"


def test_patch_without_valid_pixels_can_be_drawn(tiny_dataset: Path) -> None:
    batch = PairDataset(tiny_dataset, SAR, split="train", scaling=Scaling()).batch([0])
    empty = {key: values.zero_() for key, values in batch.items()}
    assert draw_sample(empty, empty["s1_t2"] + 0.1, row=0, task=SAR, scaling=Scaling())[:4] == b"\x89PNG"


def test_stretch_is_2_to_98_percent_of_all_dates_and_missing_is_grey(tiny_dataset: Path) -> None:
    batch = PairDataset(tiny_dataset, SAR, split="train", scaling=Scaling()).batch([0])
    stacks = [SAR.references[0], SAR.target]
    images = {stack.key: _physical(batch[stack.key][0], stack, Scaling()) for stack in stacks}
    limits = _limits(stacks, images)
    observed = np.concatenate([image[np.isfinite(image)] for image in images.values()])
    assert limits["VV"] == pytest.approx(np.percentile(observed, (2, 98)))
    axes = Recorder()
    _draw_image(axes, images["s1_t2"], SAR.target, limits, "target")  # type: ignore[arg-type]
    missing = np.isnan(images["s1_t2"][0])
    assert missing.sum() == 5 * 7 + 1
    assert (axes.image[missing] == 0.85).all()
    low, high = limits["VV"]
    expected = np.clip((images["s1_t2"][0] - low) / (high - low), 0, 1)
    np.testing.assert_allclose(axes.image[~missing][:, 0], expected[~missing])
    assert "dB" in axes.title


def test_true_colour_is_red_green_blue_by_name(tiny_dataset: Path) -> None:
    batch = PairDataset(tiny_dataset, SAR, split="train", scaling=Scaling()).batch([2])
    stack = SAR.sources[0]
    image = _physical(batch[stack.key][0], stack, Scaling())
    limits = _limits([stack], {stack.key: image})
    axes = Recorder()
    _draw_image(axes, image, stack, limits, "source")  # type: ignore[arg-type]
    for channel, band in enumerate(("B4", "B3", "B2")):
        low, high = np.nanpercentile(image[OPTICAL.index(band)], (2, 98))
        expected = np.clip((image[OPTICAL.index(band)] - low) / (high - low), 0, 1)
        seen = ~np.isnan(expected)
        np.testing.assert_allclose(axes.image[..., channel][seen], expected[seen], atol=1e-6)


def test_error_is_in_physical_units_and_signed() -> None:
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    prediction, target = np.full((1, 4, 4), -10.0), np.full((1, 4, 4), -12.5)
    valid = np.ones((4, 4), bool)
    valid[0, 0] = False
    _draw_error(axes, prediction, target, valid, SAR.target)
    drawn = axes.images[0].get_array()
    assert np.ma.getmaskarray(np.ma.masked_invalid(drawn)).sum() == 1
    assert np.nanmax(drawn.filled(np.nan)) == np.nanmin(drawn.filled(np.nan)) == 2.5
    assert "2.5" in axes.get_title()
