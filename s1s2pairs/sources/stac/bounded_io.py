"""Talking to a STAC API within bounds: how much is taken, how long it may take, how deep it may be, and from where."""

import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import pystac
import requests
from pystac_client.stac_api_io import StacApiIO
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from ...untrusted import MAX_TEXT_BYTES, check_depth

MAX_ANSWER_S: Final = 600.0
"""For one answer, however steadily it drips."""
_CHUNK_BYTES: Final = 1 << 20


class BoundedIO(StacApiIO):
    """As pystac-client reads, but never without end, and from nowhere else."""

    def __init__(self, *, max_retries: Retry, timeout: tuple[float, float], check: Callable[[str], object]) -> None:
        """Set up the connections.

        Args:
            max_retries: Of one request.
            timeout: Seconds to connect, and to wait for an answer.
            check: Raises where an address may not be asked. Links and redirects of a server lead anywhere.
        """
        super().__init__(max_retries=None, timeout=timeout)
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, _BoundedAdapter(max_retries=max_retries, check=check))

    def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
        """Read what lies behind an address. A page's link to the next one may be a path: no file of ours is read for a server.

        Raises:
            ValueError: It is no address.
        """
        href = str(source.href if isinstance(source, pystac.Link) else source)
        if (
            not href.startswith(("http://", "https://")) or not urlsplit(href).netloc
        ):  # without a host, pystac opens a file
            raise ValueError(f"{href}: expected an http or https address")
        return str(super().read_text(source, *args, **kwargs))

    def json_loads(self, txt: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Parse JSON.

        Raises:
            ValueError: It is nested too deeply.
        """
        value: dict[str, Any] = super().json_loads(txt, *args, **kwargs)
        check_depth(value)
        return value


class _BoundedAdapter(HTTPAdapter):
    def __init__(self, *, max_retries: Retry, check: Callable[[str], object]) -> None:
        super().__init__(max_retries=max_retries)
        self._check = check

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        self._check(str(request.url))  # each redirect comes by here too
        response = super().send(request, **{**options, "stream": True})
        deadline = time.monotonic() + MAX_ANSWER_S
        content = bytearray()
        for chunk in response.iter_content(_CHUNK_BYTES):
            content += chunk
            if len(content) > MAX_TEXT_BYTES:
                raise requests.exceptions.ContentDecodingError(f"the answer is larger than {MAX_TEXT_BYTES:,} bytes")
            if time.monotonic() > deadline:
                raise requests.exceptions.ReadTimeout(f"the answer took longer than {MAX_ANSWER_S:g} s")
        response._content = bytes(content)  # noqa: SLF001 - as `Response.content` keeps it
        return response
