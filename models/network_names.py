"""The names of networks, known without loading any, and without PyTorch: a mistyped one is refused at once."""

import ast
import difflib
import functools
import pkgutil
from collections.abc import Iterable
from pathlib import Path

from s1s2pairs.errors import RunError

from . import networks as networks_package


def names() -> tuple[str, ...]:
    """Return the names of all networks, sorted, without loading any."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(networks_package.__path__)))


def aliases() -> dict[str, tuple[str, dict[str, str]]]:
    """Return the network and the settings behind every alias, which its file tells as `ALIASES`, without loading any."""
    folders = map(Path, networks_package.__path__)
    files = sorted(file for folder in folders for file in folder.glob("*.py") if file.stem != "__init__")
    return {alias: (file.stem, preset) for file in files for alias, preset in _aliases_in(file).items()}


@functools.cache
def _aliases_in(file: Path) -> dict[str, dict[str, str]]:
    """Return what a network's file says of its aliases; nothing where the file is unfinished: whoever loads it says why."""
    try:
        for statement in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "ALIASES":
                found: dict[str, dict[str, str]] = ast.literal_eval(statement.value)
                return found
    except (SyntaxError, ValueError):
        return {}
    return {}


def check_name(name: str) -> None:
    """Refuse what is neither a network nor an alias.

    Raises:
        RunError: Names the nearest, and all that there are.
    """
    if name not in (*names(), *aliases()):
        raise unknown(name)


def unknown(name: str) -> RunError:
    """Return what to say of a name that no network has."""
    choices = (*names(), *aliases())
    return RunError(f"there is no network {name!r}.{nearest(name, choices)} Choose from {', '.join(choices)}")


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return a question that names what a user may have meant, after a space; nothing where no choice is near."""
    match = difflib.get_close_matches(word.lower(), list(choices), n=1, cutoff=0.5)
    return f" Did you mean {match[0]}?" if match else ""
