"""HTML pages: written whole or not at all."""

import os
import tempfile
from pathlib import Path

from .errors import DatasetError


def write_page(file: Path, text: str) -> None:
    """Write a page so that it appears under its name only when it is whole.

    Raises:
        DatasetError: It cannot be written: no such folder, no permission, no space.
    """
    try:
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.", suffix=".part")
    except OSError as error:
        raise _refusal(file, error) from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        temporary.chmod(0o644)  # mkstemp makes it private; a page is for others to read
        temporary.replace(file)
    except OSError as error:
        raise _refusal(file, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _refusal(file: Path, error: OSError) -> DatasetError:
    return DatasetError(
        f"{file}: the page cannot be written: {error.strerror or error}; make the folder, or free it for writing"
    )
