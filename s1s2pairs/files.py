"""Single files, written whole or not at all."""

import os
import tempfile
from pathlib import Path

from .errors import DatasetError


def write_whole(file: Path, content: bytes) -> None:
    """Write a file so that it appears under its name only when it is whole.

    Raises:
        DatasetError: It cannot be written: no such folder, no permission, no space.
    """
    try:
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.", suffix=".part")
    except OSError as error:
        raise _refusal(file, error) from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        temporary.chmod(0o644)  # mkstemp makes it private; what is written here is for others to read
        temporary.replace(file)
    except OSError as error:
        raise _refusal(file, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _refusal(file: Path, error: OSError) -> DatasetError:
    return DatasetError(
        f"{file}: cannot be written: {error.strerror or error}; make the folder, or free it for writing"
    )
