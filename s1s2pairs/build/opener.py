"""How a worker gets at the source, here, in another process, or on another machine."""

import functools
import os
import threading
from dataclasses import dataclass, replace
from typing import Final, Protocol, Self

from ..sources import Source
from ..sources.registry import Access, kind_of, open_source

LOCAL_WORKERS: Final = 4
"""Images made at once where this machine reads the scenes."""
ENCODERS: Final = min(4, os.cpu_count() or 1)
"""Rasters encoded and written at once in a process, whatever its workers.

Requests sent together are answered together. Encoded all at once, their rasters would also be finished together, late, and
until then no request would be under way; a few at a time, the first worker asks again while the others take their turn.
"""


class Opener(Protocol):
    """How a worker gets at the source: a small hashable value that can be sent to another process."""

    def open(self) -> Source:
        """Open the source; called once per process and build."""

    def share(self, processes: int) -> Self:
        """Return the opener for one of several processes that together must keep the source's limits."""

    @property
    def most_processes(self) -> int | None:
        """How many processes may use the source at once; None where it does not matter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceOpener:
    """Opens what the user named."""

    name: str
    """`earthengine`, `stac:URL`, or the path of a catalogue."""
    radar: str | None = None
    """Another one for radar images."""
    project: str | None = None
    """Google Cloud project, for Earth Engine only."""
    requests: int = 24
    """Most requests in flight at once over all processes, for Earth Engine only."""
    allow_hosts: tuple[str, ...] = ()
    """Hosts, buckets and folders from which a STAC catalogue's files may be read, beside its own."""

    @property
    def usual_workers(self) -> int:
        """How many images are best made at once.

        Earth Engine does the work elsewhere: all its requests are in flight while other images are encoded or wait for
        their turn. Other sources do it here.
        """
        return self.requests + 2 * ENCODERS if self._counts_requests else LOCAL_WORKERS

    def open(self) -> Source:
        """Open the source.

        Raises:
            SourceError: It cannot be used.
        """
        access = Access(project=self.project, requests=self.requests, allow_hosts=self.allow_hosts)
        return open_source(self.name, radar=self.radar, access=access)

    def share(self, processes: int) -> Self:
        """Return the opener for one of several processes: each gets an equal part of the requests."""
        return replace(self, requests=max(1, self.requests // processes))

    @property
    def most_processes(self) -> int | None:
        """A process needs at least one of Earth Engine's requests."""
        return self.requests if self._counts_requests else None

    @property
    def _counts_requests(self) -> bool:
        return any(kind_of(name).counts_requests for name in (self.name, self.radar) if name is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """One build's use of a source: sources are opened anew for each build, and once in each process."""

    opener: Opener
    token: str


_OPENING = threading.Lock()


@functools.lru_cache(maxsize=2)
def _opened(session: Session) -> Source:
    return session.opener.open()


def source_of(session: Session) -> Source:
    """Return this process's source.

    Raises:
        SourceError: It cannot be used.
    """
    with _OPENING:
        return _opened(session)
