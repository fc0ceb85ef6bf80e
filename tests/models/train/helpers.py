"""What tests of training share: a short way to train the toy network, and to read what a run has written."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from models.runs.record import RunResult
from models.train.loop import train

PLAIN = {"workers": "0", "pictures": "0"}


class Toy:
    """Trains a toy network on a dataset of 8 samples into `<folder>/<name>`; settings are keyword arguments."""

    def __init__(self, dataset: Path, folder: Path) -> None:
        self.dataset, self.folder = dataset, folder

    def __call__(
        self,
        name: str,
        *,
        network: str = "toy",
        data: Path | list[Path] | None = None,
        resume: Path | None = None,
        init: Path | None = None,
        **settings: object,
    ) -> RunResult:
        given = PLAIN | {key: str(value) for key, value in settings.items()}
        out = None if resume else self.folder / name
        data = data or (None if resume else self.dataset)
        return train(network, data, out=out, resume=resume, init=init, settings=given, device="cpu", quiet=True)


def tensors(run: Path, kind: str = "weights", which: str = "last") -> dict[str, Tensor]:
    return load_file(next((run / "checkpoints" / which).glob(f"{kind}-*.safetensors")))


def assert_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


def assert_close(one: Mapping[str, Tensor], other: Mapping[str, Tensor], *, atol: float = 1e-6) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        torch.testing.assert_close(value, other[key], atol=atol, rtol=0, msg=lambda text, key=key: f"{key}: {text}")


def record(run: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((run / "run.json").read_text(encoding="utf-8"))
    return document


def figures(run: Path, metric: str, split: str = "val") -> dict[int, float]:
    """Return the values of a metric in `metrics.csv` by step."""
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {int(row["step"]): float(row["value"]) for row in rows if (row["split"], row["metric"]) == (split, metric)}
