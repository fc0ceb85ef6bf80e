"""Networks that translate between radar and optical images, and all that trains, judges and applies them.

`networks` holds one file each, made of `blocks`; `data` gives them samples; `train`, `evaluate`, `translate` and `export` are the
commands; `runs` is what they leave on disk. What a network must do stands in `translator`, what goes in and out in `task`.

From Python: `create_network`, `train_network`, `load_run`, `evaluate_runs`, `translate_scene`, `PairDataset`. (Not `train`: a
folder is called so.)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .data.dataset import PairDataset as PairDataset
    from .evaluate.evaluate import evaluate as evaluate_runs
    from .runs.loading import load_translator as load_run
    from .train.loop import train as train_network
    from .translate.translate import translate as translate_scene
    from .zoo import create as create_network

__all__ = ["PairDataset", "create_network", "evaluate_runs", "load_run", "train_network", "translate_scene"]

_FRONT: Final = {
    "PairDataset": ("data.dataset", "PairDataset"),
    "create_network": ("zoo", "create"),
    "evaluate_runs": ("evaluate.evaluate", "evaluate"),
    "load_run": ("runs.loading", "load_translator"),
    "train_network": ("train.loop", "train"),
    "translate_scene": ("translate.translate", "translate"),
}
"""Name -> module and name there; loaded when first used."""


def __getattr__(name: str) -> Any:
    if name not in _FRONT:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, there = _FRONT[name]
    return getattr(import_module(f".{module}", __name__), there)
