"""The names of networks, known without loading any, and without PyTorch: a mistyped one is refused at once."""

import difflib
import pkgutil
from collections.abc import Iterable
from typing import Final

from s1s2pairs.errors import RunError

from . import networks as networks_package

ALIASES: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "tsgan_v1": ("tsgan", {"version": "v1"}),
    "tsgan_v2": ("tsgan", {"version": "v2"}),
    "tsgan_v3": ("tsgan", {"version": "v3"}),
}
"""Published names of networks that differ from another only by settings."""


def names() -> tuple[str, ...]:
    """Return the names of all networks, sorted, without loading any."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(networks_package.__path__)))


def check_name(name: str) -> None:
    """Refuse what is neither a network nor an alias.

    Raises:
        RunError: Names the nearest, and all that there are.
    """
    if name not in (*names(), *ALIASES):
        raise unknown(name)


def unknown(name: str) -> RunError:
    """Return what to say of a name that no network has."""
    choices = (*names(), *ALIASES)
    return RunError(f"there is no network {name!r}.{nearest(name, choices)} Choose from {', '.join(choices)}")


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return a question that names what a user may have meant, after a space; nothing where no choice is near."""
    match = difflib.get_close_matches(word.lower(), list(choices), n=1, cutoff=0.5)
    return f" Did you mean {match[0]}?" if match else ""
