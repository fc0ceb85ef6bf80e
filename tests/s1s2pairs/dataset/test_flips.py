"""One changed byte, anywhere in any file of a dataset, is found."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from s1s2pairs.build.build import build
from s1s2pairs.dataset.layout import is_image
from s1s2pairs.dataset.seal import SEAL_KEY, seal, seal_state
from s1s2pairs.dataset.verify import verify
from s1s2pairs.errors import DatasetError
from tests.refusals import assert_names, refuses
from tests.s1s2pairs.conftest import Built, tiny_recipe, tree
from tests.s1s2pairs.fake_source import FakeOpener

# rasterio cannot log what GDAL says of a text that is no UTF-8, and tells Python so.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
TORTURE_FLIPS = 5_000


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As few files as a dataset can have: one ROI, one period."""
    root = tmp_path_factory.mktemp("small")
    recipe = tiny_recipe({"north": {}}, years=(2019,), patch={"size": 32})
    build(recipe, opener=FakeOpener(folder=str(root / "source")), out=str(root / "small"))
    return root / "small"


def flip(path: Path, random: np.random.Generator) -> bytes:
    """Flip one bit, or replace one byte; return what was there."""
    content = path.read_bytes()
    changed = bytearray(content)
    place = int(random.integers(len(content)))
    changed[place] ^= 1 << int(random.integers(8)) if random.random() < 0.5 else int(random.integers(1, 256))
    path.write_bytes(changed)
    return content


def named(root: Path) -> set[str]:
    """Return the files that verification says are wrong."""
    return {problem.path for problem in verify(root).problems}


def test_one_changed_byte_in_any_file_is_found(small: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(small, tmp_path / "copy"))
    random = np.random.default_rng(1)
    files = list(tree(copy))
    flips = {"recipe.lock.geojson": 60, "dataset.json": 20, "index.parquet": 20}
    for file, times in flips.items():
        for _ in range(times):
            before = flip(copy / file, random)
            assert named(copy) >= {file}
            (copy / file).write_bytes(before)
    # An image is compared with card or index alone once it is damaged, so that one may be damaged in each of them at once.
    images = [file for file in files if is_image(file)]
    assert set(files) == {*flips, *images}
    for _ in range(25):
        before_all = {file: flip(copy / file, random) for file in images}
        assert named(copy) == set(images)
        for file, content in before_all.items():
            (copy / file).write_bytes(content)
    assert verify(copy).ok


def test_every_byte_of_a_card_is_under_its_seal(built: Built) -> None:
    content = (built.root / "dataset.json").read_bytes()
    assert seal_state(content) == "whole"
    random = np.random.default_rng(2)
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= int(random.integers(1, 256))
        assert seal_state(bytes(changed)) == "broken", place
    # The seal's own key and value: whatever stands there instead, the card is never taken for one of before.
    start = content.rindex(SEAL_KEY.encode()) - 6
    for place in range(start, len(content)):
        for value in range(256):
            changed = bytearray(content)
            changed[place] = value
            assert (seal_state(bytes(changed)) == "broken") == (value != content[place]), (place, value)
    assert seal_state(content + b"\n") == "broken"


@pytest.mark.torture
@pytest.mark.timeout(7200)
def test_thousands_of_changed_bytes_are_found(small: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(small, tmp_path / "copy"))
    random = np.random.default_rng(3)
    files, found = list(tree(copy)), 0
    for number in range(TORTURE_FLIPS):
        file = files[number % len(files)]
        before = flip(copy / file, random)
        found += file in named(copy)
        (copy / file).write_bytes(before)
    print(f"bytes flipped {TORTURE_FLIPS}, found {found}")  # noqa: T201 - the measure that this test is run for
    assert found == TORTURE_FLIPS


def test_a_card_of_before_is_checked_as_it_was_and_noted(small: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(small, tmp_path / "copy"))
    card = json.loads((copy / "dataset.json").read_text())
    card.pop(SEAL_KEY)
    (copy / "dataset.json").write_text(json.dumps(card, indent=1) + "\n")
    report = verify(copy)
    assert report.ok
    [note] = report.notes
    assert_names(note, "dataset.json", "SHA-256")
    card["distribution"][0]["sha256"] = "0" * 64
    (copy / "dataset.json").write_text(json.dumps(card, indent=1) + "\n")
    assert named(copy) == {"index.parquet"}


def test_the_seal_is_the_hash_of_the_text_without_it() -> None:
    text = '{\n "a": "b"\n}\n'
    sealed = seal({"a": "b"}).decode()
    assert json.loads(sealed) == {"a": "b", SEAL_KEY: hashlib.sha256(text.encode()).hexdigest()}


@pytest.fixture
def litter() -> list[str]:
    """What viewers of images and of folders leave behind."""
    return [
        ".DS_Store",
        "Thumbs.db",
        "rasters/.DS_Store",
        "rasters/north/2019/s1.tif.aux.xml",
        "rasters/north/2019/s2.tif.ovr",
        "patches/train/north/Thumbs.db",
    ]


def test_what_viewers_leave_is_left_alone(small: Path, tmp_path: Path, litter: list[str]) -> None:
    copy = Path(shutil.copytree(small, tmp_path / "copy"))
    for path in litter:
        (copy / path).write_bytes(b"litter")
    before = tree(copy)
    assert verify(copy).ok
    recipe = tiny_recipe({"north": {}}, years=(2019,), patch={"size": 32})
    build(recipe, opener=FakeOpener(folder=str(tmp_path / "source")), out=str(copy))
    assert tree(copy) == before
    (tmp_path / "new").mkdir()
    (tmp_path / "new/.DS_Store").write_bytes(b"litter")
    build(recipe, opener=FakeOpener(folder=str(tmp_path / "source")), out=str(tmp_path / "new"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other/photo.ovr.jpg").write_bytes(b"")
    with refuses(DatasetError, "photo.ovr.jpg", "--out"):
        build(recipe, opener=FakeOpener(folder=str(tmp_path / "source")), out=str(tmp_path / "other"))
