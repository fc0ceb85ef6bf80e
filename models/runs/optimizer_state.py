"""Optimizer state as plain tensors and JSON values, and back."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from s1s2pairs.errors import RunError
from s1s2pairs.untrusted import cut

_MOST = 1e9


def flatten(states: Mapping[str, dict[str, Any]]) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    """Split the `state_dict` of each part's optimizer into tensors and JSON values.

    Returns:
        Tensors by `part.parameter number.name`; and per part its `param_groups` and `values`, those entries of the state
        that are no tensors, by the same kind of name.
    """
    tensors: dict[str, Tensor] = {}
    described: dict[str, dict[str, Any]] = {}
    for part, state in states.items():
        values: dict[str, Any] = {}
        for number, entries in state["state"].items():
            for name, value in entries.items():
                (tensors if isinstance(value, Tensor) else values)[f"{part}.{number}.{name}"] = value
        described[part] = {"param_groups": state["param_groups"], "values": values}
    return tensors, described


def restore(optimizer: Optimizer, part: str, tensors: Mapping[str, Tensor], described: Mapping[str, Any]) -> None:
    """Put what `flatten` made of one part's optimizer into a new optimizer of the same part.

    Raises:
        RunError: It is damaged, or of another optimizer.
    """
    problem = _problem(described, optimizer, part)
    if problem:
        raise RunError(f"the saved state of optimizer {part} does not fit: {problem}; use the run's other checkpoint")
    state: dict[int, dict[str, Any]] = {}
    for key, value in (*tensors.items(), *described["values"].items()):
        if key.startswith(f"{part}."):
            number, name = key.removeprefix(f"{part}.").split(".", 1)
            state.setdefault(int(number), {})[name] = value
    groups = [dict(group) for group in described["param_groups"]]
    for saved, now in zip(groups, optimizer.param_groups, strict=True):
        # Which implementation runs is a matter of this device, not of the one that saved.
        saved.update({name: now[name] for name in ("fused", "foreach", "capturable") if name in now})
        saved.update({name: tuple(value) for name, value in saved.items() if isinstance(now.get(name), tuple)})
    try:
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    except (LookupError, ValueError, TypeError, RuntimeError) as error:  # of torch, for states that lack something
        raise RunError(
            f"the saved state of optimizer {part} does not fit: {cut(repr(error))}; use the run's other checkpoint"
        ) from error
    _match_memory_format(optimizer)


def _problem(described: Mapping[str, Any], optimizer: Optimizer, part: str) -> str | None:
    """Say what is wrong with what a file tells of an optimizer; None where nothing is."""
    groups, values = described.get("param_groups"), described.get("values")
    own = optimizer.state_dict()["param_groups"]
    if not isinstance(values, dict) or not isinstance(groups, list) or len(groups) != len(own):
        return f"expected {len(own)} `param_groups` and an object `values`"
    for group, now in zip(groups, own, strict=True):
        if not isinstance(group, dict) or group.keys() != now.keys() or group["params"] != now["params"]:
            return f"expected a group of {len(now['params'])} parameters with {', '.join(now)}"
        wrong = [name for name, value in now.items() if not _is_like(group[name], value)]
        if wrong:
            return f"`{wrong[0]}` is {cut(repr(group[wrong[0]]))}"
    return next((f"`{cut(key)}` is no value of it" for key in values if not _is_key(key, part, own)), None)


def _is_like(value: object, now: object) -> bool:
    """Tell whether a value of a file can stand for one of an optimizer's: of the same type, or another number."""
    if now is None or isinstance(now, bool):
        return value is None or isinstance(value, bool)
    if isinstance(now, int | float):
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MOST
    if isinstance(now, list | tuple):
        return isinstance(value, list) and len(value) == len(now) and all(map(_is_like, value, now))
    return isinstance(value, type(now))


def _is_key(key: str, part: str, own: Sequence[Mapping[str, Any]]) -> bool:
    number = key.removeprefix(f"{part}.").partition(".")[0]
    return key.startswith(f"{part}.") and number in {str(one) for group in own for one in group["params"]}


def _match_memory_format(optimizer: Optimizer) -> None:
    # Fused kernels walk weights and their state in storage order, so channels-last weights need channels-last state.
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, memory_format=torch.preserve_format).copy_(value)
