"""What others have written, read within bounds: files of a sane kind and size, JSON of a sane depth."""

import json
import os
import re
import stat
from pathlib import Path
from typing import Any, Final

MAX_JSON_BYTES: Final = 16 << 20
"""Of one STAC item, catalogue, or page of an API. Real items have up to 100 kB."""
MAX_RECIPE_BYTES: Final = 1 << 30
"""Of a recipe or lock; a lock of 10,000 ROIs with all its candidates has some hundred megabytes."""
MAX_TEXT_BYTES: Final = 64 << 20
"""Of a product's annotation; real ones have 1 to 3 MB."""
MAX_JSON_DEPTH: Final = 64
"""Objects and lists within each other; GeoJSON, STAC and locks need some ten."""
_SHOWN_CHARACTERS: Final = 120


class Unusable(ValueError):
    """What was read cannot be used; says why, without saying where."""


def read_regular(path: Path, *, most_bytes: int) -> bytes:
    """Read a file whole.

    Raises:
        OSError: There is none, or it may not be read.
        Unusable: It is a pipe, a device or a folder, or larger than `most_bytes`.
    """
    # Opening a pipe would wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        check_regular(os.fstat(descriptor))
    except Unusable:
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise Unusable(f"larger than the {most_bytes:,} bytes that such a file may have")
    return content


def check_regular(status: os.stat_result) -> None:
    """Refuse what is no plain file.

    Raises:
        Unusable: It is a pipe, a device or a folder.
    """
    if not stat.S_ISREG(status.st_mode):
        raise Unusable("expected a file, found a folder, a pipe or a device")


def parse_json(content: bytes | str, *, constants: bool = True) -> Any:
    """Parse JSON in UTF-8; a byte order mark before it is passed over.

    Args:
        content: The text.
        constants: Whether `NaN` and `Infinity`, which are no JSON, are numbers all the same.

    Raises:
        Unusable: It is no JSON, or nested deeper than `MAX_JSON_DEPTH`.
    """
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content.removeprefix("\ufeff")
        value = json.loads(text, parse_constant=None if constants else _no_constant)
    except json.JSONDecodeError as error:
        raise Unusable(f"invalid JSON: {error.msg} at line {error.lineno} column {error.colno}") from error
    except UnicodeDecodeError as error:
        raise Unusable(f"invalid JSON: not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise Unusable(f"nested deeper than {MAX_JSON_DEPTH} objects and lists") from error
    except ValueError as error:  # a number of more digits than Python converts
        raise Unusable(f"invalid JSON: {error}") from error
    check_depth(value)
    return value


def parse_object(content: bytes | str) -> dict[str, Any]:
    """Parse JSON that is an object, as `parse_json` does.

    Raises:
        Unusable: It is no JSON, nested deeper than `MAX_JSON_DEPTH`, or something else than an object.
    """
    value = parse_json(content)
    if not isinstance(value, dict):
        raise Unusable(f"expected an object, found {shown(value)}")
    return value


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is not a number in JSON")


def check_depth(value: Any) -> None:
    """Refuse parsed JSON that is nested too deeply for what recurses over it later.

    Raises:
        Unusable: It is nested deeper than `MAX_JSON_DEPTH`.
    """
    layer = [value]
    for _ in range(MAX_JSON_DEPTH):
        layer = [
            inner
            for outer in layer
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not layer:
            return
    raise Unusable(f"nested deeper than {MAX_JSON_DEPTH} objects and lists")


def shown(value: object) -> str:
    """Return a foreign value for a message: on one line, without control characters, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python prints
        text = "a number of thousands of digits"
    except RecursionError:
        text = "something nested deeply"
    return cut(text)


def cut(text: str) -> str:
    """Return text for a message, cut where it is long."""
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}... ({len(text)} characters)"


_USER = re.compile(r"(?<=://)[^/\s?#@'\"]+@")
_QUERY = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s?'\"]*)\?[^\s'\"]*", re.IGNORECASE)


def redacted(text: str) -> str:
    """Return text without the queries of addresses, where signatures and tokens stand, and without the names and passwords."""
    return _QUERY.sub(r"\1", _USER.sub("", text))


def printable(text: str) -> str:
    """Return text with its control characters escaped, so that it can do nothing to a terminal; new lines stay."""
    return "".join(one if one.isprintable() or one == "\n" else one.encode("unicode_escape").decode() for one in text)
