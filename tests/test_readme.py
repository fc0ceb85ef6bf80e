"""What the README and the pages say holds: commands run on smaller places, options are those of `--help`, links resolve."""

import functools
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

import cli
from models import zoo
from s1s2pairs.plan import lock
from s1s2pairs.simulate.world import Options, simulate
from tests.conftest import TINY, square
from tests.earthengine.conftest import Server

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "rois/README.md", ROOT / "data/README.md"]
ELSEWHERE = "planetarycomputer"
"""A public service: not reached from a test. The STAC API tests ask a server of their own."""
FEW = Options(orbits_per_pass=1, optical_margin_months=0, sar_margin_days=20)
"""A simulated archive as small as the rules allow."""
COLUMNS = 120


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the fenced blocks of a page: language and text."""
    return re.findall(r"^ *```(\w*)\n(.*?)^ *```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path, first: str = "s1s2") -> list[str]:
    """Return the commands that a page quotes, top to bottom."""
    shell = "\n".join(block for kind, block in blocks(page) if not kind)
    lines = re.sub(r"\\\n *", "", shell).splitlines()
    return [line.partition("#")[0].strip() for line in lines if re.match(rf"{first} [a-z]", line.strip())]


def run(command: str) -> None:
    """Run one command in this process; it must end well."""
    with pytest.raises(SystemExit) as ended:
        cli.main(shlex.split(command)[1:])
    assert ended.value.code == 0, command


def simulate_few(patch: pytest.MonkeyPatch) -> None:
    """Let `s1s2 simulate` write few scenes."""
    patch.setattr("s1s2pairs.simulate.world.simulate", functools.partial(simulate, options=FEW))


def options_table(name: str) -> str:
    """Return arguments and options of a command, as its page lists them."""
    command = typer.main.get_command(cli.app).commands[name]  # type: ignore[attr-defined]
    rows = []
    for one in command.params:
        shown = f"`{one.opts[0]}`" if one.param_type_name == "option" else one.name.upper()
        default = "must be given" if one.required else "-" if one.default in (None, False) else f"`{one.default}`"
        meaning = one.help.replace("<", r"\<").replace("|", r"\|")
        rows.append(f"| {shown} | {meaning} | {default} |")
    return "\n".join(["| option | meaning | default |", "|---|---|---|", *rows]) + "\n"


README = ROOT / "README.md"
NAMES = {c.name or c.callback.__name__ for c in cli.app.registered_commands if c.callback}


@pytest.fixture(scope="module")
def desk(tiny_recipe: Path, tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the README's recipes, made tiny, and Earth Engine played by a server on this machine."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "rois").mkdir()
    text = tiny_recipe.read_text(encoding="utf-8").replace('"name": "small"', '"name": "oscd"')
    (folder / "rois" / "oscd.geojson").write_text(text, encoding="utf-8")
    (folder / "places.geojson").write_text(json.dumps(_smaller(_places())), encoding="utf-8")
    server = Server(tiny_world, folder / "requests.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("S1S2_EE_URL", server.url)
        patch.setenv("S1S2_EE_ANONYMOUS", "1")
        patch.setattr("ee.deprecation._FetchDataCatalogStac", dict)
        simulate_few(patch)
        yield folder
    server.kill()


def _places() -> dict[str, object]:
    (text,) = [block for kind, block in blocks(README) if kind == "json"]
    found: dict[str, object] = json.loads(text)
    return found


def _smaller(recipe: dict[str, object]) -> dict[str, object]:
    features = []
    for feature in recipe["features"]:  # type: ignore[attr-defined]
        lon, lat = feature["geometry"]["coordinates"][0][0]
        features.append(feature | {"geometry": square(lon + 0.02, lat + 0.015, 1.4)})
    return recipe | {"features": features, "s1s2": TINY["s1s2"]}


def test_the_recipe_of_the_readme_is_one(tmp_path: Path) -> None:
    path = tmp_path / "places.geojson"
    path.write_text(json.dumps(_places()), encoding="utf-8")
    assert len(lock.load(path, years=(2019, 2021)).rois) == 2


def test_the_readme_and_the_tutorial_quote_every_command() -> None:
    quoted = commands(README) + commands(ROOT / "docs/tutorial.md")
    assert {command.split()[1] for command in quoted} == NAMES
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{made.split()[1]}:", makefile, re.MULTILINE) for made in commands(README, "make"))


def test_every_command_of_the_readme_runs(desk: Path) -> None:
    # One test, as each command builds on those before it; the README is read from top to bottom.
    for command in commands(README):
        if ELSEWHERE not in command:
            run(command)
    for made in (
        "data/places/report.html",
        "runs/places/evaluation.html",
        "lyon_2021.tif",
        "data/oscd/index.parquet",
    ):
        assert (desk / made).stat().st_size > 1000, made


def test_the_python_of_the_readme_runs(desk: Path) -> None:
    (example,) = [block for kind, block in blocks(README) if kind == "python"]
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    patches = names["patches"]
    assert len(patches) > 0  # type: ignore[arg-type]


def test_every_command_has_a_page() -> None:
    assert {path.stem for path in (ROOT / "docs/commands").glob("*.md")} == NAMES


def test_every_network_has_its_row() -> None:
    page = (ROOT / "docs/networks.md").read_text(encoding="utf-8")
    which = page.partition("\n## ")[0]  # the first table
    first = " ".join(row.split("|")[1] for row in which.splitlines() if row.startswith("|"))
    assert set(re.findall(r"`(\w+)`", first)) == {*zoo.names(), *zoo.aliases()}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_commands_page_lists_its_options(name: str) -> None:
    page = (ROOT / "docs/commands" / f"{name}.md").read_text(encoding="utf-8")
    wanted = options_table(name)
    assert wanted in page, f"docs/commands/{name}.md should hold this table:\n{wanted}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_command_that_a_page_quotes_exists(page: Path) -> None:
    group = typer.main.get_command(cli.app)
    for command in commands(page):
        words = shlex.split(command)
        assert words[1] in NAMES, command
        known = {o for one in group.commands[words[1]].params for o in one.opts}  # type: ignore[attr-defined]
        assert {word for word in words if word.startswith("--")} <= known | {"--help"}, command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_has_an_example_and_no_long_line(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert blocks(page), "no example"
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL).splitlines()
    assert [line for line in prose if len(line) > COLUMNS and not line.startswith(("|", "!["))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith("http"):
            continue
        path, _, part = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        if part:
            assert part in _anchors(target), link


def _anchors(page: Path) -> set[str]:
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_pictures_are_few_and_small() -> None:
    pictures = list((ROOT / "docs/pictures").iterdir())
    assert {path.suffix for path in pictures} <= {".jpg", ".png"}
    assert sum(path.stat().st_size for path in pictures) < 1_500_000
    quoted = {link for page in PAGES for link in re.findall(r"pictures/([\w.]+)\)", page.read_text(encoding="utf-8"))}
    assert quoted == {path.name for path in pictures}
