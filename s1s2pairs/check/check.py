"""Ask a source whether everything that a build relies on holds there."""

from pathlib import Path

from ..errors import RecipeError
from ..sources.findings import CheckReport


def check(source: str, *, project: str | None = None, save: Path | None = None) -> CheckReport:
    """Try a source with a few small requests.

    Args:
        source: `earthengine`, `stac:URL`, or the path of a STAC catalogue on disk.
        project: Google Cloud project, for Earth Engine only.
        save: Where to write a recording of the replies, for Earth Engine only.

    Raises:
        RecipeError: A recording of another source was asked for.
        NotAuthenticated: Earth Engine has no usable credentials.
        SourceError: The source cannot be reached.
    """
    if source == "earthengine":
        from ..sources.earthengine.check import check_earthengine  # noqa: PLC0415 - an optional extra

        return check_earthengine(project=project, save=save)
    if save is not None:
        raise RecipeError("--save records replies of Earth Engine only; leave it out, or use --source earthengine")
    from ..sources.stac.check import check_stac  # noqa: PLC0415 - loads GDAL

    return check_stac(source)
