"""The check of Earth Engine, on the stand-in over a simulated Flevoland, whole and with each behaviour broken in turn."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from s1s2pairs.check.check import check
from s1s2pairs.check.text import check_json, check_lines
from s1s2pairs.errors import NotAuthenticated, SourceUnreachable
from s1s2pairs.recipe.parser import parse_recipe
from s1s2pairs.simulate.world import Options, simulate
from s1s2pairs.sources.earthengine import known
from s1s2pairs.sources.earthengine.assumptions import ASSUMPTIONS
from s1s2pairs.sources.findings import CheckReport
from tests.command import on_no_machine_of_google
from tests.refusals import assert_names, refuses

from . import assumptions
from .conftest import Server

Ask = Callable[..., Server]
NEEDED = [assumption.name for assumption in ASSUMPTIONS if assumption.needed]


@pytest.fixture(scope="module")
def flevoland(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The field in the two spans that the check looks through, as it would look in a simulated world."""
    west, south, east, north = known.FIELD.bounds
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    periods = [
        {"label": str(s.start.year), "start": str(s.start.date()), "end": str(s.end.date())} for s in known.SPANS
    ]
    feature = {
        "type": "Feature",
        "properties": {"name": "flevoland", "split": "train"},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
    settings = {"patch": {"size": 64}, "periods": periods}
    text = json.dumps({"type": "FeatureCollection", "name": "f", "s1s2": settings, "features": [feature]})
    recipe = parse_recipe(text, file="f", today=dt.date(2026, 1, 1), default_name="f")
    folder = tmp_path_factory.mktemp("flevoland") / "archive"
    simulate(recipe, folder, options=Options(optical_margin_months=0, sar_margin_days=0, orbits_per_pass=2))
    return folder


def states(report: CheckReport) -> dict[str, str]:
    return {one.name: one.state for one in report.findings}


def test_everything_holds_on_the_stand_in_within_tens_of_requests(flevoland: Path, ask: Ask) -> None:
    server = ask(flevoland)
    report = check("earthengine")
    assert {one.name: one.detail for one in report.findings if one.state != "holds"} == {}
    assert report.ok
    assert report.requests == len(server.requests())
    assert report.requests < 40
    assert sum(entry["aggregations"] for entry in server.requests()) < 15
    assert max(entry["bytes"] for entry in server.requests()) < 1_000_000


@pytest.mark.parametrize("name", NEEDED)
def test_each_behaviour_that_fails_is_named(name: str, flevoland: Path, ask: Ask) -> None:
    server = ask(flevoland)
    server.break_off(name)
    report = check("earthengine")
    assert states(report)[name] == "does not hold", [one for one in report.findings if one.name == name]
    assert not report.ok
    lines = "\n".join(check_lines(report))
    breaks = next(assumption.breaks for assumption in ASSUMPTIONS if assumption.name == name)
    assert f"does not hold  {name}: " in lines
    assert f"this breaks: {breaks}" in lines


@pytest.mark.parametrize("switch", list(assumptions.others()), ids=str)
def test_what_nobody_has_seen_is_no_failure_either_way(switch: dict[str, str], flevoland: Path, ask: Ask) -> None:
    server = ask(flevoland)
    server.assume(**switch)
    report = check("earthengine")
    assert report.ok
    unlike = {name for name, state in states(report).items() if state != "holds"}
    assert unlike == {"from_images": {"kept-names"}, "footprint": {"footprint-rings"}}.get(next(iter(switch)), set())


def test_a_recording_holds_no_secret_and_can_be_replayed(
    flevoland: Path, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(flevoland)
    monkeypatch.setenv("EARTHENGINE_PROJECT", "my-secret-project")
    file = tmp_path / "recording.json"
    first = check("earthengine", save=file)
    text = file.read_text(encoding="utf-8")
    assert "my-secret-project" not in text
    assert "127.0.0.1" not in text
    assert len(json.loads(text)["exchanges"]) == first.requests
    server = Server(flevoland, tmp_path / "log.jsonl", replay=file)
    try:
        monkeypatch.setenv("S1S2_EE_URL", server.url)
        again = check("earthengine")
    finally:
        server.kill()
    assert again.findings == first.findings


def test_the_recording_of_one_service_is_nothing_to_another_request(flevoland: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.json").write_text('{"format": 1, "client": "x", "exchanges": []}', encoding="utf-8")
    server = Server(flevoland, tmp_path / "log.jsonl", replay=tmp_path / "empty.json")
    try:
        status, reply = server.post("value:compute", {"expression": {}})
    finally:
        server.kill()
    assert status == 404
    assert_names(reply["error"]["message"], "recording")


def test_without_credentials_it_says_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    on_no_machine_of_google(monkeypatch)
    with refuses(NotAuthenticated, "earthengine authenticate", "--project", "s1s2 simulate"):
        check("earthengine")
    monkeypatch.setenv("S1S2_EE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("S1S2_EE_ANONYMOUS", "1")
    with refuses(SourceUnreachable, "127.0.0.1:1", "--source"):
        check("earthengine")


def test_the_findings_as_json(flevoland: Path, ask: Ask) -> None:
    ask(flevoland)
    told = json.loads(json.dumps(check_json(check("earthengine"))))
    assert told["ok"] is True
    assert {one["name"] for one in told["findings"]} == {assumption.name for assumption in ASSUMPTIONS}
    assert set(told["findings"][0]) == {"name", "says", "state", "detail", "breaks", "needed"}
