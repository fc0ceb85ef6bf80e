"""The settings that every network has, and how settings are read from what a user typed."""

import abc
import dataclasses
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

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
    """The optimiser's step size."""
    optimizer: Literal["adam", "adamw"] = "adam"
    betas: tuple[float, float] = (0.5, 0.999)
    """The optimiser's decay rates."""
    weight_decay: float = 0.0
    """Pull of the weights towards zero; AdamW keeps it apart from the gradients."""
    epochs: int = 10
    warmup_steps: int = 0
    """Over so many steps at the start the learning rate rises evenly."""
    decay_epochs: int = 0
    """Over so many epochs at the end the learning rate falls to zero."""
    decay: Literal["linear", "cosine"] = "linear"
    """How it falls: evenly from epoch to epoch, or along half a cosine from step to step."""
    batch_size: int = 4
    patch_multiple: ClassVar[int]
    """Height and width of a patch must be multiples of this."""
    training_defaults: ClassVar[Mapping[str, object]] = {}
    """Settings of the training that the network's paper wants otherwise than `runs.settings.TrainSettings` has them."""

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
        for name in ("warmup_steps", "weight_decay"):
            if getattr(self, name) < 0:
                raise RunError(f"setting {name}={getattr(self, name)}: must not be below zero")
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


def require_share(config: NetworkConfig, *names: str) -> None:
    """Refuse a config in which one of the named settings is no share that leaves something over.

    Raises:
        RunError: Names the setting and its value.
    """
    for name in names:
        value = getattr(config, name)
        if not 0 <= value < 1:
            raise RunError(f"setting {name}={value}: must be at least 0 and below 1")


def parse(settings: type, given: Mapping[str, object]) -> dict[str, Any]:
    """Check values against the fields of a dataclass, one by one, so that a message can name the culprit.

    Args:
        settings: The dataclass. Its fields are numbers, words, choices (`Literal`), tuples of these, or such a type or none.
        given: Values by field, as they are or as typed: a list with commas, none for no value.

    Raises:
        RunError: A value does not fit; the text says what would.
    """
    hints = get_type_hints(settings)
    return {key: _parsed(key, hints[key], value) for key, value in given.items()}


def _parsed(key: str, hint: Any, value: object) -> Any:
    optional = get_origin(hint) in (types.UnionType, Union)
    (kind,) = (part for part in get_args(hint) if part is not types.NoneType) if optional else (hint,)
    if optional and str(value).lower() in ("none", ""):
        return None
    if isinstance(value, str) and get_origin(kind) is tuple:
        value = [_typed(get_args(kind)[0], item.strip()) for item in value.split(",") if item.strip()]
    try:
        return TypeAdapter(kind).validate_python(_typed(kind, value))
    except ValidationError as error:
        wanted = _in_words(kind) + (" or none" if optional else "")
        raise RunError(f"{key}={cut(_as_typed(value))} does not fit, {wanted} is needed") from error


def _typed(kind: Any, value: object) -> object:
    """Return the choice that a word stands for, such as the number 4 for `4`; everything else as it is."""
    if get_origin(kind) is not Literal or not isinstance(value, str):
        return value
    return next((choice for choice in get_args(kind) if str(choice).lower() == value.lower()), value)


def _as_typed(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


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
            return f"a list with commas, each {_in_words(items[0])},"
        return f"{len(items)} values with a comma, each {_in_words(items[0])},"
    return "one of " + ", ".join(str(choice) for choice in get_args(hint))
