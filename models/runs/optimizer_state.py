"""Optimizer state as plain tensors and JSON values, and back."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


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
    """Put what `flatten` made of one part's optimizer into a new optimizer of the same part."""
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
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    _match_memory_format(optimizer)


def _match_memory_format(optimizer: Optimizer) -> None:
    # Fused kernels walk weights and their state in storage order, so channels-last weights need channels-last state.
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, memory_format=torch.preserve_format).copy_(value)
