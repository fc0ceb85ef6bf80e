"""Which of Earth Engine's failures are tried again, for how long, and how many requests run at once.

The client itself tries again on 429, 5xx, rate-limit 403 and dropped connections, a few times with short waits. Above it
stands one longer, jittered, exponential back-off for the same kinds and for damaged replies. Everything else is final at once:
a request that is too large or needs too much memory would fail again the same way, and is split instead (`TooLarge`).
"""

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import ee
from google.auth.exceptions import GoogleAuthError, TransportError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from ...errors import NotAuthenticated, QuotaExceeded, SourceError
from .session import HOW_TO_SIGN_IN

log = logging.getLogger(__name__)

T = TypeVar("T")

PASSING_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504})
_RATE_LIMIT_REASONS: Final = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"})
_TOO_LARGE: Final = (
    "total request size",
    "user memory limit exceeded",
    "computation timed out",
    "memory capacity exceeded",
)
_LONGEST_TEXT: Final = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long Earth Engine is put up with."""

    attempts: int = 8
    """Of each request, on top of the client's own."""
    first_wait_s: float = 2.0
    """Longest wait after the first attempt; it doubles with each, and the actual one is drawn at random below it."""
    longest_wait_s: float = 60.0
    deadline_s: float = 330.0
    """From sending one request to its last byte. Earth Engine itself gives up after five minutes."""
    client_retries: int = 2
    """The client's own attempts after the first, with waits of up to 2, 4, 8 ... seconds."""


class DamagedReply(Exception):
    """A reply arrived, but not whole; the request is tried again."""


class TooLarge(Exception):
    """The request asks for too much at once: it must be made smaller."""


def is_passing(error: BaseException) -> bool:
    """Tell whether the same request may well succeed a little later."""
    if isinstance(error, ee.EEException):
        status = _status(error)
        return status in PASSING_STATUSES or (status == 403 and _is_rate_limit(error))
    return isinstance(error, ConnectionError | TimeoutError | DamagedReply | json.JSONDecodeError | TransportError)


class Gate:
    """Lets at most so many requests through at once, each with patience."""

    def __init__(self, most: int, patience: Patience) -> None:
        self.most = most
        self._slots = threading.BoundedSemaphore(most)
        self._patience = patience

    def request(self, send: Callable[[], T], *, what: str) -> T:
        """Send a request until it succeeds or fails for good.

        Args:
            send: Sends it once.
            what: For messages.

        Raises:
            TooLarge: It has to be made smaller.
            NotAuthenticated: The credentials or the project were refused.
            QuotaExceeded: Earth Engine still refuses more requests after the last attempt.
            SourceError: Any other failure.
        """

        def send_in_turn() -> T:
            with self._slots:
                return send()

        patience = self._patience
        retrying = Retrying(
            retry=retry_if_exception(is_passing),
            wait=wait_random_exponential(multiplier=patience.first_wait_s, max=patience.longest_wait_s),
            stop=stop_after_attempt(patience.attempts),
            before_sleep=lambda state: _log_wait(state, what),
            reraise=True,
        )
        try:
            return retrying(send_in_turn)
        except (
            ee.EEException,
            ConnectionError,
            TimeoutError,
            DamagedReply,
            json.JSONDecodeError,
            GoogleAuthError,
        ) as error:
            raise _explained(error, what, patience) from error


def _log_wait(state: RetryCallState, what: str) -> None:
    error = state.outcome.exception() if state.outcome else None
    wait_s = state.next_action.sleep if state.next_action else 0.0
    log.info("%s: %s; attempt %d follows in %.1f s", what, _text(error), state.attempt_number + 1, wait_s)


def _explained(error: BaseException, what: str, patience: Patience) -> Exception:
    """Turn a final failure into one the reader can act on; only texts known to hold no secret go into it."""
    status, text = _status(error), _text(error)
    if any(sign in text.lower() for sign in _TOO_LARGE) and not is_passing(error):
        return TooLarge(text)
    tried = f"after {patience.attempts} attempts"
    if status == 429 or (status == 403 and _is_rate_limit(error)):
        return QuotaExceeded(
            f"Earth Engine refuses more requests ({text}), {tried} at {what}: wait, or ask for fewer at once"
        )
    if status in (401, 403) or (isinstance(error, GoogleAuthError) and not isinstance(error, TransportError)):
        return NotAuthenticated(f"Earth Engine refused access ({text}). {HOW_TO_SIGN_IN}")
    if is_passing(error):
        return SourceError(
            f"Earth Engine gave no usable answer for {what} {tried} ({text}): start the build again later"
        )
    return SourceError(f"Earth Engine refused {what} ({status or 'no status'}: {text}): see docs/earthengine.md")


def _status(error: BaseException) -> int | None:
    # The client keeps only the server's text; the reply it came with is in the exception it was translated from.
    status = getattr(getattr(error.__context__, "resp", None), "status", None)
    return int(status) if status is not None else None


def _is_rate_limit(error: BaseException) -> bool:
    content = getattr(error.__context__, "content", b"")
    try:
        body = json.loads(content)["error"]
    except (ValueError, KeyError, TypeError):
        return False
    named = [*body.get("errors", ()), *body.get("details", ())] if isinstance(body, dict) else []
    return any(isinstance(entry, dict) and entry.get("reason") in _RATE_LIMIT_REASONS for entry in named)


def _text(error: BaseException | None) -> str:
    if isinstance(error, TimeoutError):
        return "no answer within the deadline"
    if isinstance(error, ConnectionError):
        return "the connection failed"  # its own text holds addresses and, behind a proxy, passwords
    if isinstance(error, json.JSONDecodeError):
        return "the reply was cut short"
    if isinstance(error, GoogleAuthError):
        return type(error).__name__  # its text may hold the token reply
    return " ".join(str(error).split())[:_LONGEST_TEXT]
