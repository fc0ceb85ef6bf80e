"""What the tests of training get."""

from pathlib import Path

import pytest

from .helpers import Toy


@pytest.fixture
def toys(tiny_dataset: Path, tmp_path: Path, toy_networks: Path) -> Toy:
    """A trainer of the toy networks on the tiny dataset."""
    return Toy(tiny_dataset, tmp_path)
