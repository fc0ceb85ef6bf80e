"""Advice instead of a traceback when memory runs out."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from s1s2pairs.errors import RunError

SIGNS: Final = ("out of memory", "can't allocate memory", "ALLOC_FAILED")
"""How libraries that raise a plain `RuntimeError` say it: the CUDA driver, PyTorch's CPU allocator, cuBLAS and cuDNN."""


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error means that main or GPU memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


@contextmanager
def memory_advice(what: str) -> Iterator[None]:
    """Turn running out of memory while predicting into a message.

    Args:
        what: What was in memory and can be made smaller, such as `4 windows of 256 px`.

    Raises:
        RunError: Memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        first = (str(error).splitlines() or ["no details"])[0]
        raise RunError(
            f"Out of memory with {what} at once ({first}). Use --device cpu where a GPU was too small, close what else runs, "
            "or, from Python, lower batch_size."
        ) from error
