"""Ask the real Earth Engine whether it behaves as this program believes, and record what it said."""

import base64
import json
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import ee

from ...files import write_whole
from ..findings import CheckReport
from .assumptions import try_all
from .probe import Probe
from .retry import RequestLimiter, RetryPolicy
from .session import open_session

RECORDING_FORMAT: Final = 1
_AT_ONCE: Final = 4
_RETRY_POLICY: Final = RetryPolicy(attempts=3, longest_wait_s=10.0, deadline_s=60.0)


def check_earthengine(*, project: str | None = None, save: Path | None = None) -> CheckReport:
    """Try everything a build relies on, on one field: some tens of small requests.

    Args:
        project: Google Cloud project, as for `EarthEngineSource`.
        save: Where to write a recording of the replies: expressions and what they gave, no credentials, no project.

    Raises:
        NotAuthenticated: Credentials or project are missing, or were refused.
        SourceUnreachable: Earth Engine cannot be reached.
    """
    start = time.monotonic()
    transport = open_session(project=project, connections=_AT_ONCE, deadline_s=_RETRY_POLICY.deadline_s)
    exchanges: list[dict[str, Any]] = []
    if save is not None:
        transport.recorder = lambda *exchange: exchanges.append(_recorded(*exchange))
    probe = Probe(RequestLimiter(_AT_ONCE, _RETRY_POLICY))
    findings = try_all(probe)
    if save is not None:
        recording = {"format": RECORDING_FORMAT, "client": ee.__version__, "exchanges": exchanges}
        write_whole(save, json.dumps(recording, indent=1).encode())
    return CheckReport(
        source="earthengine", findings=findings, requests=probe.requests, seconds=time.monotonic() - start
    )


def _recorded(uri: str, body: Any, status: int, content: bytes) -> dict[str, Any]:
    """Keep the method, the expression and the reply; headers and the rest of the address are nobody's business."""
    method = urlsplit(uri).path.rpartition("/")[2]
    return {
        "method": method,
        "body": json.loads(body),
        "status": status,
        "content": base64.b64encode(content).decode(),
    }
