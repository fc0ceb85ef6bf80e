"""The folder a dataset is written to, on this machine or behind any fsspec URL: whole files or none."""

import contextlib
import errno
import logging
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import fsspec

from ..errors import DatasetError
from ..untrusted import redacted
from .layout import PARTIAL

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

_TEMPORARY: Final = f"{PARTIAL}/writing"

_OBJECT_STORES: Final = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss", "memory"})
"""fsspec protocols that show an object only when all of it has arrived, so that no renaming is needed."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A folder of files addressed by relative paths with `/`. Small enough to be sent to another process."""

    url: str
    """Local path, or an fsspec URL such as `s3://bucket/data/oscd`."""

    @classmethod
    def of_file(cls, url: str) -> tuple["Storage", str]:
        """Return the folder that a file behind a URL lies in, and the file's name there."""
        protocol, _, path = url.partition("://")
        folder, _, name = path.rpartition("/")
        return cls(f"{protocol}://{folder}"), name

    @property
    def is_local(self) -> bool:
        """Whether the folder is on a file system of this machine."""
        return "://" not in self.url or self.url.startswith("file://")

    @property
    def local_root(self) -> Path:
        """The folder as a path, for a local one."""
        return Path(self.url.removeprefix("file://"))

    @property
    def address(self) -> str:
        """The folder as it can be found from anywhere: an absolute path, or the URL without name and password."""
        return str(self.local_root.resolve()) if self.is_local else redacted(self.url)

    def where(self, path: str) -> str:
        """Return how a person would address a file."""
        return str(self.local_root / path) if self.is_local else f"{self.url.rstrip('/')}/{path}"

    def prepare(self) -> None:
        """Make the folder and show that it can be written to.

        Raises:
            DatasetError: It cannot be made or written to.
        """
        probe = f"{PARTIAL}/writable"
        self.write(probe, b"")
        self.remove(probe)

    def sweep(self) -> None:
        """Drop what an earlier run left half-written; only while no other build runs here.

        Raises:
            DatasetError: It cannot be deleted.
        """
        self.remove_tree(_TEMPORARY)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep a second build out of a local folder until this one ends, in whatever way; object stores have no locks.

        Raises:
            DatasetError: Another process is building there, or the folder cannot be written to.
        """
        if not self.is_local or fcntl is None:
            yield
            return
        file = self.local_root / PARTIAL / "lock"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            opened = file.open("ab")
        except OSError as error:
            raise DatasetError(f"{file}: cannot be written: {_why(error)}; {_next_step(error)}") from error
        with opened as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DatasetError(
                    f"{self.url}: another build is writing here; wait for it, or give another --out"
                ) from error
            except OSError as error:
                log.warning("%s: cannot be locked (%s); do not start a second build there", self.url, _why(error))
            try:
                yield
            finally:
                file.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # other files are kept there
                    file.parent.rmdir()

    def read(self, path: str) -> bytes:
        """Return the content of a file.

        Raises:
            DatasetError: There is none, or it cannot be read.
        """
        try:
            if self.is_local:
                return (self.local_root / path).read_bytes()
            filesystem, root = self._remote()
            content: bytes = filesystem.cat_file(f"{root}/{path}")
        except OSError as error:
            raise DatasetError(f"{self.where(path)}: cannot be read: {_why(error)}") from error
        return content

    def read_if_there(self, path: str) -> bytes | None:
        """Return the content of a file, or None where there is no such file.

        Raises:
            DatasetError: It is there but cannot be read.
        """
        try:
            return self.read(path)
        except DatasetError as error:
            if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                return None
            raise

    def write(self, path: str, content: bytes) -> None:
        """Write a file so that it appears under its name only when it is whole.

        Raises:
            DatasetError: It cannot be written: no permission, no space.
        """
        try:
            if self.is_local:
                self._write_local(path, content)
            else:
                self._write_remote(path, content)
        except OSError as error:
            raise DatasetError(f"{self.where(path)}: cannot be written: {_why(error)}; {_next_step(error)}") from error

    def _write_local(self, path: str, content: bytes) -> None:
        final = self.local_root / path
        temporary = self.local_root / _TEMPORARY / uuid.uuid4().hex
        try:
            try:
                temporary.write_bytes(content)
            except FileNotFoundError:
                temporary.parent.mkdir(parents=True, exist_ok=True)
                temporary.write_bytes(content)
            try:
                temporary.replace(final)
            except FileNotFoundError:
                final.parent.mkdir(parents=True, exist_ok=True)
                temporary.replace(final)
        except OSError as error:
            if not isinstance(error, NotADirectoryError):
                temporary.unlink(missing_ok=True)
            raise

    def _write_remote(self, path: str, content: bytes) -> None:
        filesystem, root = self._remote()
        if _protocol(self.url) in _OBJECT_STORES:
            filesystem.pipe_file(f"{root}/{path}", content)
            return
        temporary = f"{root}/{_TEMPORARY}/{uuid.uuid4().hex}"
        filesystem.makedirs(f"{root}/{_TEMPORARY}", exist_ok=True)
        filesystem.makedirs(str(PurePosixPath(f"{root}/{path}").parent), exist_ok=True)
        filesystem.pipe_file(temporary, content)
        filesystem.mv(temporary, f"{root}/{path}")

    def files(self, folder: str = "") -> frozenset[str]:
        """List every file below a folder, as paths relative to the root.

        Raises:
            DatasetError: The folder is there but cannot be read.
        """
        if self.is_local:
            base = self.local_root / folder
            found = (file for file in base.rglob("*") if file.is_file())
            return frozenset(file.relative_to(self.local_root).as_posix() for file in found)
        filesystem, root = self._remote()
        filesystem.invalidate_cache()
        try:
            found_there = filesystem.find(f"{root}/{folder}".rstrip("/"))
        except OSError as error:
            raise DatasetError(f"{self.where(folder)}: cannot be read: {_why(error)}") from error
        return frozenset(name[len(root) :].lstrip("/") for name in found_there)

    def listing(self) -> frozenset[str]:
        """List the names right in the folder, those of folders with a `/` behind; nothing where there is no folder.

        Raises:
            DatasetError: The folder is there but cannot be read.
        """
        try:
            if self.is_local:
                return frozenset(f"{path.name}/" if path.is_dir() else path.name for path in self.local_root.iterdir())
            filesystem, root = self._remote()
            filesystem.invalidate_cache()
            if filesystem.isfile(root):  # to list a file over HTTP would be to fetch it
                return frozenset()
            kinds = {
                entry["name"].rstrip("/").rpartition("/")[2]: entry["type"]
                for entry in filesystem.ls(root, detail=True)
            }
            return frozenset(f"{name}/" if kind == "directory" else name for name, kind in kinds.items())
        except (FileNotFoundError, NotADirectoryError):
            return frozenset()
        except OSError as error:
            raise DatasetError(f"{self.url}: cannot be read: {_why(error)}") from error

    def remove(self, path: str) -> None:
        """Delete a file if it is there.

        Raises:
            DatasetError: It is there and cannot be deleted.
        """
        try:
            if self.is_local:
                (self.local_root / path).unlink(missing_ok=True)
                return
            filesystem, root = self._remote()
            filesystem.rm_file(f"{root}/{path}")
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise DatasetError(f"{self.where(path)}: cannot be deleted: {_why(error)}") from error

    def remove_tree(self, folder: str) -> None:
        """Delete a folder with everything in it, if it is there.

        Raises:
            DatasetError: It is there and cannot be deleted.
        """
        try:
            if self.is_local:
                shutil.rmtree(self.local_root / folder)
                return
            filesystem, root = self._remote()
            filesystem.rm(f"{root}/{folder}", recursive=True)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise DatasetError(f"{self.where(folder)}: cannot be deleted: {_why(error)}") from error

    def _remote(self) -> tuple[Any, str]:
        try:
            filesystem, root = fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise DatasetError(f"{self.url}: no storage of that kind is known here: {error}") from error
        return filesystem, root.rstrip("/")


def _protocol(url: str) -> str:
    return url.partition("://")[0]


def _why(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


_SPACE = "free some space and start again, what is finished is kept"
_PERMISSION = "choose another folder with --out, or change its permissions"
_NEXT_STEPS = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), or choose another file system with --out",
    errno.EIO: "check the disk, then start again, what is finished is kept",
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EROFS: _PERMISSION,
}


def _next_step(error: OSError) -> str:
    return _NEXT_STEPS.get(error.errno or 0, "choose another folder with --out")
