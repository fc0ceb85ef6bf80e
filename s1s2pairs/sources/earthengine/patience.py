"""Which of Earth Engine's failures are tried again, for how long, and how many requests run at once.

The client itself tries again on 429, 5xx, rate-limit 403 and dropped connections, a few times with short waits. Above it
stands one longer, jittered, exponential back-off for the same kinds and for damaged replies. Everything else is final at once:
a request that is too large or needs too much memory would fail again the same way, and is split instead (`TooLarge`).

A refusal of access (403) is tried again too, with short waits: signing in has already shown that the credentials and the
project serve, so a refusal may be one server's opinion. If it stays, it is about that request, and fails its ROI only.
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

PASSING_STATUSES: Final = frozenset({403, 408, 429, 500, 502, 503, 504})
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
        return _status(error) in PASSING_STATUSES
    return isinstance(error, ConnectionError | TimeoutError | DamagedReply | json.JSONDecodeError | TransportError)


class Gate:
    """Lets at most so many requests through at once, each with patience."""

    def __init__(self, most: int, patience: Patience) -> None:
        self.most = most
        self._slots = threading.BoundedSemaphore(most)
        self._patience = patience
        self._wait = wait_random_exponential(multiplier=patience.first_wait_s, max=patience.longest_wait_s)

    def request(self, send: Callable[[], T], *, what: str) -> T:
        """Send a request until it succeeds or fails for good.

        Args:
            send: Sends it once.
            what: For messages.

        Raises:
            TooLarge: It has to be made smaller.
            NotAuthenticated: The credentials were refused.
            QuotaExceeded: Earth Engine still refuses more requests after the last attempt.
            SourceError: Any other failure.
        """

        def send_in_turn() -> T:
            with self._slots:
                return send()

        retrying = Retrying(
            retry=retry_if_exception(is_passing),
            wait=self._wait_s,
            stop=stop_after_attempt(self._patience.attempts),
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
            raise self._explained(error, what) from error

    def _wait_s(self, state: RetryCallState) -> float:
        wait_s = self._wait(state)
        error = state.outcome.exception() if state.outcome else None
        return min(wait_s, self._patience.first_wait_s) if error is not None and _is_denial(error) else wait_s

    def _explained(self, error: BaseException, what: str) -> Exception:
        """Turn a final failure into one the reader can act on; only texts known to hold no secret go into it."""
        status, text = _status(error), _text(error)
        if status == 401 or (isinstance(error, GoogleAuthError) and not isinstance(error, TransportError)):
            return NotAuthenticated(f"Earth Engine refused the credentials ({text}). {HOW_TO_SIGN_IN}")
        if is_passing(error):
            return self._gave_up(error, what)
        if any(sign in text.lower() for sign in _TOO_LARGE):
            return TooLarge(text)
        return SourceError(f"Earth Engine refused {what} ({status or 'no status'}: {text}): see docs/earthengine.md")

    def _gave_up(self, error: BaseException, what: str) -> Exception:
        text, tried = _text(error), f"after {self._patience.attempts} attempts"
        if _is_denial(error):
            return SourceError(
                f"Earth Engine refuses access for {what} ({text}), {tried}: see `Refused` in docs/earthengine.md"
            )
        if _status(error) in (403, 429):
            return QuotaExceeded(
                f"Earth Engine refuses more requests ({text}), {tried} at {what}: wait, or ask for fewer at once"
            )
        return SourceError(
            f"Earth Engine gave no usable answer for {what} {tried} ({text}): start the build again later"
        )


def _log_wait(state: RetryCallState, what: str) -> None:
    error = state.outcome.exception() if state.outcome else None
    wait_s = state.next_action.sleep if state.next_action else 0.0
    log.info("%s: %s; attempt %d follows in %.1f s", what, _text(error), state.attempt_number + 1, wait_s)


def _status(error: BaseException) -> int | None:
    # The client keeps only the server's text; the reply it came with is in the exception it was translated from.
    status = getattr(getattr(error.__context__, "resp", None), "status", None)
    return int(status) if status is not None else None


def _is_denial(error: BaseException) -> bool:
    return _status(error) == 403 and not _is_rate_limit(error)


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
