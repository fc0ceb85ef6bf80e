"""Find networks by name, make them from settings, describe them.

A network is a file in `networks/`; nothing registers itself. The file offers `Config`, `Network`, `PAPER`, `YEAR`,
`SUMMARY`.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args, get_origin, get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError

from s1s2pairs.errors import RunError

from . import networks as networks_package
from .config import NetworkConfig
from .translator import Translator

ALIASES: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "tsgan_v1": ("tsgan", {"version": "v1"}),
    "tsgan_v2": ("tsgan", {"version": "v2"}),
    "tsgan_v3": ("tsgan", {"version": "v3"}),
}
"""Published names of networks that differ from another only by settings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkInfo:
    """What a network's file offers."""

    name: str
    """The file's name, and the name on the command line."""
    paper: str
    year: int
    summary: str
    config: type[NetworkConfig]
    """The frozen dataclass of its settings; the defaults are the paper's."""
    network: type[Translator]
    """Made from a config."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """One row of the list of networks."""

    name: str
    paper: str
    year: int
    summary: str
    task: str
    """Stacks in and out, such as `s2_t2 + s1_t1 + s2_t1 -> s1_t2`."""
    parameters: dict[str, int]
    """Parameters of each part at the paper's settings."""
    aliases: tuple[str, ...]


def names() -> tuple[str, ...]:
    """Return the names of all networks, sorted, without loading any."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(networks_package.__path__)))


def networks() -> dict[str, NetworkInfo]:
    """Load every network's file and return what it offers, by name."""
    return {name: _load(name) for name in names()}


def create(name: str, settings: Mapping[str, str] | None = None) -> Translator:
    """Make a network from what a user typed.

    Args:
        name: A network or an alias.
        settings: Settings as `key=value` gives them; a list is written with commas, as in `s2_bands=B2,B3,B4`.

    Raises:
        RunError: Unknown name or setting, or a value that does not fit; the text says what would.
    """
    name, preset = resolve(name)
    given = dict(settings or {})
    for key, value in preset.items():
        if given.setdefault(key, value) != value:
            raise RunError(f"{key}={given[key]} contradicts the alias, which stands for {name} with {key}={value}.")
    return create_from_config(name, given)


def create_from_config(name: str, config: Mapping[str, object]) -> Translator:
    """Make a network from the settings a checkpoint or run file holds; what they leave out has its default.

    Raises:
        RunError: As for `create`.
    """
    info = _load(resolve(name)[0])
    return info.network(info.config(**_parse(info, config)))


def resolve(name: str) -> tuple[str, dict[str, str]]:
    """Return the network behind a name or alias, and the settings the alias stands for.

    Raises:
        RunError: There is no such network; the text names the nearest.
    """
    if name in ALIASES:
        return ALIASES[name]
    known = names()
    if name not in known:
        choices = (*known, *ALIASES)
        raise RunError(f"There is no network {name!r}.{_nearest(name, choices)} Choose from {', '.join(choices)}.")
    return name, {}


def describe() -> list[Description]:
    """Return one row per network; parameters are counted without allocating any."""
    rows = []
    for info in networks().values():
        with torch.device("meta"):
            translator = info.network(info.config())
        task = translator.task
        rows.append(
            Description(
                name=info.name,
                paper=info.paper,
                year=info.year,
                summary=info.summary,
                task=f"{' + '.join(stack.key for stack in task.inputs)} -> {task.target.key}",
                parameters={part: count_parameters(translator, part) for part in translator.parts},
                aliases=tuple(alias for alias, (network, _) in ALIASES.items() if network == info.name),
            )
        )
    return rows


def listing(rows: Sequence[Description]) -> list[str]:
    """Return the rows as an aligned table, one line each below a head."""
    head = ("network", "year", "parameters", "task", "aliases", "paper")
    lines = [head, *(_listed(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return ["  ".join(f"{text:{width}}" for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _listed(row: Description) -> tuple[str, ...]:
    parameters = ", ".join(f"{count / 1e6:.1f} M {part}" for part, count in row.parameters.items())
    return row.name, str(row.year), parameters, row.task, ", ".join(row.aliases) or "-", row.paper


def count_parameters(translator: Translator, part: str) -> int:
    """Return how many numbers one part of a network learns."""
    return sum(parameter.numel() for parameter in translator.get_submodule(part).parameters())


def _load(name: str) -> NetworkInfo:
    module = importlib.import_module(f".{name}", networks_package.__name__)
    return NetworkInfo(
        name=name,
        paper=module.PAPER,
        year=module.YEAR,
        summary=module.SUMMARY,
        config=module.Config,
        network=module.Network,
    )


def _parse(info: NetworkInfo, given: Mapping[str, object]) -> dict[str, Any]:
    """Check settings against the fields of the network's config, one by one, so that a message can name the culprit."""
    hints = get_type_hints(info.config)
    fields = info.config.names()
    values = {}
    for key, value in given.items():
        if key not in fields:
            choices = ", ".join(fields)
            raise RunError(f"{info.name} has no setting {key!r}.{_nearest(key, fields)} Its settings are {choices}.")
        is_written_list = isinstance(value, str) and get_origin(hints[key]) is tuple
        items = [item.strip() for item in str(value).split(",") if item.strip()]
        try:
            values[key] = TypeAdapter(hints[key]).validate_python(items if is_written_list else value)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise RunError(
                f"{info.name}: {key}={value} does not fit, {_expected(hints[key])} is needed ({reason})."
            ) from error
    return values


def _expected(hint: Any) -> str:
    """Return a type in words."""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
    if hint in words:
        return words[hint]
    if get_origin(hint) is tuple:
        items = get_args(hint)
        if items[-1] is Ellipsis:
            return f"a list with commas, each {words[items[0]]},"
        return f"{len(items)} values with a comma, each {words[items[0]]},"
    return "one of " + ", ".join(str(choice) for choice in get_args(hint))


def _nearest(word: str, choices: Iterable[str]) -> str:
    match = difflib.get_close_matches(word.lower(), list(choices), n=1, cutoff=0.5)
    return f" Did you mean {match[0]}?" if match else ""
