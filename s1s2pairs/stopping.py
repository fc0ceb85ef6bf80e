"""Ctrl-C and SIGTERM: a command ends with one message that says how to go on, and with the exit code that shells expect."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Final, NoReturn

from .files import disk_explained

GRACE_S: Final = 5.0
"""Work under way may end by itself for so long; then the process ends, which harms nothing: every file is whole or not there."""
GO_ON: Final = {
    "build": "what is finished is kept: type the same command again",
    "simulate": "the archive is not finished: type the same command again, it is simulated anew",
    "train": "go on with the same command and --resume RUN, or, if the run has no checkpoint yet, train anew",
    "evaluate": "the scores are not finished: type the same command again",
    "translate": "the prediction is not written: type the same command again",
}
"""How to go on with each command that takes long. `train` adds the very command in a note, as it alone knows the run."""
AGAIN: Final = "type the same command again"


class _Stop:
    """Handles the first signal: raises KeyboardInterrupt, which ends the work, and sees to it that the process ends."""

    def __init__(self, advice: str) -> None:
        self.advice = advice
        self.error: KeyboardInterrupt | None = None
        """Raised, once a signal has come."""
        self._process, self._code, self._said = os.getpid(), 0, threading.Lock()

    def __call__(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self._process:  # forked by the one that speaks, which need not hear of a failure
            os._exit(0)
        if self.error is not None:  # asked twice
            self._end_now()
        self.error, self._code = KeyboardInterrupt(), 128 + number
        last = threading.Timer(GRACE_S, self._end_now)
        last.daemon = True
        last.start()
        raise self.error

    def end(self) -> NoReturn:
        """Say how to go on, and exit."""
        self._say()
        sys.exit(self._code)

    def _end_now(self) -> NoReturn:
        self._say()
        os._exit(self._code)

    def _say(self) -> None:
        if self._said.acquire(blocking=False) and not int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))):
            advice = getattr(self.error, "__notes__", [self.advice])[-1]
            with contextlib.suppress(OSError):  # the terminal may be gone
                print(f"s1s2: stopped; {advice}", file=sys.stderr, flush=True)  # noqa: T201


@contextlib.contextmanager
def stoppable(words: Sequence[str]) -> Iterator[None]:
    """Let SIGINT and SIGTERM end a command, typed as `words`, with exit code 130 or 143 and without a traceback.

    Raises:
        S1S2Error: The disk is full or broken, where nobody else has said so.
    """
    if threading.current_thread() is not threading.main_thread():  # only there can signals be handled
        yield
        return
    stop = _Stop(next((GO_ON.get(word, AGAIN) for word in words if not word.startswith("-")), AGAIN))
    heard = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heard}  # `nohup` and `&` of scripts ignore some
    try:
        with disk_explained():
            yield
    except BaseException:  # a library may have turned the interrupt into an error of its own
        if stop.error is None:
            raise
    finally:
        if stop.error is not None:
            stop.end()
        for number, handler in before.items():
            signal.signal(number, handler)
