"""Ask a source whether everything that a build relies on holds there."""

from collections.abc import Sequence
from pathlib import Path

from ..plan.lock import DEFAULT_SOURCE
from ..sources.findings import CheckReport
from ..sources.registry import Access, kind_of


def check(
    source: str | None = None,
    *,
    project: str | None = None,
    save: Path | None = None,
    allow_hosts: Sequence[str] = (),
) -> CheckReport:
    """Try a source with a few small requests.

    Args:
        source: `earthengine` (the default), `stac:URL`, or the path of a STAC catalogue on disk.
        project: Google Cloud project, for Earth Engine only.
        save: Where to write a recording of the replies, for Earth Engine only.
        allow_hosts: Hosts, buckets and folders from which a STAC catalogue's files may be read, beside its own.

    Raises:
        RecipeError: A recording of another source was asked for.
        NotAuthenticated: Earth Engine has no usable credentials.
        SourceError: The source cannot be reached.
    """
    name = source or DEFAULT_SOURCE
    return kind_of(name).check(name, Access(project=project, allow_hosts=tuple(allow_hosts)), save)
