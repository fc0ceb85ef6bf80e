"""Signing in: what is taken from where, what is said when it fails, and that nothing secret gets out."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from s1s2pairs.errors import NotAuthenticated, RecipeError, SourceError, SourceUnreachable
from s1s2pairs.plan.search import plan_roi
from s1s2pairs.sources.earthengine import EarthEngineSource
from s1s2pairs.sources.earthengine.session import HIGH_VOLUME_URL, STANDARD_URL, CannotConnect, Endpoints, Transport
from s1s2pairs.sources.registry import open_source
from tests.command import on_no_machine_of_google
from tests.refusals import refuses

from . import world
from .conftest import QUICK, Server

Ask = Callable[..., Server]
SECRET = "the-secret-of-the-token-server"


@pytest.fixture(autouse=True)
def _nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without any credentials, on a machine that is none of Google's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    on_no_machine_of_google(monkeypatch)


def assert_tells_the_way_in(text: str) -> None:
    for word in (
        "earthengine authenticate",
        "--project",
        "s1s2 simulate",
        "--source data/world",
        "docs/earthengine.md",
    ):
        assert word in text
    assert SECRET not in text
    assert "PRIVATE KEY" not in text


def test_without_credentials_the_message_says_how_to_sign_in_and_what_works_without() -> None:
    with pytest.raises(NotAuthenticated) as raised:
        open_source("earthengine")
    assert_tells_the_way_in(str(raised.value))


def test_a_key_file_that_is_none_is_named_as_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key.json").write_text(f'{{"type": "nonsense", "private_key": "{SECRET}"}}')
    for path in (tmp_path / "key.json", tmp_path / "missing.json"):
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
        with refuses(NotAuthenticated, "GOOGLE_APPLICATION_CREDENTIALS names") as raised:
            open_source("earthengine")
        assert_tells_the_way_in(str(raised.value))


@pytest.fixture
def token_server() -> Iterator[str]:
    """Refuses every key, with a text that must not get out."""

    class Refuse(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            content = json.dumps({"error": "invalid_grant", "error_description": SECRET}).encode()
            self.send_response(400)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

    with HTTPServer(("127.0.0.1", 0), Refuse) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/token"
        server.shutdown()
        thread.join()


def test_a_service_account_that_is_refused(
    token_server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ask: Ask,
    awkward: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ask(awkward)
    monkeypatch.delenv("S1S2_EE_ANONYMOUS")
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key = {
        "type": "service_account",
        "client_email": "a@b.c",
        "token_uri": token_server,
        "private_key": private.decode(),
    }
    (tmp_path / "key.json").write_text(json.dumps({**key, "project_id": "some-project"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    with (
        caplog.at_level(logging.DEBUG, "s1s2pairs"),
        refuses(NotAuthenticated, "refused", "--project") as raised,
    ):
        EarthEngineSource(project="some-project", retry_policy=QUICK)
    assert_tells_the_way_in(str(raised.value))
    assert SECRET not in caplog.text


@pytest.mark.parametrize("url", ["", "https://earthengine.googleapis.com", "http://127.0.0.1.example.com:80"])
def test_leaving_out_credentials_is_for_this_machine_only(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S1S2_EE_URL", url)
    monkeypatch.setenv("S1S2_EE_ANONYMOUS", "1")
    with refuses(
        NotAuthenticated,
        "S1S2_EE_ANONYMOUS=1",
        "S1S2_EE_URL",
        "http://127.0.0.1:PORT",
        urlsplit(url).hostname or "unset",
    ):
        open_source("earthengine")


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S1S2_EE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("S1S2_EE_ANONYMOUS", "1")
    with refuses(SourceUnreachable, "127.0.0.1:1", "--source"):
        EarthEngineSource(retry_policy=QUICK)


def test_more_requests_than_earth_engine_allows() -> None:
    with refuses(RecipeError, 41, "1 to 40"):
        EarthEngineSource(requests=41)


def test_the_project_is_the_one_named(ask: Ask, awkward: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ask(awkward)
    monkeypatch.setenv("EARTHENGINE_PROJECT", "from-the-environment")
    for project, expected in (("from-the-option", "from-the-option"), (None, "from-the-environment")):
        server.set_faults()
        plan_roi(EarthEngineSource(project=project, retry_policy=QUICK), world.recipe().rois[0])
        assert {entry["path"].split("/")[3] for entry in server.requests()} == {expected}


def test_a_second_source_ends_the_first(ask: Ask, awkward: Path) -> None:
    ask(awkward)
    first = EarthEngineSource(retry_policy=QUICK)
    EarthEngineSource(retry_policy=QUICK)
    with refuses(SourceError, "Earth Engine", "process"):
        plan_roi(first, world.recipe().rois[0])


def test_pixels_go_to_the_other_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def note(_: requests.Session, method: str, url: str, **options: object) -> None:
        asked.append(url)
        raise requests.ConnectTimeout

    monkeypatch.setattr(requests.Session, "request", note)
    endpoints = Endpoints.from_environment()
    assert (endpoints.standard, endpoints.high_volume, endpoints.anonymous) == (STANDARD_URL, HIGH_VOLUME_URL, False)
    transport = Transport(endpoints, connections=1, deadline_s=1.0)
    path, elsewhere = "/v1/projects/p", "https://oauth2.googleapis.com/token"
    pixels = f"{path}/image:computePixels?alt=json"
    for url in (f"{STANDARD_URL}{path}/value:compute", f"{STANDARD_URL}{pixels}", elsewhere):
        with refuses(CannotConnect):
            transport.request(url)
    assert asked == [f"{STANDARD_URL}{path}/value:compute", f"{HIGH_VOLUME_URL}{pixels}", elsewhere]
    transport.close()


def test_a_request_that_cannot_be_sent_counts_as_a_lost_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://")
    transport = Transport(Endpoints.from_environment(), connections=1, deadline_s=1.0)
    with refuses(ConnectionError):
        transport.request(f"{STANDARD_URL}/v1/projects/p/value:compute")
    transport.close()
