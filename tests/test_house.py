"""The rules of the house about who imports whom, kept by walking the source."""

import ast
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

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
READS_FILES = "s1s2pairs/plan/lock.py"
"""The one place that reads recipes and locks."""


def imports(path: Path) -> Iterator[tuple[str, ast.stmt]]:
    """Yield every module a file imports, with relative names resolved, anywhere in it."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
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


@pytest.mark.parametrize("path", within("models"), ids=str)
def test_the_models_take_only_the_index_the_bands_and_the_errors(path: Path) -> None:
    allowed = ("s1s2pairs.dataset.index", "s1s2pairs.sensors", "s1s2pairs.errors")
    taken = [m for m in uses(path, "s1s2pairs") if m != "s1s2pairs"]
    assert [m for m in taken if not m.startswith(allowed)] == []
    assert uses(path, "ee", "cli") == []
    absolute = [m for m, node in imports(path) if not getattr(node, "level", 0) and m.split(".")[0] == "models"]
    assert absolute == [], "imports inside models are relative"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_earth_engine_and_geemap_stay_in_their_rooms(path: Path) -> None:
    relative = path.relative_to(ROOT).as_posix()
    if not relative.startswith("s1s2pairs/sources/earthengine"):
        assert uses(path, "ee") == []
    if relative != "s1s2pairs/report/web_map.py":
        assert uses(path, "geemap") == []
    if relative != "models/train/loop.py":
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


def test_help_answers_at_once() -> None:
    def seconds() -> float:
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", "import cli, sys; sys.argv = ['s1s2', '--help']; cli.main()"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        return time.perf_counter() - start

    heavy = subprocess.run(
        [sys.executable, "-c", "import sys, cli; print(*sorted(sys.modules))"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert not {"torch", "rasterio", "geopandas", "pandas", "numpy", "ee", "pystac", "matplotlib"} & set(heavy)
    # The bound is on the best of five: these machines are shared, and the slowest says more about the neighbours than about us.
    assert min(seconds() for _ in range(5)) < 0.5
