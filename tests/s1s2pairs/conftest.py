"""Tiny recipes and a fake source for the tests of the data half."""

import datetime as dt
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from s1s2pairs.build.build import BuildReport, build
from s1s2pairs.dataset.layout import CARD_FILE
from s1s2pairs.dataset.seal import SEAL_KEY, seal
from s1s2pairs.recipe.parser import parse_recipe
from s1s2pairs.recipe.settings import Recipe
from tests.s1s2pairs.fake_source import FakeOpener

SETTINGS = {"patch": {"size": 16}, "s2_bands": ["B4", "B8"]}


def tiny_recipe(
    rois: dict[str, dict[str, Any]], *, name: str = "tiny", years: tuple[int, ...] = (2019, 2020), **settings: Any
) -> Recipe:
    """Return a recipe of ROIs about 32 x 45 pixels large, two periods, patches of 16 pixels.

    Args:
        rois: Name -> properties; the place follows from the position.
        name: Of the recipe.
        years: Its periods.
        settings: Of all ROIs.
    """
    features = []
    for i, (roi, properties) in enumerate(rois.items()):
        west, south, size = 3 + 0.1 * i, 45.0, 0.004
        ring = [[west, south], [west + size, south], [west + size, south + size], [west, south + size], [west, south]]
        features.append(
            {
                "type": "Feature",
                "properties": {"name": roi, "split": "train", **properties},
                "geometry": {"type": "Polygon", "coordinates": [ring]},
            }
        )
    collection = {"type": "FeatureCollection", "name": name, "s1s2": {**SETTINGS, **settings}, "features": features}
    text = json.dumps(collection)
    return parse_recipe(text, file="tiny.geojson", today=dt.date(2024, 1, 1), default_name=name, years=years)


TWO = {"north": {}, "south": {"split": "test"}}


def tree(folder: Path) -> dict[str, str]:
    """Return every file below a folder with its SHA-256."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def edit_card(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a card and its seal with it: as somebody would who forges one."""
    card = json.loads((root / CARD_FILE).read_text())
    card.pop(SEAL_KEY)
    change(card)
    (root / CARD_FILE).write_bytes(seal(card))


@dataclass(frozen=True, slots=True)
class Built:
    """A finished dataset, never changed by a test."""

    root: Path
    report: BuildReport
    source: Path
    recipe: Recipe


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The undisturbed build that others are compared with."""
    root = tmp_path_factory.mktemp("built")
    recipe = tiny_recipe(TWO)
    report = build(recipe, opener=FakeOpener(folder=str(root / "source")), out=str(root / "tiny"))
    return Built(root / "tiny", report, root / "source", recipe)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Folder of the fake source's notes."""
    return tmp_path / "source"


@pytest.fixture
def run(tmp_path: Path, source: Path) -> Callable[..., BuildReport]:
    """Build into `tmp_path / out` from the fake source."""

    def run(subject: Any, *, out: str = "out", **options: Any) -> BuildReport:
        return build(subject, opener=FakeOpener(folder=str(source)), out=str(tmp_path / out), **options)

    return run
