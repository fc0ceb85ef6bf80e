"""All that is fuzzed, by name, and how often in the full run."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.fuzz import catalogues, datasets
from tests.fuzz.harness import Target

TARGETS: Final[dict[str, tuple[Callable[[Path], Target], int, int]]] = {
    "recipes": (datasets.recipes, 250, 20_000),
    "items": (catalogues.items, 400, 32_000),
    "catalogues": (catalogues.catalogues, 120, 5_000),
    "apis": (catalogues.apis, 120, 6_000),
    "earthengine": (catalogues.earthengine, 200, 16_000),
    "rasters": (catalogues.rasters, 250, 10_000),
    "own-rasters": (datasets.own_rasters, 200, 5_000),
    "indexes": (datasets.indexes, 40, 1_500),
    "runs": (datasets.runs, 300, 10_000),
    "checkpoints": (datasets.checkpoints, 100, 4_000),
}
"""Name -> how to make it, inputs of the sample, inputs of the full run."""
