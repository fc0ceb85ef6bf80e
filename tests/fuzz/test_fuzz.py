"""Whatever others have written is read, or refused with an error of ours: no traceback, no hang, no bomb.

The normal run takes a few hundred spoilt inputs for each target; `make torture` takes more than 100,000. What was found once lies
in `corpus/<target>/<part>/`, named after what went wrong, and is tried in every run.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import networks
from s1s2pairs.errors import S1S2Error
from s1s2pairs.sources.stac.items import item_from_json
from s1s2pairs.untrusted import Unusable, parse_json
from tests.fuzz.harness import Target, attempt, bounded_memory, run
from tests.fuzz.targets import TARGETS
from tests.fuzz.torture import main as torture

pytestmark = pytest.mark.filterwarnings("ignore")
"""What a library warns of spoilt data is no fault of ours."""
CORPUS = Path(__file__).parent / "corpus"
FOUND = sorted(path.relative_to(CORPUS).as_posix() for path in CORPUS.glob("*/*/*"))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Target]]:
    """Make a target, or give the one made before."""
    made: dict[str, Target] = {}

    def get(name: str) -> Target:
        if name not in made:
            made[name] = TARGETS[name][0](tmp_path_factory.mktemp(name))
        return made[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "__path__", [*networks.__path__])  # the targets add the network of the tests
        yield get


@pytest.mark.parametrize("name", TARGETS)
def test_spoilt_inputs_are_read_or_refused(name: str, target: Callable[[str], Target]) -> None:
    reader = target(name)
    for part, about in reader.parts.items():
        assert attempt(reader.read, part, about.sound).accepted, f"the sound {part} is refused"
    with bounded_memory():
        tally = run(reader, TARGETS[name][1], seed=0)
    assert not tally.findings, "\n\n".join(f"{one.problem}\n{one.detail}" for one in tally.findings.values())


@pytest.mark.parametrize("path", FOUND)
def test_what_was_found_once_stays_mended(path: str, target: Callable[[str], Target]) -> None:
    name, part, _ = path.split("/")
    with bounded_memory():
        outcome = attempt(target(name).read, part, (CORPUS / path).read_bytes())
    assert not outcome.problem, outcome.detail


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")) | ANY_JSON.map(json.dumps))
def test_any_bytes_are_json_or_unusable(content: Any) -> None:
    with suppress(Unusable):
        parse_json(content)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    geometry=ANY_JSON,
    properties=st.dictionaries(st.sampled_from(["datetime", "proj:epsg", "sat:relative_orbit"]), ANY_JSON),
    assets=st.dictionaries(st.sampled_from(["vv", "blue", "scl"]), ANY_JSON),
)
def test_any_json_is_an_item_or_refused(geometry: object, properties: object, assets: object) -> None:
    value = {"type": "Feature", "id": "I", "geometry": geometry, "properties": properties, "assets": assets}
    with suppress(S1S2Error):
        item_from_json(value, href="/item.json")


@pytest.mark.torture
@pytest.mark.timeout(6 * 3600)
def test_a_hundred_thousand_spoilt_inputs() -> None:
    tallies = torture(list(TARGETS))
    assert sum(tally.inputs for tally in tallies) >= 100_000
    assert not [finding for tally in tallies for finding in tally.findings]
