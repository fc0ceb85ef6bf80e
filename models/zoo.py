"""Find networks by name, make them from settings, describe them.

A network is a file in `networks/`; nothing registers itself. The file offers `Config`, `Network`, `PAPER`, `YEAR`,
`SUMMARY`, and where it has published names that stand for some of its settings, `ALIASES`.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from s1s2pairs.errors import RunError

from . import networks as networks_package
from .config import NetworkConfig, parse, refuse_unknown
from .network_names import aliases, names, unknown
from .translator import Translator


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
    preset: Mapping[str, str] = field(default_factory=dict)
    """Settings that the alias it was found by stands for."""

    def make(self, settings: Mapping[str, object]) -> Translator:
        """Make the network; settings left out have their defaults, which is `decay_epochs` in proportion to `epochs`.

        Args:
            settings: As a checkpoint or run file holds them, or as typed: a list with commas, as in `s2_bands=B2,B3,B4`.

        Raises:
            RunError: Unknown setting, or a value that does not fit; the text says what would.
        """
        given = {**self.preset, **settings}
        refuse_unknown(given, {self.name: self.config.names()})
        for key in self.contradicted_by(given):
            raise RunError(
                f"{key}={given[key]} contradicts the alias, which stands for {self.name} with {key}={self.preset[key]}"
            )
        values = parse(self.config, given)
        if "epochs" in values and "decay_epochs" not in values:  # of a shorter training, the same part
            published = self.config()
            values["decay_epochs"] = round(published.decay_epochs * values["epochs"] / published.epochs)
        return self.network(self.config(**values))

    def contradicted_by(self, settings: Mapping[str, object]) -> list[str]:
        """Return the settings that the alias stands for and that are not so here.

        Args:
            settings: As for `make`.

        Raises:
            RunError: A value does not fit.
        """
        wanted = parse(self.config, self.preset)
        given = parse(self.config, {key: settings[key] for key in wanted if key in settings})
        return [key for key, value in wanted.items() if key not in given or given[key] != value]

    def size_bytes(self, settings: Mapping[str, object]) -> int:
        """Return the size of the weights of the network that `make` would make, without making room for them.

        Raises:
            RunError: As for `make`, or no network can be of that size.
        """
        try:
            with torch.device("meta"):
                weights = self.make(settings).state_dict().values()
        except (RuntimeError, ValueError, TypeError, ArithmeticError) as error:  # of torch, for sizes that cannot be
            raise RunError(f"network {self.name} cannot be made with its settings: {_in_a_line(error)}") from error
        return sum(weight.numel() * weight.element_size() for weight in weights)


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Broken:
    """The row of a network whose file cannot be used."""

    name: str
    error: str


def load(name: str) -> NetworkInfo:
    """Load one network's file, and no other.

    Raises:
        RunError: There is no such file, the text names the nearest; or it cannot be loaded, the text says why.
    """
    if name not in names():
        raise unknown(name)
    try:
        module = importlib.import_module(f".{name}", networks_package.__name__)
        return NetworkInfo(
            name=name,
            paper=module.PAPER,
            year=module.YEAR,
            summary=module.SUMMARY,
            config=module.Config,
            network=module.Network,
        )
    except Exception as error:  # whatever a file under construction may raise
        raise RunError(f"network {name} cannot be loaded: {_in_a_line(error)}") from error


def resolve(name: str) -> NetworkInfo:
    """Load the network behind a name or alias, and no other.

    Raises:
        RunError: As for `load`.
    """
    file, preset = aliases().get(name, (name, {}))
    return replace(load(file), preset=preset)


def create(name: str, settings: Mapping[str, object] | None = None) -> Translator:
    """Make a network by name or alias; settings as for `NetworkInfo.make`.

    Raises:
        RunError: As for `load` and `NetworkInfo.make`.
    """
    return resolve(name).make(settings or {})


def describe() -> list[Description | Broken]:
    """Return one row per network; parameters are counted without allocating any."""
    rows: list[Description | Broken] = []
    for name in names():
        try:
            rows.append(_describe(load(name)))
        except RunError as error:
            rows.append(Broken(name=name, error=str(error)))
        except Exception as error:  # the file loads, but cannot make its network
            rows.append(Broken(name=name, error=f"network {name} cannot be made: {_in_a_line(error)}"))
    return rows


def _describe(info: NetworkInfo) -> Description:
    with torch.device("meta"):
        translator = info.network(info.config())
    task = translator.task
    return Description(
        name=info.name,
        paper=info.paper,
        year=info.year,
        summary=info.summary,
        task=f"{' + '.join(stack.key for stack in task.inputs)} -> {task.target.key}",
        parameters={part: count_parameters(translator, part) for part in translator.parts},
        aliases=tuple(alias for alias, (network, _) in aliases().items() if network == info.name),
    )


def listing(rows: Sequence[Description | Broken]) -> list[str]:
    """Return the rows as an aligned table, one line each below a head; below it what is wrong with the broken ones."""
    lines = [("network", "year", "parameters", "task", "aliases", "paper")]
    for row in (row for row in rows if isinstance(row, Description)):
        parameters = ", ".join(f"{count / 1e6:.1f} M {part}" for part, count in row.parameters.items())
        lines.append((row.name, str(row.year), parameters, row.task, ", ".join(row.aliases) or "-", row.paper))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    table = ["  ".join(f"{text:{width}}" for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return [*table, *(row.error for row in rows if isinstance(row, Broken))]


def count_parameters(translator: Translator, part: str) -> int:
    """Return how many numbers one part of a network learns."""
    return sum(parameter.numel() for parameter in translator.get_submodule(part).parameters())


def _in_a_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
