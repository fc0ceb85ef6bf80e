"""Single files, written whole or not at all.

What is not finished has a name that every later start uses again: so a killed process leaves nothing that stays.
"""

import contextlib
import errno
import logging
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from .errors import DatasetError, S1S2Error

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

DISK_ERRORS: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM}
)
"""What a disk may answer to any command: full, broken, or not to be written to."""


def write_whole(file: Path, content: bytes | Iterable[bytes]) -> None:
    """Write a file so that it appears under its name only when it is whole.

    Args:
        file: Where to write; an earlier file is replaced.
        content: The bytes, or pieces of them that follow one another and are never held together.

    Raises:
        DatasetError: It cannot be written: no such folder, no permission, no space.
    """
    temporary = unfinished(file)
    try:
        with _held(temporary):
            try:
                if isinstance(content, bytes):
                    temporary.write_bytes(content)
                else:
                    with temporary.open("wb") as handle:
                        handle.writelines(content)
                temporary.chmod(0o644)  # whatever this user's mask: what is written here is for others to read
                temporary.replace(file)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise _refusal(file, error) from error


@contextlib.contextmanager
def scratch_folder(file: Path) -> Iterator[Path]:
    """Give an empty folder beside a file, for what it is made from; it is deleted at the end, or by the next start.

    Raises:
        DatasetError: It cannot be made: no permission, no space; or another process is at work on the same file.
    """
    folder = unfinished(file)
    with contextlib.ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(_held(folder / "lock", wait=False))
            held.callback(shutil.rmtree, folder, ignore_errors=True)
            for left in folder.iterdir():
                if left.name != "lock":
                    left.unlink()
        except BlockingIOError as error:
            raise DatasetError(f"{file}: another process is writing it; wait for it, or choose another name") from error
        except OSError as error:
            raise _refusal(file, error) from error
        yield folder


def unfinished(file: Path) -> Path:
    """Return the name of what is not finished yet, beside the file: always the same one."""
    return file.with_name(f".{file.name}.part")


@contextlib.contextmanager
def _held(temporary: Path, *, wait: bool = True) -> Iterator[None]:
    """Make a temporary file if there is none, and keep other processes of this machine off it; a killed one lets go.

    Raises:
        BlockingIOError: Another process holds it, and `wait` is false.
        OSError: It cannot be made.
    """
    if sys.platform == "win32":
        yield
        return
    while True:
        with temporary.open("ab") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise
            except OSError as error:
                logger.warning("%s: cannot be locked (%s); do not write it twice at once", temporary, error.strerror)
            if _is_at(handle.fileno(), temporary):
                yield
                return


def _is_at(descriptor: int, path: Path) -> bool:
    """Tell whether an open file still has this name: whoever held it before may have renamed or deleted it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def disk_explained() -> Iterator[None]:
    """Turn one of `DISK_ERRORS` that nobody has explained into a message: which file, why, and what to do.

    Raises:
        S1S2Error: A file cannot be read or written.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        where = f"{error.filename}: " if error.filename else ""
        raise S1S2Error(
            f"{where}cannot be read or written: {error.strerror}; make room or free it for writing, then start again"
        ) from error


def _refusal(file: Path, error: OSError) -> DatasetError:
    return DatasetError(
        f"{file}: cannot be written: {error.strerror or error}; make the folder, or free it for writing"
    )
