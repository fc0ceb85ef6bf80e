"""Sign in to Earth Engine and open the client: credentials, project, endpoints, and the one HTTP transport.

The client is one per process. Finding goes to the standard endpoint, which caches; pixels go to the high-volume endpoint,
which is made for many small requests. The client knows a single address, so the transport sends `computePixels` elsewhere. The
transport also has what the client's own lacks: a deadline for the whole reply, and a connection for each request in flight.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import ee
import google.auth
import httplib2
import requests
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
from googleapiclient.errors import Error as GoogleApiError
from urllib3.exceptions import NewConnectionError

from ...errors import NotAuthenticated, SourceError, SourceUnreachable

log = logging.getLogger(__name__)

STANDARD_URL: Final = "https://earthengine.googleapis.com"
HIGH_VOLUME_URL: Final = "https://earthengine-highvolume.googleapis.com"
URL_VARIABLE: Final = "S1S2_EE_URL"
"""Environment variable: another address for both endpoints."""
ANONYMOUS_VARIABLE: Final = "S1S2_EE_ANONYMOUS"
"""Environment variable: `1` to send no credentials; only to a server on this machine."""
PROJECT_VARIABLES: Final = ("EARTHENGINE_PROJECT", "GOOGLE_CLOUD_PROJECT")
KEY_FILE_VARIABLE: Final = "GOOGLE_APPLICATION_CREDENTIALS"

SCOPES: Final = ("https://www.googleapis.com/auth/earthengine", "https://www.googleapis.com/auth/cloud-platform")
HOW_TO_SIGN_IN: Final = (
    "Sign in with `earthengine authenticate` (or set GOOGLE_APPLICATION_CREDENTIALS to a service account's key file) and name "
    "your project with --project or EARTHENGINE_PROJECT; without an account: `s1s2 simulate data/world --recipe "
    "rois/small.geojson`, then `s1s2 build rois/small.geojson --source data/world`. See docs/earthengine.md"
)

_ANONYMOUS_PROJECT = "anonymous"
_CONNECT_S = 20.0
_CHUNK_BYTES = 1 << 18
_LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")


Recorder = Callable[[str, Any, int, bytes], None]
"""Address, body, status and content of a reply."""


class CannotConnect(ConnectionError):
    """No connection was made: nobody listens there, or no such host is known. The request has not been sent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoints:
    """Where requests go."""

    standard: str
    high_volume: str
    anonymous: bool

    @classmethod
    def from_environment(cls) -> "Endpoints":
        """Read the two environment variables.

        Raises:
            NotAuthenticated: Credentials were to be left out towards a server on another machine.
        """
        url = os.environ.get(URL_VARIABLE, "").rstrip("/")
        anonymous = os.environ.get(ANONYMOUS_VARIABLE, "") == "1"
        if anonymous and urlsplit(url).hostname not in _LOOPBACK_HOSTS:
            raise NotAuthenticated(
                f"{ANONYMOUS_VARIABLE}=1 is for a server on this machine: {URL_VARIABLE} must be like http://127.0.0.1:PORT, not "
                f"{urlsplit(url).hostname or 'unset'}"
            )
        return cls(standard=url or STANDARD_URL, high_volume=url or HIGH_VOLUME_URL, anonymous=anonymous)


class Transport:
    """Carries the client's requests, in the shape of `httplib2.Http` that it expects; safe to use from several threads."""

    def __init__(self, endpoints: Endpoints, *, connections: int, deadline_s: float) -> None:
        self._endpoints = endpoints
        self._deadline_s = deadline_s
        self.recorder: Recorder | None = None
        """Told of every exchange that computes something."""
        self._http = requests.Session()
        self._http.trust_env = not endpoints.anonymous  # no proxy stands between this machine and itself
        adapter = requests.adapters.HTTPAdapter(pool_connections=4, pool_maxsize=connections)
        self._http.mount("https://", adapter)
        self._http.mount("http://", adapter)

    def request(  # noqa: PLR0917 - httplib2's signature, as are the arguments that are not used
        self,
        uri: str,
        method: str = "GET",
        body: Any = None,
        headers: Any = None,
        redirections: int | None = None,  # noqa: ARG002
        connection_type: Any = None,  # noqa: ARG002
    ) -> tuple[httplib2.Response, bytes]:
        """Send one request and read its reply, all within the deadline.

        Raises:
            TimeoutError: It took longer.
            CannotConnect: There was no connection.
            ConnectionError: It broke.
        """
        until = time.monotonic() + self._deadline_s
        try:
            with self._http.request(
                method,
                self._address(uri),
                data=body,
                headers=headers,
                timeout=(min(_CONNECT_S, self._deadline_s), self._deadline_s),
                stream=True,
            ) as reply:
                content = _read(reply, until)
        except requests.ConnectTimeout as error:
            raise CannotConnect("no connection") from error
        except requests.Timeout as error:
            raise TimeoutError("no answer within the deadline") from error
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            # A deadline that passes while the body is read comes as one of these.
            if time.monotonic() >= until:
                raise TimeoutError("no answer within the deadline") from error
            if isinstance(getattr(error.args[0] if error.args else None, "reason", None), NewConnectionError):
                raise CannotConnect("no connection") from error
            raise ConnectionError("the connection failed") from error
        except requests.exceptions.ContentDecodingError as error:
            raise ConnectionError("the reply was cut short") from error
        except requests.RequestException as error:  # such as an address of a proxy that is none
            raise ConnectionError("the request cannot be sent") from error
        if self.recorder is not None and method == "POST":
            self.recorder(uri, body, reply.status_code, content)
        return httplib2.Response({**reply.headers, "status": str(reply.status_code)}), content

    def close(self) -> None:
        """Close idle connections."""
        self._http.close()

    def _address(self, uri: str) -> str:
        standard = self._endpoints.standard
        if uri.startswith(standard) and ":computePixels" in uri:
            return self._endpoints.high_volume + uri.removeprefix(standard)
        return uri


