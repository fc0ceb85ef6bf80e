import contextlib

from torch import nn

from models.translator import frozen


def test_frozen_restores_what_was_trainable_also_after_an_error() -> None:
    module = nn.Linear(2, 2)
    module.bias.requires_grad_(False)
    inside = []
    with contextlib.suppress(ZeroDivisionError), frozen(module):
        inside.append(module.weight.requires_grad)
        _ = 1 / 0
    assert inside == [False]
    assert module.weight.requires_grad
    assert not module.bias.requires_grad
