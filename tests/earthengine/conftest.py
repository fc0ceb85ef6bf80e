"""The stand-in server as its own process, the archives it serves, and the source that asks it."""

import dataclasses
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import ee
import pytest

from s1s2pairs.sources import Source
from s1s2pairs.sources.earthengine import EarthEngineSource, RetryPolicy

from .faults import Faults
from .world import write_archive

ROOT = Path(__file__).parents[2]
CREDENTIAL_VARIABLES = (
    "GOOGLE_APPLICATION_CREDENTIALS",
    "EARTHENGINE_PROJECT",
    "GOOGLE_CLOUD_PROJECT",
    "S1S2_EE_URL",
    "S1S2_EE_ANONYMOUS",
)

QUICK = RetryPolicy(attempts=12, first_wait_s=0.02, longest_wait_s=0.2, deadline_s=60.0)
"""Waits that suit a server on this machine."""


class Server:
    """The stand-in, running."""

    def __init__(self, archive: Path, log: Path, *, port: int = 0, replay: Path | None = None) -> None:
        self._archive, self.log = archive, log
        self._more = [] if replay is None else ["--replay", str(replay)]
        self.process = self._start(port)

    def _start(self, port: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.earthengine.server", str(self._archive)]
        process = subprocess.Popen(
            [*command, "--port", str(port), "--log", str(self.log), *self._more],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        self.url = process.stdout.readline().strip()
        assert self.url.startswith("http://127.0.0.1:")
        return process

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def start_again(self) -> None:
        self.process = self._start(int(self.url.rpartition(":")[2]))

    def set_faults(self, **fields: Any) -> None:
        """Change what goes wrong from now on, and begin the log anew."""
        self.log.unlink(missing_ok=True)
        self._put("faults", dataclasses.asdict(Faults(**fields)))

    def assume(self, **switches: str) -> None:
        """Be another Earth Engine that there might be (`assumptions.Assumptions`)."""
        self._put("assumptions", switches)

    def break_off(self, *names: str) -> None:
        """Show documented behaviours no longer, by the names of `s1s2 check`."""
        self._put("broken", names)

    def _put(self, what: str, value: Any) -> None:
        request = urllib.request.Request(f"{self.url}/{what}", data=json.dumps(value).encode(), method="PUT")
        with urllib.request.urlopen(request) as reply:
            assert reply.status == 200

    def requests(self) -> list[dict[str, Any]]:
        """What was asked since, oldest first."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines]

    def post(self, method: str, body: Any) -> tuple[int, Any]:
        """Send a request as it is; return status and parsed reply."""
        request = urllib.request.Request(
            f"{self.url}/v1/projects/p/{method}", data=json.dumps(body).encode(), method="POST"
        )
        try:
            with urllib.request.urlopen(request) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImpatientOpener:
    """Opens the source with waits that suit the stand-in; what `build` takes."""

    requests: int = 8
    retry_policy: RetryPolicy = QUICK

    def open(self) -> Source:
        return EarthEngineSource(requests=self.requests, retry_policy=self.retry_policy)

    def share(self, processes: int) -> Self:
        return dataclasses.replace(self, requests=max(1, self.requests // processes))

    @property
    def most_processes(self) -> int | None:
        return self.requests


@pytest.fixture(autouse=True, scope="module")
def _no_look_elsewhere() -> Iterator[None]:
    """The client looks up deprecated assets on another server when it starts; and no test may find the tester's credentials."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ee.deprecation, "_FetchDataCatalogStac", dict)
        for name in CREDENTIAL_VARIABLES:
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the archive with everything in it on which sources could differ."""
    return write_archive(tmp_path_factory.mktemp("awkward") / "archive")


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], Server]]:
    """Start a server over an archive; it ends with the module."""
    running: dict[Path, Server] = {}

    def start(archive: Path) -> Server:
        if archive not in running:
            running[archive] = Server(archive, tmp_path_factory.mktemp("log") / "requests.jsonl")
        return running[archive]

    yield start
    for server in running.values():
        server.kill()


@pytest.fixture
def ask(serve: Callable[[Path], Server], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Server]:
    """Serve an archive, and let the Earth Engine source find the server by its two environment variables."""

    def start(archive: Path, **faults: Any) -> Server:
        server = serve(archive)
        monkeypatch.setenv("S1S2_EE_URL", server.url)
        monkeypatch.setenv("S1S2_EE_ANONYMOUS", "1")
        server.assume()
        server.break_off()
        server.set_faults(**faults)
        return server

    return start


def environment(server: Server) -> dict[str, str]:
    """The environment of a process that is to use the stand-in."""
    return {**os.environ, "S1S2_EE_URL": server.url, "S1S2_EE_ANONYMOUS": "1"}
