"""Advice instead of a traceback when memory runs out."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from s1s2pairs.errors import RunError


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
    except (torch.OutOfMemoryError, MemoryError) as error:
        first = (str(error).splitlines() or ["no details"])[0]
        raise RunError(
            f"Out of memory with {what} at once ({first}). Lower the batch size, or use device cpu."
        ) from error
