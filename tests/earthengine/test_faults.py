"""Whatever goes wrong on the way: the build ends with the same bytes, or says which ROI failed and why."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from s1s2pairs.build.build import build
from s1s2pairs.errors import NotAuthenticated, QuotaExceeded, SourceError, SourceUnreachable
from s1s2pairs.plan.choices import Plan, RoiPlan, place
from s1s2pairs.plan.search import plan_roi
from s1s2pairs.sources.earthengine import EarthEngineSource
from tests.refusals import assert_names, refuses
from tests.s1s2pairs.conftest import tree

from . import world
from .conftest import QUICK, ImpatientOpener, Server
from .faults import KINDS

Ask = Callable[..., Server]
RECIPE = world.recipe()
UNDER_DEADLINE = replace(QUICK, deadline_s=3.0, attempts=20)
NEVER_PASSING = ("400", "401")
"""Kinds that are final at once. All others pass sooner or later, or are got round."""
TOO_MUCH = sorted(kind for kind in KINDS if kind.split("-")[-1] in ("memory", "timeout", "aggregations", "elements"))
"""Kinds that ask for smaller requests."""


@pytest.fixture(scope="module")
def calm(
    awkward: Path, serve: Callable[[Path], Server], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Plan, dict[str, str]]:
    """The build that nothing disturbs: its plan, and every file with its hash."""
    out = tmp_path_factory.mktemp("undisturbed")
    server = serve(awkward)
    server.set_faults()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("S1S2_EE_URL", server.url)
        patch.setenv("S1S2_EE_ANONYMOUS", "1")
        report = build(RECIPE, opener=ImpatientOpener(), out=str(out), workers=4)
    assert report.failed == ()
    return report.plan, tree(out)


@pytest.fixture
def undisturbed(calm: tuple[Plan, dict[str, str]]) -> dict[str, str]:
    return calm[1]


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(NEVER_PASSING)))
def test_a_fault_in_three_of_ten_requests_changes_nothing(
    kind: str, awkward: Path, ask: Ask, tmp_path: Path, calm: tuple[Plan, dict[str, str]]
) -> None:
    plan, undisturbed = calm
    # A window that is refused at random is halved each time; at 0.3 now and then one would be halved down to nothing.
    server = ask(awkward, rate=0.2 if kind in TOO_MUCH else 0.3, kinds=(kind,), seed=4)
    opener = ImpatientOpener(retry_policy=UNDER_DEADLINE if kind == "stall" else QUICK)
    report = build(plan, opener=opener, out=str(tmp_path / "out"), workers=4)
    assert report.failed == ()
    assert tree(tmp_path / "out") == undisturbed
    assert any(entry["fault"] == kind for entry in server.requests())


def test_all_faults_at_once_from_the_search_on_with_the_client_trying_again_too(
    awkward: Path, ask: Ask, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    kinds = tuple(sorted(set(KINDS) - set(NEVER_PASSING) - {"stall"}))
    server = ask(awkward, rate=0.3, kinds=kinds, seed=1)
    opener = ImpatientOpener(requests=3, retry_policy=QUICK)
    assert build(RECIPE, opener=opener, out=str(tmp_path / "out"), workers=8).failed == ()
    assert tree(tmp_path / "out") == undisturbed
    assert len({entry["fault"] for entry in server.requests()}) > 2
    assert max(entry["in_flight"] for entry in server.requests()) <= 3


def test_the_server_dies_and_comes_back(
    awkward: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, str]
) -> None:
    server = Server(awkward, tmp_path / "requests.jsonl")
    monkeypatch.setenv("S1S2_EE_URL", server.url)
    monkeypatch.setenv("S1S2_EE_ANONYMOUS", "1")
    server.set_faults(latency_s=0.1)
    answered: list[int] = []

    def die_and_come_back() -> None:
        until = time.monotonic() + 60
        while len(server.requests()) < 8 and time.monotonic() < until:
            time.sleep(0.02)
        server.kill()
        answered.append(len(server.requests()))
        server.start_again()

    killer = threading.Thread(target=die_and_come_back)
    killer.start()
    try:
        patient = replace(QUICK, attempts=60, longest_wait_s=1.0)
        report = build(RECIPE, opener=ImpatientOpener(retry_policy=patient), out=str(tmp_path / "out"), workers=2)
    finally:
        killer.join()
        server.kill()
    assert report.failed == ()
    assert tree(tmp_path / "out") == undisturbed
    assert 0 < answered[0] < len(server.requests())


def test_a_server_that_is_gone_for_good_stops_the_whole_build(
    awkward: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(awkward, tmp_path / "requests.jsonl")
    monkeypatch.setenv("S1S2_EE_URL", server.url)
    monkeypatch.setenv("S1S2_EE_ANONYMOUS", "1")
    server.set_faults()
    # With a wait for each place, however short, a thousand attempts at each would outlast the test.
    opener = ImpatientOpener(requests=4, retry_policy=replace(QUICK, attempts=1000, unreachable_s=0.5))
    west, east = RECIPE.rois
    many = tuple(replace(west, name=f"place-{i}") for i in range(40))
    source = opener.open()
    server.kill()
    with refuses(SourceUnreachable):
        source.find_optical(place(east), [place(east).windows[0].optical])
    monkeypatch.setattr(ImpatientOpener, "open", lambda _: source)
    with refuses(SourceUnreachable):
        build(replace(RECIPE, rois=many), opener=opener, out=str(tmp_path / "out"), workers=4)


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("500", (3, "internal error")),
        ("400", (400, "XX", "docs/earthengine.md")),
        ("403-denied", (3, "permission", "docs/earthengine.md")),
    ],
)
def test_what_never_passes_fails_its_roi_only(
    kind: str, named: tuple[object, ...], awkward: Path, ask: Ask, tmp_path: Path, calm: tuple[Plan, dict[str, str]]
) -> None:
    plan, undisturbed = calm
    server = ask(awkward, rate=1.0, kinds=(kind,), only=f'"translateX": {place(RECIPE.rois[0]).grid.transform.c}')
    opener = ImpatientOpener(retry_policy=replace(QUICK, attempts=3))
    report = build(plan, opener=opener, out=str(tmp_path / "out"), workers=2)
    (failed,) = report.failed
    assert failed.roi == "west"
    assert_names(str(failed.failure), *named)
    files = tree(tmp_path / "out")
    wanted = {path: digest for path, digest in undisturbed.items() if "/east/" in path}
    assert wanted.items() <= files.items()
    # The same folder, once the fault is gone, ends as if it had never been.
    server.set_faults()
    assert build(plan, opener=opener, out=str(tmp_path / "out"), workers=2).failed == ()
    assert tree(tmp_path / "out") == undisturbed


@pytest.mark.parametrize(
    ("kind", "error", "requests"),
    [
        ("429", QuotaExceeded, 3),
        ("403-rate", QuotaExceeded, 3),
        ("500", SourceError, 3),
        ("401", NotAuthenticated, None),
        ("403-denied", SourceError, 3),
        ("400", SourceError, 1),
    ],
)
def test_each_kind_is_tried_as_often_as_it_may_help(
    kind: str, error: type[SourceError], requests: int | None, awkward: Path, ask: Ask
) -> None:
    server = ask(awkward)
    source = EarthEngineSource(retry_policy=replace(QUICK, attempts=3))
    server.set_faults(rate=1.0, kinds=(kind,))
    with pytest.raises(error) as raised:
        plan_roi(source, RECIPE.rois[0])
    assert type(raised.value) is error
    if requests is not None:
        assert len(server.requests()) == requests


def test_a_plan_that_names_a_scene_that_is_gone_is_refused_without_trying_again(awkward: Path, ask: Ask) -> None:
    server = ask(awkward)
    source = EarthEngineSource(retry_policy=QUICK)
    grid = place(RECIPE.rois[0]).grid
    with refuses(SourceError, "S1A_GONE", 400):
        source.mean_sar([("S1A_GONE",)], polarisations=("VV",), grid=grid)
    assert len(server.requests()) == 1


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_what_is_too_much_is_asked_for_in_parts_whatever_the_status(kind: str, awkward: Path, ask: Ask) -> None:
    server = ask(awkward)
    expected = [_plan(EarthEngineSource(retry_policy=QUICK), name) for name in ("west", "east")]
    server.set_faults(rate=0.5, kinds=(kind,), seed=3)
    assert [_plan(EarthEngineSource(retry_policy=QUICK), name) for name in ("west", "east")] == expected
    asked = server.requests()
    refused = [entry["body_sha256"] for entry in asked if entry["fault"] == kind]
    assert refused
    assert len(set(refused)) == len(refused), "what was too much is never sent again as it was"


@pytest.mark.parametrize("limit", [{"elements": 7}, {"aggregations": 1}])
def test_a_lower_limit_than_expected_is_kept(limit: dict[str, int], awkward: Path, ask: Ask) -> None:
    server = ask(awkward)
    expected = _plan(EarthEngineSource(retry_policy=QUICK), "west")
    server.set_faults(**limit)
    assert _plan(EarthEngineSource(retry_policy=QUICK), "west") == expected
    answered = [entry for entry in server.requests() if entry["status"] == 200]
    assert len(answered) > 2
    for name, most in limit.items():
        assert max(entry[name] for entry in answered) <= most


def _plan(source: EarthEngineSource, name: str) -> RoiPlan:
    return plan_roi(source, next(roi for roi in RECIPE.rois if roi.name == name))
