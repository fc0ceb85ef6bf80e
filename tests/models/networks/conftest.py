"""Narrow networks, batches for them, and the loop's way with the losses they yield."""

import torch
from torch.nn import functional

from models import zoo
from models.task import Batch
from models.translator import Translator

LEAST_SIDE = 32
"""Pixels; the discriminators of pix2pix halve a patch three times and take two more pixels off."""


def make(name: str, seed: int = 0, **settings: str) -> Translator:
    """A narrow network with weights that depend on the seed alone."""
    torch.manual_seed(seed)
    return zoo.create(name, {"width": "4", **settings})


def parameters(name: str, **settings: str) -> dict[str, int]:
    """Parameters of each part, at the paper's settings but for those given."""
    with torch.device("meta"):
        translator = zoo.create(name, settings)
    return {part: zoo.count_parameters(translator, part) for part in translator.parts}


def make_batch(translator: Translator, seed: int = 0, *, invalid: bool = False) -> Batch:
    """Two samples of a small patch that the network takes; with `invalid`, a corner of the first is.

    All bands follow one ground, so that there is something to learn, and are rather dark.
    """
    generator = torch.Generator().manual_seed(seed)
    multiple = translator.config.patch_multiple
    side = -(-LEAST_SIDE // multiple) * multiple
    valid = torch.ones(2, 1, side, side, dtype=torch.bool)
    if invalid:
        valid[0, :, : round(0.4 * side), : round(0.55 * side)] = False
    batch = {"valid": valid, "sample": torch.arange(2)} | conditions(translator.task.n_dates)
    if not translator.task.paired:
        batch["target_valid"] = valid.flip(0, 3)
    ground = torch.rand(2, 1, 8, 8, generator=generator)
    for stack in translator.task.stacks:
        coarse = ground + 0.5 * torch.rand(2, len(stack.bands), 8, 8, generator=generator) - 1
        image = functional.interpolate(coarse, size=(side, side), mode="bilinear")
        batch[stack.key] = image.masked_fill(~valid, 0.0)
    if not translator.task.paired:
        key = translator.task.target.key
        batch[key] = batch[key].flip(0, 3)
    return batch


def conditions(dates: int) -> Batch:
    """How and when two samples were taken: two years apart, in June, by two orbits."""
    season = torch.tensor([0.1, -0.9]).expand(2, dates, 2)
    values = {"incidence": 39.0, "relative_orbit": 110.0, "ascending": 1.0}
    known = {key: torch.full((2, dates), value) for key, value in values.items()}
    return known | {"days": 730.0 * torch.arange(dates).expand(2, -1) + 165.0, "season": season}


def target_mask(batch: Batch) -> torch.Tensor:
    """Where the target is valid."""
    return batch.get("target_valid", batch["valid"])


def train(translator: Translator, batch: Batch, steps: int) -> list[dict[str, float]]:
    """What the loop does with the steps a network yields; return the losses it logs."""
    optimizers = translator.optimizers(fused=False)
    log = []
    for _ in range(steps):
        losses: dict[str, float] = {}
        for part, loss in translator.training_step(batch):
            optimizers[part].zero_grad()
            loss.backward()
            optimizers[part].step()
            losses[f"{part}_loss"] = losses.get(f"{part}_loss", 0.0) + float(loss.detach())
        log.append(losses | {name: float(value) for name, value in translator.logged.items()})
    return log
