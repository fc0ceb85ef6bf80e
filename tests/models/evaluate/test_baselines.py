import pytest
import torch

from models import zoo
from models.evaluate import baselines
from models.task import Stack, Task
from s1s2pairs.errors import RunError
from tests.refusals import refuses

SHIFT = zoo.load("tsgan").config().task
GAP = Task(
    name="gap",
    sources=(Stack(sensor="s2", date=1, bands=("B2",)),),
    references=(Stack(sensor="s1", date=2, bands=("VV",)), Stack(sensor="s1", date=0, bands=("VV",))),
    target=Stack(sensor="s1", date=1, bands=("VV",)),
)


def _batch(*days: float) -> dict[str, torch.Tensor]:
    return {
        "s1_t1": torch.full((1, 1, 2, 2), -0.2),
        "s1_t3": torch.full((1, 1, 2, 2), 0.6),
        "days": torch.tensor([days]),
    }


def test_copy_t1_is_the_earlier_radar_image() -> None:
    batch = {stack.key: torch.rand(2, len(stack.bands), 4, 4) for stack in SHIFT.inputs}
    assert torch.equal(baselines.copy_t1(batch, SHIFT), batch["s1_t1"])
    assert torch.equal(baselines.mean_references(batch, SHIFT), batch["s1_t1"])
    assert torch.equal(baselines.copy_t1(_batch(0, 1, 2), GAP), _batch()["s1_t1"])


def test_mean_references_averages_the_targets_sensor() -> None:
    torch.testing.assert_close(baselines.mean_references(_batch(0, 9, 10), GAP), torch.full((1, 1, 2, 2), 0.2))


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ((100.0, 125.0, 200.0), 0.0),  # a quarter of the way
        ((200.0, 125.0, 100.0), 0.4),  # dates may run backward
        ((100.0, 100.0, 200.0), -0.2),
        ((100.0, 300.0, 200.0), 1.0),  # extrapolated to 1.4, clipped
        ((100.0, 500.0, 100.0), 0.2),  # references of one day
    ],
)
def test_linear_interpolation_follows_the_line(days: tuple[float, ...], expected: float) -> None:
    found = baselines.on_network_scale(baselines.linear_interpolation, _batch(*days), GAP)
    torch.testing.assert_close(found, torch.full((1, 1, 2, 2), expected))


def test_what_was_observed_is_not_clipped_to_the_scaling_range() -> None:
    """Extrapolated and beyond the network's scale in dB; but there is no reflectance below 0."""
    observed = {"s1_t1": torch.full((1, 1, 2, 2), -28.0), "s1_t3": torch.full((1, 1, 2, 2), -30.0)}
    found = baselines.as_observed(baselines.linear_interpolation, _batch(100.0, 300.0, 200.0), observed, GAP)
    torch.testing.assert_close(found, torch.full((1, 1, 2, 2), -32.0))
    optical = {key.replace("s1", "s2"): -values / 100 for key, values in observed.items()}
    first, second, target = (Stack(sensor="s2", date=date, bands=("B2",)) for date in (2, 0, 1))
    task = Task(name="optical", sources=(), references=(first, second), target=target)
    found = baselines.as_observed(baselines.linear_interpolation, _batch(100.0, -2000.0, 200.0), optical, task)
    assert torch.equal(found, torch.zeros(1, 1, 2, 2))


def test_what_cannot_be_computed_says_why() -> None:
    translation = zoo.load("pix2pix_opt2sar").config().task
    assert [name for name in baselines.BASELINES if baselines.why_unusable(name, SHIFT) is None] == [
        "copy_t1",
        "mean_references",
    ]
    assert all(baselines.why_unusable(name, translation) for name in baselines.BASELINES)
    assert not any(baselines.why_unusable(name, GAP) for name in baselines.BASELINES)
    with refuses(RunError, "linear_interpolation", "s1 VV", "sar_temporal_shifting", 1):
        baselines.linear_interpolation({}, SHIFT)
    with refuses(RunError, "copy_t2", "copy_t1", "mean_references", "linear_interpolation"):
        baselines.why_unusable("copy_t2", SHIFT)


def test_references_with_more_bands_show_those_of_the_target() -> None:
    wide = Stack(sensor="s2", date=0, bands=("B2", "B8", "B3"))
    task = Task(
        name="subset",
        sources=(Stack(sensor="s1", date=1, bands=("VV",)),),
        references=(wide,),
        target=Stack(sensor="s2", date=1, bands=("B3", "B2")),
    )
    image = torch.rand(2, 3, 4, 4)
    assert torch.equal(baselines.copy_t1({"s2_t1": image}, task), image[:, [2, 0]])
    assert torch.equal(baselines.mean_references({"s2_t1": image}, task), image[:, [2, 0]])
