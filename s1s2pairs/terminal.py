"""The words of a command line before they are parsed, and what may be printed to a terminal."""

import logging
import re
from collections.abc import Iterator, Sequence

from .untrusted import printable, redacted

EXTRA_OF = {
    **dict.fromkeys(("torch", "lightning_fabric", "safetensors", "tensorboard"), "train"),
    **dict.fromkeys(("ee", "googleapiclient", "google", "httplib2"), "earthengine"),
    **dict.fromkeys(("onnx", "onnxscript"), "export"),
    "distributed": "dask",
    "geemap": "maps",
}
"""Package -> the extra that installs it."""


SPREAD = {"--years": re.compile(r"\d+"), "--set": re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)}
"""Options that take several values after one flag, and what such a value looks like."""


def spread(words: Sequence[str]) -> list[str]:
    """Repeat the flag of options that take several values: `--years 2019 2021` becomes `--years 2019 --years 2021`."""
    out: list[str] = []
    flag: str | None = None
    for word in _without_commas(words):
        if flag is not None and not SPREAD[flag].fullmatch(word):
            flag = None
        if flag is not None and out[-1] != flag:
            out.append(flag)
        if word in SPREAD:
            flag = word
        out.append(word)
    return out


def _without_commas(words: Sequence[str]) -> Iterator[str]:
    """Yield the words, `2018,2019` as two."""
    for word in words:
        flag, equals, value = word.partition("=")
        years = value if flag == "--years" and equals else word
        if not re.fullmatch(r"\d{4}(,\d{4})+,?", years):
            yield word
            continue
        yield from ([flag] if equals else [])
        yield from years.strip(",").split(",")


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(redacted(super().format(record)))


def log_to_stderr(level: int) -> None:
    """Print what is logged from a level on; what others have written in it can do nothing to the terminal."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
