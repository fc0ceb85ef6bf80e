"""The settings that every network has, and how settings are read from what a user typed."""

import abc
import dataclasses
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from s1s2pairs.errors import RunError
from s1s2pairs.sensors import DEFAULT_S2_BANDS
from s1s2pairs.untrusted import cut

from .network_names import nearest
from .task import Task


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkConfig(abc.ABC):
    """Base of every network's frozen `Config`, which adds settings of its own, and other defaults where its paper differs."""

    s2_bands: tuple[str, ...] = DEFAULT_S2_BANDS
    s1_bands: tuple[str, ...] = ("VV",)
    width: int = 64
    """Channels of the first layers; all others scale with it."""
    learning_rate: float = 1e-4
    """Adam's step size."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Adam's decay rates."""
    epochs: int = 10
    decay_epochs: int = 0
    """Over so many epochs at the end the learning rate falls to zero."""
    batch_size: int = 4
    patch_multiple: ClassVar[int]
    """Height and width of a patch must be multiples of this."""

    @property
    @abc.abstractmethod
    def task(self) -> Task:
        """What goes in and what comes out."""

    def __post_init__(self) -> None:
        """Refuse settings that make no sense.

        Raises:
            RunError: Names the setting and its value.
        """
        require_positive(self, "width", "learning_rate", "epochs", "batch_size")
        if not 0 <= self.decay_epochs <= self.epochs:
            raise RunError(
                f"setting decay_epochs={self.decay_epochs}: must be from 0 to the {self.epochs} epochs of training"
            )
        if not all(0 <= beta < 1 for beta in self.betas):
            raise RunError(f"setting betas={self.betas}: both must be at least 0 and below 1")
        _ = self.task  # refuses unknown bands

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all settings: the network's own, then those that every network has."""
        common = tuple(field.name for field in dataclasses.fields(NetworkConfig))
        return *(field.name for field in dataclasses.fields(cls) if field.name not in common), *common

    def values(self) -> dict[str, Any]:
        """Return every setting by name, in the order of `names`, as run and checkpoint files hold them."""
        return {name: getattr(self, name) for name in self.names()}


def require_positive(config: NetworkConfig, *names: str) -> None:
    """Refuse a config in which one of the named settings is not above zero.

    Raises:
        RunError: Names the setting and its value.
    """
    for name in names:
        value = getattr(config, name)
        if not value > 0:
            raise RunError(f"setting {name}={value}: must be above zero")


def parse(settings: type, given: Mapping[str, object]) -> dict[str, Any]:
    """Check values against the fields of a dataclass, one by one, so that a message can name the culprit.

    Args:
        settings: The dataclass.
        given: Values by field, as they are or as typed: a list with commas, none for no value.

    Raises:
        RunError: A value does not fit; the text says what would.
    """
    hints = get_type_hints(settings)
    values: dict[str, Any] = {}
    for key, value in given.items():
        optional = isinstance(hints[key], types.UnionType)
        kind = get_args(hints[key])[0] if optional else hints[key]
        if optional and str(value).lower() in ("none", ""):
            values[key] = None
            continue
        is_typed_list = isinstance(value, str) and get_origin(kind) is tuple
        items = [item.strip() for item in str(value).split(",") if item.strip()]
        try:
            values[key] = TypeAdapter(kind).validate_python(items if is_typed_list else value)
        except ValidationError as error:
            wanted = _in_words(kind) + (" or none" if optional else "")
            raise RunError(f"{key}={cut(str(value))} does not fit, {wanted} is needed") from error
    return values


def refuse_unknown(given: Iterable[str], known: Mapping[str, Sequence[str]]) -> None:
    """Refuse settings that nobody has.

    Args:
        given: Names of settings.
        known: Names of settings by who has them.

    Raises:
        RunError: Names the setting and the nearest there is.
    """
    choices = [name for names in known.values() for name in names]
    for key in given:
        if key not in choices:
            listed = "; ".join(f"{owner} has {', '.join(names)}" for owner, names in known.items())
            raise RunError(f"there is no setting {key!r}.{nearest(key, choices)} {listed}")


def _in_words(hint: Any) -> str:
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
