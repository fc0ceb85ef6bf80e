"""What GDAL says, and keeps silent about, when a disk is full or broken."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from rasterio._err import CPLE_BaseError  # what GDAL raises in the middle of writing has no public name

from s1s2pairs.errors import RunError


@contextlib.contextmanager
def disk_advice(out: str | Path) -> Iterator[None]:
    """Turn what GDAL says of a full or broken disk into one message.

    Raises:
        RunError: `out` cannot be written.
    """
    try:
        yield
    except (OSError, CPLE_BaseError, SystemError) as error:  # rasterio's own errors of reading and writing are OSErrors
        raise RunError(
            f"{out} cannot be written ({error}); make room, or free it for writing, and start again"
        ) from error


def check_end(cog: Path) -> None:
    """Refuse a file whose last bytes are not there: GDAL keeps silent where the disk has no room for them.

    The last block of a COG of GDAL's ends with its last four bytes once more.

    Raises:
        OSError: They do not.
    """
    with cog.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        block, again = file.read(4), file.read(4)
    if block != again:
        raise OSError(errno.EIO, "its last bytes are missing; is the disk full?")
