"""The words of a command line before and after they are parsed, and printing to a terminal."""

import json
import logging
import re
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from .errors import RunError
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


def key_values(words: Sequence[str]) -> dict[str, str]:
    """Part the values of `--set` into names and values.

    Raises:
        RunError: One has no `=`.
    """
    wrong = [word for word in words if "=" not in word]
    if wrong:
        raise RunError(f"--set {wrong[0]}: give key=value, such as --set epochs=5")
    return dict(word.split("=", 1) for word in words)


def say(text: str, *, quiet: bool = False) -> None:
    """Print text, unless the user wants quiet. What others have written in it can do nothing to the terminal."""
    if not quiet:
        typer.echo(printable(text))


def complain(text: str, *, quiet: bool = False) -> None:
    """Print a line to the error stream, unless the user wants quiet."""
    if not quiet:
        typer.echo(printable(f"s1s2: {text}"), err=True)


def say_json(value: Any) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=2))


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(redacted(super().format(record)))


def log_to_stderr(level: int) -> None:
    """Print what is logged from a level on; what others have written in it can do nothing to the terminal."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