def _read(reply: requests.Response, until: float) -> bytes:
    parts = []
    for part in reply.iter_content(_CHUNK_BYTES):
        if time.monotonic() > until:
            raise TimeoutError("no answer within the deadline")
        parts.append(part)
    return b"".join(parts)


_LOCK = threading.Lock()
_open: Transport | None = None


def open_session(*, project: str | None, connections: int, deadline_s: float) -> Transport:
    """Sign in and make the process's Earth Engine client ready; an earlier session of this process ends.

    Raises:
        NotAuthenticated: Credentials or project are missing, or were refused.
        SourceUnreachable: Earth Engine cannot be reached.
        SourceError: It answers, but not in a way that can be used.
    """
    global _open  # noqa: PLW0603 - the client is one per process, so there is one transport
    endpoints = Endpoints.from_environment()
    project = project or next(filter(None, map(os.environ.get, PROJECT_VARIABLES)), None)
    credentials = _credentials(endpoints)
    if endpoints.anonymous:
        project = project or _ANONYMOUS_PROJECT
    transport = Transport(endpoints, connections=connections, deadline_s=deadline_s)
    with _LOCK:
        ee.Reset()  # else the client would go on using earlier credentials where now there are none
        try:
            ee.data.setMaxRetries(0)  # `retry` decides what is tried again
            ee.Initialize(credentials, url=endpoints.standard, project=project, http_transport=transport)
        except (ee.EEException, GoogleApiError, GoogleAuthError, ConnectionError, TimeoutError) as error:
            transport.close()
            raise _refused(error, endpoints) from error
        if _open is not None:
            _open.close()
        _open = transport
    return transport


def is_open(transport: Transport) -> bool:
    """Tell whether the process's client still uses this transport."""
    return _open is transport


def _credentials(endpoints: Endpoints) -> Any:
    if endpoints.anonymous:
        return None
    try:
        if os.environ.get(KEY_FILE_VARIABLE):
            # Named for this very purpose, so it outranks what is stored. A service account needs the scopes, which the client
            # does not ask for when it looks for default credentials.
            credentials, _ = google.auth.default(scopes=SCOPES)
            return credentials
        return ee.data.get_persistent_credentials()
    except (ee.EEException, GoogleAuthError, OSError, ValueError) as error:
        named = f" ({KEY_FILE_VARIABLE} names no usable key file)" if os.environ.get(KEY_FILE_VARIABLE) else ""
        raise NotAuthenticated(f"Earth Engine: no usable credentials{named}. {HOW_TO_SIGN_IN}") from error


def _refused(error: BaseException, endpoints: Endpoints) -> SourceError:
    host = urlsplit(endpoints.standard).netloc
    status = getattr(getattr(error, "resp", None) or getattr(error.__context__, "resp", None), "status", None)
    if isinstance(error, ConnectionError | TimeoutError | TransportError):
        return SourceUnreachable(
            f"Earth Engine cannot be reached at {host}: check the network, or name another --source"
        )
    if isinstance(error, ee.EEException) and str(error) == ee.NO_PROJECT_EXCEPTION:
        return NotAuthenticated(f"Earth Engine: no project was named. {HOW_TO_SIGN_IN}")
    if isinstance(error, GoogleAuthError | DefaultCredentialsError) or status in (401, 403):
        return NotAuthenticated(f"Earth Engine refused the credentials or the project. {HOW_TO_SIGN_IN}")
    return SourceError(f"Earth Engine at {host} gives no usable answer ({type(error).__name__}, status {status})")
