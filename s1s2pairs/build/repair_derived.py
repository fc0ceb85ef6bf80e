"""Make the card, the index and the files like them again, once every raster and patch is whole."""

import hashlib
from collections.abc import Container
from dataclasses import replace

from ..dataset.contents import Contents
from ..dataset.derived import derived_paths, dump_derived, dump_one
from ..dataset.layout import CARD_FILE, INDEX_FILE, LOCK_FILE
from ..dataset.noted import CardNotes
from ..dataset.seal import is_the_same_card
from .repair_state import BUILD_AGAIN, Repairs


def write_derived(repairs: Repairs, contents: Contents, card: CardNotes, wrong: Container[str]) -> None:
    """Write the broken derived files of a dataset again.

    Args:
        repairs: Told what is done.
        contents: What the dataset holds.
        card: Its notes.
        wrong: Files that are broken.
    """
    if card.sure:
        _write_as_noted(repairs, contents, card, wrong)
    else:
        _write_with_card(repairs, contents, card, wrong)


def _write_as_noted(repairs: Repairs, contents: Contents, card: CardNotes, wrong: Container[str]) -> None:
    """Write the broken ones that get the hash that the card notes."""
    for path in derived_paths():
        if path == CARD_FILE or path not in wrong:
            continue
        content = dump_one(path, contents) if contents.rows else b""
        if card.sha256.get(path) == _sha256(content):
            repairs.write(path, content, "written")
        else:
            repairs.given_up[path] = (
                "written again it has other bytes than the card notes, as another version of a library may write it; "
                f"{BUILD_AGAIN}"
            )
    if CARD_FILE in wrong:
        repairs.given_up[CARD_FILE] = f"it was changed together with its own SHA-256; {BUILD_AGAIN}"


def _write_with_card(repairs: Repairs, contents: Contents, damaged: CardNotes, wrong: Container[str]) -> None:
    """Write all of them, where what only the damaged card could tell is known from elsewhere or shown to be right."""
    kept = {}
    for path in derived_paths():
        content = None if path in wrong else repairs.storage.read_if_there(path)
        if content is not None and damaged.sha256.get(path) == _sha256(content):
            kept[path] = content
    planned = {roi.roi.name: roi.failure for roi in contents.plan.rois}
    failures = {roi: planned[roi] or damaged.failures.get(roi, "") for roi in contents.failures}
    files = dump_derived(replace(contents, failures=failures), kept) if contents.rows else {}
    told = all(planned[roi] for roi in failures) and damaged.sha256.get(LOCK_FILE) in (None, _sha256(contents.lock))
    if not files or not (told or is_the_same_card(files[CARD_FILE], damaged.content)):
        repairs.given_up[CARD_FILE] = (
            f"it cannot be written again from the other files alone: a ROI failed for a reason that only the card noted, or "
            f"{LOCK_FILE} is not the one it noted; {BUILD_AGAIN}"
        )
        return
    if repairs.storage.read_if_there(INDEX_FILE) != files[INDEX_FILE]:
        repairs.storage.remove(INDEX_FILE)  # never a new card beside an old index
    for path, content in files.items():
        repairs.write(path, content, "written")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
