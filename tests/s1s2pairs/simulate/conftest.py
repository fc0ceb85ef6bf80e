"""One tiny simulated archive, and pieces of its world."""

import datetime as dt
import json
from pathlib import Path

import numpy as np
import pytest

from s1s2pairs.recipe.parser import parse_recipe
from s1s2pairs.recipe.settings import Recipe
from s1s2pairs.simulate.ground import Frame, Ground, make_ground
from s1s2pairs.simulate.world import Options, simulate

EPSG = 32631
SMALL = Options(optical_margin_months=0, sar_margin_days=15, orbits_per_pass=1)


def feature(name: str, west: float, south: float, size: float) -> dict[str, object]:
    east, north = west + size, south + 0.7 * size
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "properties": {"name": name, "split": "train"}, "geometry": geometry}


def small_recipe() -> Recipe:
    """Two overlapping ROIs in Hainaut: there two MGRS tiles overlap and orbit 37 passes just outside."""
    collection = {
        "type": "FeatureCollection",
        "name": "small",
        "s1s2": {"patch": {"size": 32}, "season": ["06-01", "06-20"], "s1_acquisitions": [4, 6]},
        "features": [feature("callenelle", 3.57, 50.505, 0.006), feature("callenelle-east", 3.573, 50.505, 0.006)],
    }
    return parse_recipe(
        json.dumps(collection), file="small", today=dt.date(2026, 1, 1), default_name="small", years=[2019, 2021]
    )


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return small_recipe()


@pytest.fixture(scope="session")
def archive(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished archive; tests only read it."""
    folder = tmp_path_factory.mktemp("world") / "archive"
    simulate(recipe, folder, options=SMALL)
    return folder


def frame(left: float, top: float, size: int, *, seed: int = 0) -> Frame:
    """Square frame of 10 m pixels."""
    x, y = left + 5.0 + 10.0 * np.arange(size), top - 5.0 - 10.0 * np.arange(size)
    return Frame(zone=EPSG, x=x, y=y, pixel_m=10.0, seed=seed)


@pytest.fixture(scope="session")
def town() -> Ground:
    """Ground with a river, woods, fields and a town, 2.6 km square."""
    return make_ground(frame(503_000.0, 5_415_000.0, 260))
