"""What every test gets: no network beyond this machine, and the folder of real data where there is one."""

import json
import math
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

LOOPBACK = ("127.", "::1", "localhost")


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse connections to anything but this machine, unless the test is marked `online`."""
    if request.node.get_closest_marker("online"):
        yield
        return
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(LOOPBACK):
            raise AssertionError(f"a test tried to reach {address}: mark it `online`, or use a loopback server")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of small real Sentinel data: $S1S2_REAL_DATA, else `../shared/real` beside the checkout."""
    folder = Path(os.environ.get("S1S2_REAL_DATA", Path(__file__).parents[2] / "shared" / "real"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set S1S2_REAL_DATA to run this test")
    return folder


def square(lon: float, lat: float, side_km: float) -> dict[str, Any]:
    """A square in lon/lat as GeoJSON."""
    dy = side_km / 2 / 111.2
    dx = dy / math.cos(math.radians(lat))
    west, south, east, north = (round(v, 6) for v in (lon - dx, lat - dy, lon + dx, lat + dy))
    return {
        "type": "Polygon",
        "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
    }


TINY = {
    "type": "FeatureCollection",
    "name": "small",
    "s1s2": {"patch": {"size": 128}},
    "features": [
        {"type": "Feature", "properties": {"name": name, "split": split}, "geometry": square(lon, lat, 1.4)}
        for name, split, lon, lat in (
            ("rennes", "train", -1.640, 48.085),
            ("kortrijk", "val", 3.120, 50.835),
            ("valencia", "test", -0.385, 39.440),
        )
    ],
}
"""Three places of at most four patches each, named like those of `rois/small.geojson`."""


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe file of three tiny places."""
    path = tmp_path_factory.mktemp("recipe") / "small.geojson"
    path.write_text(json.dumps(TINY), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_world(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated archive of the tiny places, 2019 and 2021, as small as the rules allow.

    The commands need it: they open catalogues on disk, which the fake source is not.
    """
    from s1s2pairs.plan.lock import load
    from s1s2pairs.simulate.world import Options, simulate

    folder = tmp_path_factory.mktemp("world") / "world"
    few = Options(orbits_per_pass=1, optical_margin_months=0, sar_margin_days=20)
    simulate(load(tiny_recipe, years=(2019, 2021)), folder, options=few)  # type: ignore[arg-type]
    return folder


@pytest.fixture(scope="session")
def tiny_built(tiny_recipe: Path, tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset `small` that the command builds of the tiny places; tests only read it."""
    from tests.command import s1s2

    folder = tmp_path_factory.mktemp("built")
    done = s1s2("build", tiny_recipe, "--years", 2019, 2021, "--source", tiny_world, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "3 ROIs, " in done.stdout
    return folder / "data" / "small"
