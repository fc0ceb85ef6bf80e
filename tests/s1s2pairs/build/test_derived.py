"""A derived file that is registered is written by a build, checked by `verify` and made again by a repair."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from s1s2pairs.build.build import BuildReport
from s1s2pairs.build.repair import RepairReport, mend
from s1s2pairs.dataset import derived
from s1s2pairs.dataset.contents import Contents
from s1s2pairs.dataset.dataset import open_dataset
from s1s2pairs.dataset.derived import DERIVED, DerivedFile
from s1s2pairs.dataset.verify import verify
from tests.s1s2pairs.conftest import Built, tree
from tests.s1s2pairs.fake_source import FakeOpener, FakeSource, calls, inject

CARD, INDEX, TOY = "dataset.json", "index.parquet", "notes/toy.txt"
Run = Callable[..., BuildReport]


def dump_toy(contents: Contents) -> bytes:
    return (
        f"{contents.plan.name}: {len(contents.rows)} rows, without {', '.join(contents.failures) or 'none'}\n".encode()
    )


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register one more file."""
    entry = DerivedFile(path=TOY, description="A toy.", encoding_format="text/plain", dump=dump_toy)
    monkeypatch.setattr(derived, "DERIVED", (*DERIVED, entry))


@pytest.fixture
def out(toy: None, built: Built, tmp_path: Path, run: Run) -> Path:
    """A dataset with the file."""
    run(built.recipe)
    return tmp_path / "out"


@pytest.fixture
def repair(out: Path, source: Path) -> Callable[[], RepairReport]:
    return lambda: mend(out, opener=lambda plan: FakeOpener(folder=str(source)))


def problems(out: Path) -> list[tuple[str, str]]:
    return [(problem.path, problem.kind) for problem in verify(out).problems]


def test_a_build_writes_it_and_the_card_describes_it(out: Path, built: Built) -> None:
    content = (out / TOY).read_bytes()
    assert content.decode() == f"tiny: {len(open_dataset(out).index)} rows, without none\n"
    files = {file["@id"]: file for file in json.loads((out / CARD).read_text())["distribution"]}
    assert files[TOY]["sha256"] == hashlib.sha256(content).hexdigest()
    assert (files[TOY]["description"], files[TOY]["encodingFormat"]) == ("A toy.", "text/plain")
    changed = {path for path, sha256 in tree(out).items() if tree(built.root).get(path) != sha256}
    assert changed == {TOY, CARD}
    assert verify(out).ok


@pytest.mark.parametrize("spoil", [None, b"", "flip"])
def test_verify_finds_it_changed_or_missing_and_a_repair_restores_it(
    out: Path, source: Path, repair: Callable[[], RepairReport], spoil: bytes | str | None
) -> None:
    before, fetched = tree(out), calls(source)
    content = bytearray((out / TOY).read_bytes())
    content[3] ^= 1
    (out / TOY).unlink()
    if spoil is not None:
        (out / TOY).write_bytes(content if spoil == "flip" else b"")
    assert problems(out) == [(TOY, "missing" if spoil is None else "hash")]
    report = repair()
    assert (report.ok, report.repaired, report.given_up) == (True, {TOY: "written"}, {})
    assert tree(out) == before
    assert calls(source) == fetched


@pytest.mark.parametrize("lost", [[CARD], [CARD, TOY], [CARD, INDEX, TOY], [INDEX, TOY]])
def test_it_is_written_again_with_the_card_and_the_index(
    out: Path, repair: Callable[[], RepairReport], lost: list[str]
) -> None:
    before = tree(out)
    for path in lost:
        (out / path).unlink()
    if {CARD, INDEX} <= set(lost):
        (out / INDEX).write_bytes(b"")  # without both, a dataset is taken for an unfinished one
    shutil.rmtree(out / "patches/train/north/north_0_0")
    report = repair()
    assert report.ok, (report.after.problems, report.given_up)
    assert {path for path, remedy in report.repaired.items() if remedy == "written"} == set(lost)
    assert tree(out) == before


def test_what_it_would_be_today_is_not_written_where_the_card_notes_other_bytes(
    out: Path, repair: Callable[[], RepairReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = DerivedFile(path=TOY, description="A toy.", encoding_format="text/plain", dump=lambda contents: b"other")
    monkeypatch.setattr(derived, "DERIVED", (*DERIVED, other))
    assert problems(out) == []
    (out / TOY).unlink()
    before = tree(out)
    report = repair()
    assert (report.ok, list(report.given_up), report.repaired) == (False, [TOY], {})
    assert tree(out) == before


def test_the_index_comes_last(
    toy: None, run: Run, built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between any two writes, there is no index beside what is not its own."""
    names: list[str] = []
    replace = Path.replace

    def noting(self: Path, target: Path) -> Path:
        if target.parent == tmp_path / "out" or target.name == "toy.txt":
            assert not (tmp_path / "out" / INDEX).exists()
            (tmp_path / "out/notes").mkdir(exist_ok=True)
            names.append(target.relative_to(tmp_path / "out").as_posix())
        return replace(self, target)

    for path in tree(built.root):  # an older build, without the file
        (tmp_path / "out" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(built.root / path, tmp_path / "out" / path)
    assert verify(tmp_path / "out").ok
    monkeypatch.setattr(Path, "replace", noting)
    run(built.recipe)
    assert names == [TOY, CARD, INDEX]
    assert verify(tmp_path / "out").ok


def test_it_goes_with_the_index(out: Path, run: Run, built: Built, source: Path) -> None:
    (out / "recipe.lock.geojson").unlink()
    shutil.rmtree(out / "rasters")
    FakeSource(source)
    inject(source, ("mean_sar", "any", "source"))
    run(built.recipe)
    assert not {TOY, CARD, INDEX} & tree(out).keys()
