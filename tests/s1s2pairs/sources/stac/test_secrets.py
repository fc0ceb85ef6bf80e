"""Secrets that the user's surroundings hold: they are in no file, log, message or page that a command leaves."""

import importlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import shapely

from s1s2pairs.acquisitions import Needed, RoiGrids
from s1s2pairs.errors import SourceError
from s1s2pairs.sources.registry import open_source
from s1s2pairs.sources.stac import api as stac_api
from s1s2pairs.untrusted import redacted
from tests.test_cli import s1s2

from .test_api import Api, api, served  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from .conftest import TinyArchive

SECRET = "PLANTED"  # part of every secret here


@pytest.fixture
def planted(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:  # noqa: F811
    """Return the name of a source whose files are signed; keys, a token and a service account's file lie about."""
    key = tmp_path / "home" / "service.json"
    key.parent.mkdir()
    body = {
        "type": "service_account",
        "private_key": f"-----BEGIN {SECRET}",
        "client_email": f"{SECRET}@x",
        "token_uri": "x",
    }
    key.write_text(json.dumps(body))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"{SECRET}-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{SECRET}-secret")
    monkeypatch.setenv("PC_SDK_SUBSCRIPTION_KEY", f"{SECRET}-subscription")
    monkeypatch.setattr(stac_api, "PLANETARY_COMPUTER", "127.0.0.1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it still has pydantic's old way of settings
        planetary_computer = importlib.import_module("planetary_computer")
    monkeypatch.setattr(planetary_computer, "sign_url", lambda href: f"{href}?se=2026&sig={SECRET}-signature")
    return f"stac:{api.url.replace('://', f'://me:{SECRET}-password@')}/?token={SECRET}-token"


def left(folder: Path) -> str:
    """Everything that lies in a folder, as one text."""
    return "\n".join(path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "broken",
    [lambda files: None, lambda files: files.clear(), lambda files: files.update(dict.fromkeys(files, b"no raster"))],
    ids=["whole", "missing", "damaged"],
)
@pytest.mark.parametrize("command", ["build", "plan", "check"])
def test_nothing_that_signs_is_left_anywhere(
    broken: Callable[[dict[str, bytes]], object],
    command: str,
    served: "TinyArchive",  # noqa: F811
    api: Api,  # noqa: F811
    planted: str,
    make_place: Callable[..., RoiGrids],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken(api.files)
    work = tmp_path / "work"
    work.mkdir()
    feature = {"type": "Feature", "properties": {"name": "here", "split": "train"}}
    feature["geometry"] = json.loads(
        shapely.to_geojson(make_place(size_m=320.0, left=500_100.0, top=5_599_900.0).polygon)
    )
    rules = {"patch": {"size": 16}, "s2_bands": ["B2"], "s1_acquisitions": [2, 4], "max_cloud_fraction": 0.5}
    recipe = tmp_path / "here.geojson"
    recipe.write_text(json.dumps({"type": "FeatureCollection", "s1s2": rules, "features": [feature]}))
    words: dict[str, tuple[Any, ...]] = {
        "build": ("build", recipe, "--years", 2019, "--source", planted),
        "plan": ("build", recipe, "--years", 2019, "--source", planted, "--plan", "--json"),
        "check": ("check", "--source", planted, "--json"),
    }
    with caplog.at_level(logging.DEBUG, logger="s1s2pairs"):
        done = s1s2(*words[command], cwd=work)
    for text in (done.stdout, done.stderr, left(work), *(redacted(record.getMessage()) for record in caplog.records)):
        assert SECRET not in text
    assert api.asked, "the source was really asked"
    if command == "build" and api.files and b"no raster" not in api.files.values():
        assert done.returncode == 0, done.stderr
        assert (work / "data/here/recipe.lock.geojson").is_file()


def test_messages_of_a_source_lose_what_signs(planted: str, served: "TinyArchive", api: Api) -> None:  # noqa: F811
    api.failures = [403]
    source = open_source(planted)
    assert SECRET not in source.name
    source.backscatter()
    with pytest.raises(SourceError) as caught:
        source.unreadable(Needed(sar=(("S1",),), optical=(), polarisations=("VV",), bands=()))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://a.b/c.tif?sig=x&se=2: no", "https://a.b/c.tif no"),
        ("(https://me:word@a.b/c) and s3://k:s@bucket/x?y=1", "(https://a.b/c) and s3://bucket/x"),
        ("is it the sea? see docs", "is it the sea? see docs"),
        ("/vsicurl/https://a.b/c?sig=x'", "/vsicurl/https://a.b/c'"),
    ],
)
def test_addresses_lose_queries_names_and_passwords(text: str, clean: str) -> None:
    assert redacted(text) == clean
