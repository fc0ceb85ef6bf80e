"""What every test gets: no network beyond this machine, and the folder of real data where there is one."""

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
