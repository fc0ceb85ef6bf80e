"""What a dataset notes of its own files, in the card and in the index, and whether that can be relied on."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ..errors import DatasetError
from ..sensors import SENSORS
from ..untrusted import parse_object
from .card import CARD_FAILURES_KEY, CARD_RASTERS_KEY, CARD_VERSION_KEY
from .derived import derived_paths
from .index import read_rows
from .layout import CARD_FILE, INDEX_FILE, LOCK_FILE
from .left_out import LeftOut, left_out_of_card
from .problems import Problem, unreadable
from .seal import seal_state
from .storage import Storage

NOT_IN_CARD: Final = "its SHA-256 is not the one in the card"


@dataclass(frozen=True, kw_only=True, slots=True)
class Notes:
    """SHA-256s of files, in a card or an index."""

    sure: bool = False
    """Whether the notes are as they were written; those of a damaged file still speak for a file that agrees with them."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Path -> SHA-256."""

    def fit(self, path: str, content: bytes, again: Callable[[], bytes]) -> bool:
        """Tell whether a file has the bytes that it was written with.

        Args:
            path: Of the file.
            content: Of the file.
            again: Makes the file once more from its pixels, where the notes are not sure.
        """
        noted = self.sha256.get(path)
        if noted == hashlib.sha256(content).hexdigest():
            return True
        if self.sure and noted is not None:
            return False
        return content == again()


@dataclass(frozen=True, kw_only=True, slots=True)
class CardNotes(Notes):
    """What a card notes of the index and files like it, of lock and rasters."""

    failures: Mapping[str, str] = field(default_factory=dict)
    """ROI -> why it is not in the dataset."""
    left_out: LeftOut = field(default_factory=dict)
    sealed: bool = True
    """Whether it is of a version that notes its own hash."""
    software: object = None
    """Version of this package that wrote it, as it says."""
    content: bytes = b""


def read_card(storage: Storage) -> tuple[CardNotes, list[Problem]]:
    """Read the card, and tell what is wrong with it."""
    content = storage.read_if_there(CARD_FILE)
    if content is None:
        return CardNotes(), [Problem(kind="missing", path=CARD_FILE, detail="missing")]
    state = seal_state(content)
    try:
        card = parse_object(content)
        files = {file["@id"]: file["sha256"] for file in card["distribution"] if file["@type"] == "cr:FileObject"}
        notes = CardNotes(
            sure=state != "broken",
            sha256={**files, **card[CARD_RASTERS_KEY]},
            failures={str(failure["roi"]): str(failure["reason"]) for failure in card[CARD_FAILURES_KEY]},
            left_out=left_out_of_card(card),
            sealed=state != "none",
            software=card.get(CARD_VERSION_KEY),
            content=content,
        )
    except (ValueError, KeyError, TypeError, DatasetError) as error:
        return CardNotes(content=content), [Problem(kind="damaged", path=CARD_FILE, detail=f"damaged: {error!r}")]
    detail = "damaged: the SHA-256 of its text is not the one in its last line"
    return notes, [] if notes.sure else [Problem(kind="damaged", path=CARD_FILE, detail=detail)]


def check_lock(lock: bytes, card: CardNotes) -> Problem | None:
    """Tell whether the lock is another one than a card notes that is sure; nothing can then be said of the other files."""
    if not card.sure or card.sha256.get(LOCK_FILE) == hashlib.sha256(lock).hexdigest():
        return None
    return Problem(kind="hash", path=LOCK_FILE, detail=NOT_IN_CARD)


def check_derived(storage: Storage, card: CardNotes) -> Iterator[Problem]:
    """Compare the derived files with their hashes in a card, but for the card itself and the index.

    Nothing is said of a file that the card does not note, as one of an earlier version, nor by a card that is not sure:
    they are written again together with it.
    """
    for path in derived_paths():
        if path in (CARD_FILE, INDEX_FILE) or not card.sure or path not in card.sha256:
            continue
        content = storage.read_if_there(path)
        if content is None:
            yield Problem(kind="missing", path=path, detail="missing")
        elif hashlib.sha256(content).hexdigest() != card.sha256[path]:
            yield Problem(kind="hash", path=path, detail=NOT_IN_CARD)


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexNotes(Notes):
    """What an index notes of patches."""

    rows: tuple[Mapping[str, Any], ...] = ()


def read_index(storage: Storage, card: CardNotes) -> tuple[IndexNotes, list[Problem]]:
    """Read the index, and tell what is wrong with the file."""
    content = storage.read_if_there(INDEX_FILE)
    if content is None:
        return IndexNotes(), [Problem(kind="missing", path=INDEX_FILE, detail="missing")]
    same = card.sha256.get(INDEX_FILE) == hashlib.sha256(content).hexdigest()
    problems = [Problem(kind="hash", path=INDEX_FILE, detail=NOT_IN_CARD)] if card.sure and not same else []
    try:
        rows = read_rows(content, file=storage.where(INDEX_FILE))
    except DatasetError as error:
        return IndexNotes(), [*problems, unreadable(error, INDEX_FILE, storage)]
    return IndexNotes(sure=same, sha256=_patches(rows), rows=tuple(rows)), problems


def _patches(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {row[f"{sensor}_path"]: row[f"{sensor}_sha256"] for row in rows for sensor in SENSORS}
