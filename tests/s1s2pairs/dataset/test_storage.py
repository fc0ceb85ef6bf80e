import errno
import os
from pathlib import Path

import fsspec
import pytest

from s1s2pairs.dataset.layout import PARTIAL
from s1s2pairs.dataset.storage import Storage
from s1s2pairs.errors import DatasetError
from tests.refusals import refuses


@pytest.fixture(params=["local", "memory", "file-like"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    if request.param == "local":
        return Storage(str(tmp_path / "data"))
    if request.param == "file-like":  # a remote file system that must be written to by renaming
        monkeypatch.setattr(Storage, "is_local", property(lambda self: False))
        return Storage(f"file://{tmp_path}/data")
    fsspec.filesystem("memory").rm("/", recursive=True)
    return Storage("memory://data")


def test_what_is_written_is_read_listed_and_deleted(storage: Storage) -> None:
    storage.prepare()
    assert storage.files() == frozenset()
    storage.write("a/b/c.bin", b"one")
    storage.write("a/b/c.bin", b"two")
    storage.write("top.json", b"{}")
    assert storage.read("a/b/c.bin") == b"two"
    assert storage.files() == {"a/b/c.bin", "top.json"}
    assert storage.files("a") == {"a/b/c.bin"}
    storage.remove("a/b/c.bin")
    storage.remove("a/b/c.bin")
    storage.remove_tree("nowhere")
    assert storage.files() == {"top.json"}
    assert storage.read_if_there("a/b/c.bin") is None


def test_a_listing_tells_folders_from_files(storage: Storage) -> None:
    assert storage.listing() == frozenset()
    storage.write("a/b/c.bin", b"one")
    storage.write("top.json", b"{}")
    assert storage.listing() - {f"{PARTIAL}/"} == {"a/", "top.json"}
    assert Storage(storage.where("a")).listing() == {"b/"}
    assert Storage(storage.where("top.json")).listing() == frozenset()
    assert Storage(storage.where("nowhere")).listing() == frozenset()


@pytest.mark.parametrize(
    ("url", "folder", "name"),
    [
        ("memory://a/b/c.tif", "memory://a/b", "c.tif"),
        ("memory://c.tif", "memory://", "c.tif"),
        ("https://host/c.tif?key=1", "https://host", "c.tif?key=1"),
    ],
)
def test_the_url_of_a_file_is_that_of_a_folder_and_a_name(url: str, folder: str, name: str) -> None:
    assert Storage.of_file(url) == (Storage(folder), name)


def test_a_missing_file_is_named(storage: Storage) -> None:
    with refuses(DatasetError, "data/x.tif"):
        storage.read("x.tif")


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EACCES])
@pytest.mark.parametrize("stage", ["write_bytes", "replace"])
def test_a_failed_write_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, fault: int
) -> None:
    storage = Storage(str(tmp_path))
    storage.write("raster.tif", b"old")

    def fail(self: Path, *_: object) -> None:
        if stage == "write_bytes":  # a full disk takes the first part of a file
            with self.open("wb") as file:
                file.write(b"ne")
        raise OSError(fault, os.strerror(fault))

    with monkeypatch.context() as patch:
        patch.setattr(Path, stage, fail)
        with refuses(DatasetError, tmp_path / "raster.tif", os.strerror(fault)):
            storage.write("raster.tif", b"new")
    assert storage.read("raster.tif") == b"old"
    assert storage.files() == {"raster.tif"}


def test_sweeping_drops_half_written_files(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "data"))
    storage.prepare()
    storage.write("kept", b"")
    litter = tmp_path / "data" / PARTIAL / "writing" / "0123"
    litter.parent.mkdir(parents=True, exist_ok=True)
    litter.write_bytes(b"half")
    storage.sweep()
    assert storage.files() == {"kept"}


def test_a_folder_below_a_file_cannot_be_prepared(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with refuses(DatasetError, tmp_path / "file/data", os.strerror(errno.ENOTDIR), "--out"):
        Storage(str(tmp_path / "file" / "data")).prepare()


def test_an_unknown_kind_of_storage_is_refused() -> None:
    with refuses(DatasetError, "nosuch://bucket/data"):
        Storage("nosuch://bucket/data").prepare()


def test_a_second_build_is_kept_out_and_a_dead_one_is_not(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "data"))
    with (
        storage.exclusive(),
        refuses(DatasetError, tmp_path / "data", "--out", but_not=[os.strerror(errno.EACCES)]),
        storage.exclusive(),
    ):
        pass
    with storage.exclusive():
        pass


def test_a_folder_that_cannot_be_locked_or_listed_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / PARTIAL).write_text("")
    with refuses(DatasetError, tmp_path / PARTIAL / "lock", "--out"), Storage(str(tmp_path)).exclusive():
        pytest.fail("it has been locked")

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "find", forbidden)
    with refuses(DatasetError, "memory://data", os.strerror(errno.EACCES)):
        Storage("memory://data").files()
