"""Faults on demand: what goes wrong with which requests. Decided by a seed, request by request."""

import json
import random
import threading
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Faults:
    """What goes wrong."""

    kinds: tuple[str, ...] = ()
    """Drawn from at random: names in `KINDS`."""
    rate: float = 0.0
    """Of the requests that carry an expression."""
    seed: int = 0
    only: str = ""
    """Only requests whose body holds this text."""
    latency_s: float = 0.0
    """Waited before every answer, wrong or right."""
    memory_px: int = 0
    """Windows of more pixels than this exceed the user's memory; 0 for no such limit."""
    aggregations: int = 10
    """Reductions over a region that one request may ask for; 0 for no limit. The real number is not published."""
    elements: int = 0
    """Elements that a collection may have; 0 for the documented limit."""

    @classmethod
    def from_json(cls, text: str) -> "Faults":
        value: dict[str, Any] = json.loads(text or "{}")
        faults = cls(**{**value, "kinds": tuple(value.get("kinds", ()))})
        if unknown := set(faults.kinds) - set(KINDS):
            raise ValueError(f"no such fault: {sorted(unknown)}; there are {sorted(KINDS)}")
        return faults


@dataclass(frozen=True)
class Reply:
    """An answer, or a way of not answering."""

    status: int
    content: bytes = b""
    content_type: str = "application/json"
    act: str = "answer"
    """`answer`, `drop`, `stall`, `truncate` or `slow`."""
    aggregations: int = 0
    elements: int = 0
    """What the request used up."""


def error(status: int, code: str, message: str, *, reason: str | None = None) -> Reply:
    """An error as Google's services write it."""
    body: dict[str, Any] = {"code": status, "message": message, "status": code}
    if reason:
        body["errors"] = [{"message": message, "domain": "usageLimits", "reason": reason}]
    return Reply(status, json.dumps({"error": body}).encode())


KINDS = {
    "429": error(429, "RESOURCE_EXHAUSTED", "Too many concurrent requests."),
    "500": error(500, "INTERNAL", "An internal error has occurred."),
    "502": Reply(502, b"<html><head><title>Error 502</title></head><body>Bad Gateway</body></html>", "text/html"),
    "503": error(503, "UNAVAILABLE", "The service is currently unavailable."),
    "403-rate": error(403, "PERMISSION_DENIED", "Rate limit exceeded.", reason="userRateLimitExceeded"),
    "403-denied": error(403, "PERMISSION_DENIED", "Caller does not have required permission.", reason="forbidden"),
    "401": error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
    "400-memory": error(400, "INVALID_ARGUMENT", "User memory limit exceeded."),
    "400-timeout": error(400, "INVALID_ARGUMENT", "Computation timed out."),
    "500-timeout": error(500, "INTERNAL", "Computation timed out."),
    "503-timeout": error(503, "UNAVAILABLE", "Computation timed out."),
    "429-aggregations": error(429, "RESOURCE_EXHAUSTED", "Quota exceeded: Too many concurrent aggregations."),
    "400-elements": error(400, "INVALID_ARGUMENT", "Collection query aborted after accumulating over 5000 elements."),
    "400": error(400, "INVALID_ARGUMENT", "Image.select: Band pattern 'XX' did not match any bands."),
    "drop": Reply(0, act="drop"),
    "stall": Reply(0, act="stall"),
    "truncate": Reply(0, act="truncate"),
    "slow": Reply(0, act="slow"),
}
"""What may go wrong: a ready reply, or (status 0) something done to the right one."""


@dataclass
class FaultSource:
    """Decides for each request whether something goes wrong with it; safe to use from several threads."""

    faults: Faults
    _random: random.Random = field(init=False)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._random = random.Random(self.faults.seed)

    def draw(self, body: str) -> tuple[str, Reply] | None:
        """Return the name of what goes wrong with a request, and the reply; None if nothing does."""
        faults = self.faults
        if not faults.kinds or faults.only not in body:
            return None
        with self._lock:
            if self._random.random() >= faults.rate:
                return None
            kind = self._random.choice(faults.kinds)
        return kind, KINDS[kind]
