"""Which of several training processes this is, and how they speak with one voice. Loads without PyTorch."""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from typing import Final

WAIT_S: Final = 5.0
"""How long a further process waits for the first to fail too. Those that fail alike do so within much less."""


def is_first_process() -> bool:
    """Return whether this is the process that writes; true before any others are started."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0


def leave() -> None:
    """End this process at once, if it is one of several and all is done.

    When a process of several ends by itself, a thread of PyTorch's that is still there can abort it (seen once in a hundred
    starts or so, with Gloo and PyTorch 2.13). Then torchrun calls a run failed that has done everything.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


@contextlib.contextmanager
def one_voice() -> Iterator[None]:
    """Let warnings, and a failure that all processes of a machine share, come out of the first one only.

    A further process that fails waits before it says so. If the first has failed too, that one, or torchrun, ends it meanwhile.
    If nobody does, the failure is its own, and comes out.
    """
    further = int(os.environ.get("LOCAL_RANK", "0")) > 0
    if further:
        logging.disable(logging.WARNING)
    try:
        yield
    except Exception:
        if further:
            time.sleep(WAIT_S)
        raise
