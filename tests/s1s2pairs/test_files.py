"""Files written whole or not at all, and what is beside them meanwhile."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s1s2pairs.errors import DatasetError
from s1s2pairs.files import scratch_folder, unfinished, write_whole
from tests.refusals import refuses

WRITER = """
import sys
from pathlib import Path
from s1s2pairs.files import write_whole
for number in range(60):
    write_whole(Path(sys.argv[1]), (sys.argv[2] * 200_000).encode())
"""


def test_a_file_is_replaced_and_for_all_to_read(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    for text in (b"longer at first", b"short"):
        write_whole(file, text)
        assert file.read_bytes() == text
    assert file.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_what_a_killed_process_left_is_used_again(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    unfinished(file).write_bytes(b"half of something that was longer")
    write_whole(file, b"whole")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.json", b"whole")]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("method", ["write_bytes", "replace"])
def test_a_disk_that_refuses_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, method: str
) -> None:
    file = tmp_path / "a.json"
    write_whole(file, b"old")

    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(Path, method, refuse)
        with pytest.raises(DatasetError, match=f"a.json: cannot be written: {os.strerror(number)}"):
            write_whole(file, b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.json", b"old")]
    write_whole(file, b"new")
    assert file.read_bytes() == b"new"


def test_pieces_become_one_file_or_none(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    write_whole(file, (b"%d\n" % number for number in range(3)))
    assert file.read_bytes() == b"0\n1\n2\n"

    def broken() -> Iterator[bytes]:
        yield b"new"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with refuses(DatasetError, file, "cannot be written", os.strerror(errno.ENOSPC)):
        write_whole(file, broken())
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.csv", b"0\n1\n2\n")]


def test_two_processes_never_mix_their_bytes(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", WRITER, str(file)]
    writers = [subprocess.Popen([*command, letter], cwd=root) for letter in "xy"]
    while any(writer.poll() is None for writer in writers):
        if file.exists():
            found = file.read_bytes()
            assert found in (b"x" * 200_000, b"y" * 200_000)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_scratch_folder_begins_empty_is_held_and_goes(tmp_path: Path) -> None:
    file = tmp_path / "out" / "a.tif"
    left = unfinished(file)
    left.mkdir(parents=True)
    (left / "rows.tif").write_bytes(b"of a killed process")
    with scratch_folder(file) as folder:
        assert folder == left
        assert [path.name for path in folder.iterdir() if path.name != "lock"] == []
        with pytest.raises(DatasetError, match=r"a\.tif: another process is writing it"), scratch_folder(file):
            pass
        (folder / "rows.tif").write_bytes(b"")
    assert list(file.parent.iterdir()) == []


def test_a_scratch_folder_that_cannot_be_made_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DatasetError, match="cannot be written: Not a directory"),
        scratch_folder(tmp_path / "file" / "a"),
    ):
        pass
