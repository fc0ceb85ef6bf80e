"""The package's docstring is a map of its modules; it names each, and no other."""

import re
from pathlib import Path

import s1s2pairs


def test_the_map_names_every_module() -> None:
    folder = Path(s1s2pairs.__file__).parent
    there = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    named = {name.rstrip("/") for name in re.findall(r"`([a-z_]+/?)`", s1s2pairs.__doc__ or "")}
    assert named == there - {"__init__"}
