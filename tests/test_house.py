"""The rules of the house about who imports whom, kept by walking the source."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*ROOT.glob("s1s2pairs/**/*.py"), *ROOT.glob("models/**/*.py"), ROOT / "cli.py"])
PURE = [
    path
    for path in SOURCES
    if path.is_relative_to(ROOT / "s1s2pairs/recipe")
    or path.is_relative_to(ROOT / "s1s2pairs/plan")
    or path.name in ("grid.py", "acquisitions.py", "s1_orbits.py")
]
"""The rooms of what is wanted and what is chosen, and the words they speak in."""
MODULE_LINES, FUNCTION_LINES, CLI_LINES = 320, 60, 480
READS_FILES = "s1s2pairs/plan/lock.py"
"""The one place that reads recipes and locks."""


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[tuple[str, ast.stmt]]:
    """Yield every module a file imports, with relative names resolved, anywhere in it."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            yield module, node
            yield from ((f"{module}.{alias.name}", node) for alias in node.names)


def uses(path: Path, *names: str) -> list[str]:
    return sorted({m for m, _ in imports(path) if any(m == name or m.startswith(f"{name}.") for name in names)})


def within(*folders: str) -> list[Path]:
    return [path for path in SOURCES if path.relative_to(ROOT).parts[0] in folders]


def test_there_is_something_to_check() -> None:
    assert len(within("s1s2pairs")) > 15
    assert len(within("models")) > 10


@pytest.mark.parametrize("path", within("s1s2pairs"), ids=str)
def test_the_data_half_knows_nothing_of_the_models(path: Path) -> None:
    assert uses(path, "models", "torch", "lightning_fabric") == []


DATA_HALF: dict[str, set[str]] = {
    "words": set(),
    "recipe": {"words"},
    "sources": {"words"},
    "plan": {"words", "recipe"},
    "dataset": {"words", "recipe", "plan"},
    "build": {"words", "recipe", "plan", "sources", "dataset"},
    "report": {"words", "recipe", "plan", "sources", "dataset"},
    "check": {"words", "plan", "sources"},
    "simulate": {"words", "recipe"},
}
"""Room -> what it may import from beside itself. `words` are the modules that lie in no folder. Data goes one way."""
MODELS: dict[str, set[str]] = {
    "words": {"networks"},  # the zoo
    "blocks": {"words"},
    "networks": {"words", "blocks"},
    "metrics": {"words"},
    "data": {"words"},
    "runs": {"words"},
    "train": {"words", "data", "metrics", "runs", "evaluate"},
    "evaluate": {"words", "data", "metrics", "runs"},
    "translate": {"words", "data", "runs"},
    "export": {"words", "runs"},
}
SEARCH = ("s1s2pairs.plan.search", "s1s2pairs.sources")
"""The one exception: asking a source and choosing meet here, by the interface alone."""
FROM_THE_DATA_HALF = {
    "s1s2pairs.dataset.dataset",
    "s1s2pairs.dataset.index",
    "s1s2pairs.dataset.layout",
    "s1s2pairs.dataset.storage",
    "s1s2pairs.sensors",
    "s1s2pairs.errors",
    "s1s2pairs.files",
    "s1s2pairs.progress",
    "s1s2pairs.report.inline",
    "s1s2pairs.untrusted",
}
"""All that the models know of datasets."""
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in SOURCES}


def room(module: str) -> tuple[str, str]:
    half, _, rest = module.partition(".")
    folder = rest.partition(".")[0]
    return half, folder if (ROOT / half / folder).is_dir() and folder else "words"


def imported_modules(path: Path) -> set[str]:
    """The project's own modules that a file imports, anywhere in it."""
    named = {module for module, _ in imports(path) if module in MODULES}
    # `from .a import b` names the package `.a` too, where only its module `b` is meant.
    return {m for m in named if not any(other.startswith(f"{m}.") for other in named)}


@pytest.mark.parametrize("module", sorted(MODULES), ids=str)
def test_rooms_import_with_the_grain(module: str) -> None:
    half, here = room(module)
    if half == "cli" or module in ("s1s2pairs", "models"):  # the front doors
        return
    allowed = {"s1s2pairs": DATA_HALF, "models": MODELS}[half][here]
    others = {m for m in imported_modules(MODULES[module]) if room(m) != (half, here) and m != half}
    own = {m for m in others if m.partition(".")[0] == half and (module, m) != SEARCH}
    assert {m for m in own if room(m)[1] not in allowed} == set()
    if half == "models":
        assert {m for m in others if m.startswith("s1s2pairs")} <= FROM_THE_DATA_HALF
        absolute = [
            m for m, node in imports(MODULES[module]) if not getattr(node, "level", 0) and m.startswith("models")
        ]
        assert absolute == [], "imports inside models are relative"


