"""Datasets of co-registered, multi-temporal Sentinel-1 / Sentinel-2 patches, from a list of places.

Data goes one way: recipe -> sources -> plan -> dataset <- build, report. Each is a folder, and a command is a folder too.

From Python: `load_recipe`, `build_dataset`, `open_dataset`, `verify_dataset`,
`repair_dataset`. (Not `build`: a folder is called so.)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .build.repair import repair_dataset as repair_dataset
    from .build.request import build_dataset as build_dataset
    from .dataset.dataset import open_dataset as open_dataset
    from .dataset.verify import verify as verify_dataset
    from .plan.lock import load as load_recipe

__all__ = ["build_dataset", "load_recipe", "open_dataset", "repair_dataset", "verify_dataset"]

_FRONT: Final = {
    "build_dataset": ("build.request", "build_dataset"),
    "load_recipe": ("plan.lock", "load"),
    "open_dataset": ("dataset.dataset", "open_dataset"),
    "repair_dataset": ("build.repair", "repair_dataset"),
    "verify_dataset": ("dataset.verify", "verify"),
}
"""Name -> module and name there; loaded when first used."""


def __getattr__(name: str) -> Any:
    if name not in _FRONT:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, there = _FRONT[name]
    return getattr(import_module(f".{module}", __name__), there)
