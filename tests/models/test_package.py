"""The package's docstring is a map of its modules."""

import pkgutil
import re

import models


def test_every_module_is_on_the_map_and_nothing_else() -> None:
    named = set(re.findall(r"`(\w+)/?`", models.__doc__ or ""))
    assert named == {module.name for module in pkgutil.iter_modules(models.__path__)}
