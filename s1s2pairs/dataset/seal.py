"""The seal of the card: its last key holds the SHA-256 of its text without that key, so that every byte can be checked."""

import hashlib
import json
import re
from typing import Any, Final, Literal

SEAL_KEY: Final = "s1s2:sha256"
_TAIL: Final = re.compile(rf',\n "{SEAL_KEY}": "([0-9a-f]{{64}})"\n}}\n'.encode())
_SHA256: Final = re.compile("[0-9a-f]{64}")
_END: Final = b"\n}\n"

SealState = Literal["whole", "broken", "none"]
"""The text has the hash that it notes; it has another, or is no card at all; it was written before cards noted any."""


def seal(card: dict[str, Any]) -> bytes:
    """Return the text of a card with its seal."""
    text = (json.dumps(card, indent=1) + "\n").encode()
    digest = hashlib.sha256(text).hexdigest()
    return text.removesuffix(_END) + f',\n "{SEAL_KEY}": "{digest}"\n}}\n'.encode()


def seal_state(content: bytes) -> SealState:
    """Tell whether a card is as it was written."""
    parts = _parts(content)
    if parts is not None:
        text, noted = parts
        return "whole" if hashlib.sha256(text).hexdigest() == noted else "broken"
    try:
        card = json.loads(content)
    except (ValueError, RecursionError):
        return "broken"
    # A key that was hit is no longer the seal's, but its value still shows that there was one.
    sealed = not isinstance(card, dict) or SEAL_KEY in card or any(_is_sha256(value) for value in card.values())
    return "broken" if sealed else "none"


def is_the_same_card(written: bytes, damaged: bytes) -> bool:
    """Tell whether the seal that is left of a damaged card is that of the card just written."""
    parts = _parts(written)
    return parts is not None and parts[1].encode() in damaged


def _parts(content: bytes) -> tuple[bytes, str] | None:
    """Return the text without the seal, and the hash in the seal."""
    found = list(_TAIL.finditer(content))
    if not found or found[-1].end() != len(content):
        return None
    return content[: found[-1].start()] + _END, found[-1][1].decode()


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None
