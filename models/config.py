"""The settings that every network has."""

import abc
import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from s1s2pairs.errors import RunError
from s1s2pairs.sensors import DEFAULT_S2_BANDS

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
                f"Setting decay_epochs={self.decay_epochs}: must be from 0 to the {self.epochs} epochs of training."
            )
        if not all(0 <= beta < 1 for beta in self.betas):
            raise RunError(f"Setting betas={self.betas}: both must be at least 0 and below 1.")
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
            raise RunError(f"Setting {name}={value}: must be above zero.")
