"""Costs agree with what is known of published networks and with PyTorch's own counting of memory."""

import pytest
import torch

from models import cost, zoo
from s1s2pairs.errors import RunError
from tests.refusals import refuses

GMAC = {
    "pix2pix_opt2sar": 6.03,
    "de_pix2pix": 10.20,
    "tsgan": 40.94,
    "mtcgan": 745.90,
    "cgan": 744.67,
    "mccgan": 6.12,
    "pix2pix_sar2opt": 6.03,
    "dcstfn_os": 10.54,
    "rdcstfn_os": 54.03,
    "cyclegan": 49.35,
}
"""Of the published generators at their papers' settings; those of DCSTFN-OS of a sketch of what their paper says."""


@pytest.mark.parametrize("name", GMAC)
def test_work_of_published_networks(name: str) -> None:
    with torch.device("meta"):
        translator = zoo.create(name)
        gmac, _ = cost._work(translator, cost.random_batch(translator.task, side=256, device="meta"))
    assert gmac == pytest.approx(GMAC[name], abs=0.011)


def test_what_a_step_keeps_is_counted_once() -> None:
    """A linear layer and a product keep their inputs: 3 x 5 numbers in, 3 x 4 out, which the product keeps twice."""

    class Tiny(torch.nn.Module):
        parts = ("layer",)

        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(5, 4, bias=False)

        def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.layer(batch["x"])

        def training_step(self, batch: dict[str, torch.Tensor]) -> object:
            made = self(batch)
            yield "layer", (made * made).sum()

    with torch.device("meta"):
        tiny, batch = Tiny(), {"x": torch.zeros(3, 5)}
        gmac, kept = cost._work(tiny, batch)  # type: ignore[arg-type]
    assert gmac == 3 * 5 * 4 / 1e9
    assert kept == 4 * (3 * 5 + 3 * 4 + 1)  # and the loss itself


def test_a_network_is_measured_at_its_papers_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "LEAST_SECONDS", 0.01)
    found = cost.measure("pix2pix_opt2sar", torch.device("cpu"), {"width": 4})
    translator = zoo.create("pix2pix_opt2sar", {"width": 4})
    assert found.parameters == sum(parameter.numel() for parameter in translator.parameters())
    assert (found.side, found.device) == (256, "cpu")
    assert found.training_bytes > 16 * found.parameters
    assert found.trained_per_s > 0
    assert found.predicted_per_s > found.trained_per_s
    head, line = cost.listing([found])
    assert head.split()[0] == "network"
    assert line.split()[:3] == ["pix2pix_opt2sar", "256", f"{found.parameters:,}"]


def test_an_unknown_network_is_refused() -> None:
    with refuses(RunError, "nonesuch"):
        cost.measure("nonesuch", torch.device("cpu"))
