"""How tests look at messages: by the values in them, not by the sentences around these."""

import re
from collections.abc import Iterable
from typing import Any

import pytest


def assert_names(text: str, *values: object, but_not: tuple[object, ...] = ()) -> None:
    """Check that a message holds every value, as a whole word, path or number, in any order.

    Args:
        text: The message.
        values: What it must hold: names, numbers, paths, options, commands; no prose.
        but_not: What it must not hold, where that tells it from another message.
    """
    __tracebackhide__ = True
    missing = [str(value) for value in values if not _holds(text, str(value))]
    extra = [str(value) for value in but_not if _holds(text, str(value))]
    if missing or extra:
        wrong = [f"it does not name {value!r}" for value in missing] + [f"it names {value!r}" for value in extra]
        raise AssertionError(f"{', '.join(wrong)}: {_shortened(text)}") from None


def refuses(kind: type[BaseException], *values: object, but_not: tuple[object, ...] = ()) -> "_Refusal":
    """Check that the block raises this very class, not a class below it, and names the values."""
    return _Refusal(kind, values, but_not)


class _Refusal:
    def __init__(self, kind: type[BaseException], values: tuple[object, ...], but_not: tuple[object, ...]) -> None:
        self._kind, self._values, self._but_not = kind, values, but_not
        self._raises = pytest.raises(kind)

    def __enter__(self) -> pytest.ExceptionInfo[BaseException]:
        self._raised = self._raises.__enter__()
        return self._raised

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> bool:
        __tracebackhide__ = True
        if not self._raises.__exit__(kind, error, trace):
            return False
        if kind is not self._kind:
            raise AssertionError(f"it raised {kind.__name__}, not {self._kind.__name__}: {error}") from error
        assert_names(str(error), *self._values, but_not=self._but_not)
        return True


def assert_suggests(text: str, wrong: str, nearest: str, choices: Iterable[str]) -> None:
    """Check that a message names what was given and, before all other choices, the nearest one."""
    __tracebackhide__ = True
    assert_names(text, wrong, nearest)
    after = text.partition(wrong)[2]
    first = min((place, choice) for choice in choices if (place := _place(after, choice)) >= 0)[1]
    if first != nearest:
        raise AssertionError(f"it suggests {first!r}, not {nearest!r}: {_shortened(text)}")


def _holds(text: str, value: str) -> bool:
    return _place(text, value) >= 0


def _place(text: str, value: str) -> int:
    """Where a value occurs, not as part of a longer word (`S1` in `S10`) or number (`5` in `0.5`); else -1."""
    before = (r"(?<!\w)" if re.match(r"\w", value) else "") + (r"(?<!\d\.)" if value[:1].isdigit() else "")
    after = (r"(?!\w)" if re.search(r"\w$", value) else "") + (r"(?!\.\d)" if value[-1:].isdigit() else "")
    found = re.search(before + re.escape(value) + after, text)
    return found.start() if found else -1


def _shortened(text: str) -> str:
    return text if len(text) <= 1000 else f"{text[:500]} [...] {text[-500:]}"
