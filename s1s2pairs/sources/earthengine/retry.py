"""Which of Earth Engine's failures are tried again, for how long, and how many requests run at once.

What an error says comes before its status, which is not the same from case to case: a request that asks for too much would fail
again the same way, so it is never sent again as it was, but made smaller (`TooLarge`). Only what is known to pass is tried again:
429, 5xx, rate-limit 403, lost connections, damaged replies. Everything else is final at once. The client's own retries are off,
because they go by the status alone.

A refusal of access (403) is tried again too, with short waits: signing in has already shown that the credentials and the
project serve, so a refusal may be one server's opinion. If it stays, it is about that request, and fails its ROI only.

Where no connection can be made at all, for any request and for some seconds, the whole build stops (`SourceUnreachable`).
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import ee
from google.auth.exceptions import GoogleAuthError, TransportError
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

from ...errors import NotAuthenticated, QuotaExceeded, SourceError, SourceUnreachable
from .session import HOW_TO_SIGN_IN, CannotConnect

log = logging.getLogger(__name__)

T = TypeVar("T")

PASSING_STATUSES: Final = frozenset({403, 408, 429, 500, 502, 503, 504})
_RATE_LIMIT_REASONS: Final = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"})
_TOO_MANY_AT_ONCE: Final = "too many concurrent aggregations"
_TOO_LARGE: Final = (
    "total request size",
    "user memory limit exceeded",
    "memory capacity exceeded",
    "computation timed out",
    "accumulating over",  # "Collection query aborted after accumulating over 5000 elements."
    "request payload size exceeds",
    _TOO_MANY_AT_ONCE,
)
"""What texts of errors say when less has to be asked for at once, whatever the status."""
_PASSING: Final = (
    "an internal error has occurred",
    "internal error encountered",
    "service is currently unavailable",
    "too many requests",
    "too many concurrent requests",
    "rate limit exceeded",
    "rate exceeded",
    "quota exceeded for quota metric",  # so many requests a minute
)
"""What texts of errors say when the same request may pass later, whatever the status."""
_LONGEST_TEXT: Final = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """How long Earth Engine is put up with."""

    attempts: int = 8
    """Of each request that reaches the other side."""
    first_wait_s: float = 2.0
    """Longest wait after the first attempt; it doubles with each, and the actual one is drawn at random below it."""
    longest_wait_s: float = 60.0
    deadline_s: float = 330.0
    """From sending one request to its last byte. Earth Engine itself gives up after five minutes."""
    unreachable_s: float = 10.0
    """How long no connection may be made, by any request, before the source counts as out of reach."""


class DamagedReply(Exception):
    """A reply arrived, but not whole; the request is tried again."""


class TooLarge(Exception):
    """The request asks for too much at once: it must be made smaller."""


def is_passing(error: BaseException) -> bool:
    """Tell whether the same request may well succeed a little later."""
    if isinstance(error, ee.EEException):
        if _says(error, _TOO_LARGE):
            return False
        return _status(error) in PASSING_STATUSES or _says(error, _PASSING)
    return isinstance(error, ConnectionError | TimeoutError | DamagedReply | json.JSONDecodeError | TransportError)


def _is_out_of_reach(error: BaseException | None) -> bool:
    return isinstance(error, CannotConnect | TransportError)


def _says(error: BaseException, signs: Sequence[str]) -> bool:
    text = str(error).lower()
    return any(sign in text for sign in signs)


class RequestLimiter:
    """Lets at most so many requests through at once, each until it succeeds or its policy gives up."""

    def __init__(self, most: int, retry_policy: RetryPolicy) -> None:
        self.most = most
        self._slots = threading.BoundedSemaphore(most)
        self._retry_policy = retry_policy
        self._wait = wait_random_exponential(multiplier=retry_policy.first_wait_s, max=retry_policy.longest_wait_s)
        self._connected = time.monotonic()
        """When a request last got through to the other side."""

    def request(self, send: Callable[[], T], *, what: str, smaller: int = 0) -> T:
        """Send a request until it succeeds or fails for good.

        Args:
            send: Sends it once.
            what: For messages.
            smaller: How often the request has been made smaller. Where too many are computed at once, the wait before the next
                step grows with it.

        Raises:
            TooLarge: It has to be made smaller.
            SourceUnreachable: No connection can be made.
            NotAuthenticated: The credentials were refused.
            QuotaExceeded: Earth Engine still refuses more requests after the last attempt.
            SourceError: Any other failure.
        """
        arrived = 0  # attempts that got through to the other side

        def send_in_turn() -> T:
            nonlocal arrived
            with self._slots:
                try:
                    value = send()
                except BaseException as error:
                    if not _is_out_of_reach(error):
                        self._connected = time.monotonic()
                        arrived += 1
                    raise
                self._connected = time.monotonic()
                return value

        retrying = Retrying(
            retry=retry_if_exception(is_passing),
            wait=self._wait_s,
            stop=lambda state: self._is_enough(state, arrived),
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
            if _says(error, [_TOO_MANY_AT_ONCE]):
                time.sleep(min(self._retry_policy.first_wait_s * 2**smaller, self._retry_policy.longest_wait_s))
            raise self._explained(error, what) from error

    def _wait_s(self, state: RetryCallState) -> float:
        wait_s = self._wait(state)
        error = state.outcome.exception() if state.outcome else None
        if _is_out_of_reach(error):
            return min(wait_s, self._retry_policy.unreachable_s / 8)
        return min(wait_s, self._retry_policy.first_wait_s) if error is not None and _is_denial(error) else wait_s

    def _is_enough(self, state: RetryCallState, arrived: int) -> bool:
        """Tell whether to give up. Attempts without a connection are not counted, but timed."""
        if _is_out_of_reach(state.outcome.exception() if state.outcome else None):
            since = max(self._connected, state.start_time)  # before that, nobody may have asked for long
            return time.monotonic() - since > self._retry_policy.unreachable_s
        return arrived >= self._retry_policy.attempts

    def _explained(self, error: BaseException, what: str) -> Exception:
        """Turn a final failure into one the reader can act on; only texts known to hold no secret go into it."""
        status, text = _status(error), _text(error)
        if status == 401 or (isinstance(error, GoogleAuthError) and not isinstance(error, TransportError)):
            return NotAuthenticated(f"Earth Engine refused the credentials ({text}). {HOW_TO_SIGN_IN}")
        if _is_out_of_reach(error):
            return SourceUnreachable(
                f"Earth Engine cannot be reached ({text}): check the network and start the build again, it goes on where it was"
            )
        if is_passing(error):
            return self._gave_up(error, what)
        if _says(error, _TOO_LARGE):
            return TooLarge(text)
        return SourceError(f"Earth Engine refused {what} ({status or 'no status'}: {text}): see docs/earthengine.md")

    def _gave_up(self, error: BaseException, what: str) -> Exception:
        text, tried = _text(error), f"after {self._retry_policy.attempts} attempts"
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
        named = [*(body.get("errors") or ()), *(body.get("details") or ())]
    except (ValueError, LookupError, TypeError, AttributeError):
        return False
    return any(isinstance(entry, dict) and entry.get("reason") in _RATE_LIMIT_REASONS for entry in named)


def _text(error: BaseException | None) -> str:
    if isinstance(error, TimeoutError):
        return "no answer within the deadline"
    if isinstance(error, CannotConnect | TransportError):
        return "no connection can be made"
    if isinstance(error, ConnectionError):
        return "the connection failed"  # its own text holds addresses and, behind a proxy, passwords
    if isinstance(error, json.JSONDecodeError):
        return "the reply was cut short"
    if isinstance(error, GoogleAuthError):
        return type(error).__name__  # its text may hold the token reply
    return " ".join(str(error).split())[:_LONGEST_TEXT]
