"""The files that follow from all the others, each told once: a build writes them, a check and a repair know them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .card import dump_card
from .contents import Contents
from .croissant import file_object
from .index import dump_index
from .layout import CARD_FILE, INDEX_FILE


@dataclass(frozen=True, kw_only=True, slots=True)
class DerivedFile:
    """A file that follows from what a dataset holds. The card describes it and notes its SHA-256."""

    path: str
    description: str
    encoding_format: str
    """Media type."""
    dump: Callable[[Contents], bytes]
    """Returns its content, which is the same wherever and whenever it is made."""


DERIVED: tuple[DerivedFile, ...] = (
    DerivedFile(
        path=INDEX_FILE,
        description="One row per patch and period (GeoParquet).",
        encoding_format="application/x-parquet",
        dump=lambda contents: dump_index(contents.rows),
    ),
)
"""All of them but the card, in the card's order. A new file is an entry here."""


def derived_paths() -> tuple[str, ...]:
    """Return where the derived files lie, in the order in which they are written.

    The index comes last, as without one there is no dataset, and right before it the card, which notes all others.
    """
    return (*(file.path for file in DERIVED if file.path != INDEX_FILE), CARD_FILE, INDEX_FILE)


def dump_derived(contents: Contents, kept: Mapping[str, bytes] | None = None) -> dict[str, bytes]:
    """Return path -> content of all derived files, in the order of `derived_paths`.

    Args:
        contents: What they tell of: at least one row.
        kept: Path -> content of those that are to be taken as they are.
    """
    files = dict(kept or {})
    for file in DERIVED:
        if file.path not in files:
            files[file.path] = file.dump(contents)
    described = [
        file_object(file.path, files[file.path], what=file.description, encoding_format=file.encoding_format)
        for file in DERIVED
    ]
    files[CARD_FILE] = dump_card(contents, described)
    return {path: files[path] for path in derived_paths()}


def dump_one(path: str, contents: Contents) -> bytes:
    """Return the content of one derived file other than the card."""
    return next(file for file in DERIVED if file.path == path).dump(contents)
