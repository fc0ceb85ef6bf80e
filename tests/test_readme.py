"""Every command quoted in the README runs as it stands there, on smaller places."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import cli
from tests.earthengine.conftest import Server

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line.partition("#")[0].strip() for kind, block in BLOCKS if not kind for line in block.splitlines()]
S1S2 = [command for command in COMMANDS if command.startswith("s1s2 ")]
ELSEWHERE = "planetarycomputer"
"""A public service: not reached from a test. The STAC API tests ask a server of their own."""


@pytest.fixture(scope="module")
def desk(tiny_recipe: Path, tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the README's recipes, made tiny, and Earth Engine played by a server on this machine."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "rois").mkdir()
    shutil.copy(tiny_recipe, folder / "rois" / "small.geojson")
    text = tiny_recipe.read_text(encoding="utf-8").replace('"name": "small"', '"name": "oscd"')
    (folder / "rois" / "oscd.geojson").write_text(text, encoding="utf-8")
    server = Server(tiny_world, folder / "requests.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("S1S2_EE_URL", server.url)
        patch.setenv("S1S2_EE_ANONYMOUS", "1")
        patch.setattr("ee.deprecation._FetchDataCatalogStac", dict)
        yield folder
    server.kill()


def test_the_readme_quotes_commands() -> None:
    assert len(S1S2) >= 10
    assert {command.split()[1] for command in S1S2} == {
        c.name or c.callback.__name__ for c in cli.app.registered_commands if c.callback
    }
    made = [command for command in COMMANDS if command.startswith("make ")]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE) for command in made)


def test_every_command_of_the_readme_runs(desk: Path) -> None:
    # One test, as each command builds on those before it; the README is read from top to bottom.
    for command in S1S2:
        if ELSEWHERE in command:
            continue
        with pytest.raises(SystemExit) as ended:
            cli.main(shlex.split(command)[1:])
        assert ended.value.code == 0, command
    for made in (
        "data/small/report.html",
        "map.html",
        "runs/first/evaluation.html",
        "valencia_2021.tif",
        "data/oscd/index.parquet",
    ):
        assert (desk / made).stat().st_size > 1000, made


def test_the_python_of_the_readme_runs(desk: Path) -> None:
    (example,) = [block for kind, block in BLOCKS if kind == "python"]
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    patches = names["patches"]
    assert len(patches) > 0  # type: ignore[arg-type]


def test_the_python_page_runs(desk: Path) -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(example, "python.md", "exec"), names)
    assert names["checked"].ok  # type: ignore[attr-defined]
    assert len(names["test"]) > 0  # type: ignore[arg-type]