def test_no_module_imports_itself_round_a_corner() -> None:
    """No circle among the imports that run when a module is loaded."""
    loaded = {
        module: {m for m, node in imports(path) if m in MODULES and m != module and node in at_the_top(path)}
        for module, path in MODULES.items()
    }
    state: dict[str, int] = {}

    def visit(module: str, way: tuple[str, ...]) -> None:
        if state.get(module) == 2:
            return
        assert module not in way, " -> ".join((*way[way.index(module) :], module))
        for other in sorted(loaded[module]):
            if not module.startswith(f"{other}."):  # its own package, which is loaded before it
                visit(other, (*way, module))
        state[module] = 2

    for module in MODULES:
        visit(module, ())


def at_the_top(path: Path) -> list[ast.stmt]:
    return tree_of(path).body


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    most = CLI_LINES if path.name == "cli.py" else MODULE_LINES
    assert text.count("\n") <= most, "is there a second idea hiding inside?"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and path.name != "cli.py":
            assert node.end_lineno is not None
            first = node.body[1].lineno if ast.get_docstring(node) and len(node.body) > 1 else node.lineno
            assert node.end_lineno - first < FUNCTION_LINES, node.name


DISTRIBUTIONS = {
    "PIL": "pillow",
    "ee": "earthengine-api",
    "google": "google-auth",
    "googleapiclient": "google-api-python-client",
    "lightning_fabric": "lightning-fabric",
    "odc": "odc-geo",
    "planetary_computer": "planetary-computer",
    "pystac_client": "pystac-client",
}
"""Where a package is called otherwise than what is installed."""


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *(v for k, v in project["optional-dependencies"].items() if k != "dev")]
    declared = {re.split(r"[<>=\[ ]", requirement)[0] for requirements in lists for requirement in requirements}
    tops = {module.partition(".")[0] for path in SOURCES for module, _ in imports(path)}
    foreign = {DISTRIBUTIONS.get(top, top) for top in tops - set(sys.stdlib_module_names) - {"s1s2pairs", "models", ""}}
    assert foreign - declared == set()
    assert declared - foreign - {"tensorboard", "onnxscript"} == set(), "torch loads these by itself"


def test_the_tested_versions_are_ones_that_the_project_admits() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    tested = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    for requirement in map(Requirement, wanted):
        assert tested[canonicalize_name(requirement.name)] in requirement.specifier, requirement


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_earth_engine_and_geemap_stay_in_their_rooms(path: Path) -> None:
    relative = path.relative_to(ROOT).as_posix()
    if not relative.startswith("s1s2pairs/sources/earthengine"):
        assert uses(path, "ee") == []
    if relative != "s1s2pairs/report/web_map.py":
        assert uses(path, "geemap") == []
    if relative not in (
        "models/train/setup.py",
        "models/train/loop.py",
        "models/train/updates.py",
    ):  # made there, used here
        assert uses(path, "lightning_fabric") == []


@pytest.mark.parametrize("path", [path for path in PURE if not path.match(READS_FILES)], ids=str)
def test_choosing_does_no_io_and_reads_no_clock(path: Path) -> None:
    assert uses(path, "os", "io", "pathlib", "time", "fsspec", "requests", "pystac", "ee", "torch", "random") == []
    calls = [
        node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name)
    ]
    assert not {"open", "now", "today", "utcnow", "print"} & set(calls)


@pytest.mark.parametrize("path", sorted(ROOT.glob("models/networks/*.py")), ids=str)
def test_a_network_stands_alone(path: Path) -> None:
    others = [m for m in uses(path, "models.networks") if m != "models.networks"]
    assert others == []


def test_help_loads_next_to_nothing() -> None:
    """Else it would not answer at once."""
    tops = {module.partition(".")[0] for path in SOURCES for module, _ in imports(path)}
    foreign = tops - set(sys.stdlib_module_names) - {"s1s2pairs", "models", ""}
    tell = "atexit.register(lambda: print('LOADED', *sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", f"import atexit, cli, sys; {tell}; sys.argv = ['s1s2', '--help']; cli.main()"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = set(done.stdout.rpartition("LOADED ")[2].split())
    assert {"torch", "rasterio", "numpy", "typer"} <= foreign
    assert {name.partition(".")[0] for name in loaded} & foreign == {"typer"}
    assert {room(module)[1] for module in loaded & set(MODULES)} == {"words"}, "no room is entered"
