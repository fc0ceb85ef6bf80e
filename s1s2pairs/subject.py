"""What a build is about: the recipe or locked plan in a file, and the source a lock was made from."""

import datetime as dt
import re
from collections.abc import Sequence
from pathlib import Path

from .errors import RecipeError
from .plan import Plan, is_lock, parse_lock
from .recipe import Recipe
from .recipe_parser import parse_recipe

DEFAULT_SOURCE = "earthengine"


def load(
    path: Path, *, years: Sequence[int] = (), default_years: Sequence[int] = (), today: dt.date | None = None
) -> Recipe | Plan:
    """Read a recipe, or a recipe with its choices locked in.

    Args:
        path: The file.
        years: Years asked for; a lock's periods are fixed, so it takes none.
        default_years: Years of ROIs that list no periods, where no years are asked for.
        today: Periods from here on are refused; the present day unless given.

    Raises:
        RecipeError: The file cannot be read, or is wrong in any way.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise RecipeError(
            f"{path}: cannot be read ({reason}); give the path of a recipe, such as rois/small.geojson"
        ) from error
    if is_lock(text):
        if years:
            raise RecipeError(
                f"{path}: its choices are locked in, periods included; leave out --years or start from the recipe"
            )
        return parse_lock(text, file=str(path))
    name = re.sub(r"[^a-z0-9_-]+", "_", path.name.split(".")[0].lower())
    today = today or dt.datetime.now(tz=dt.UTC).date()
    return parse_recipe(text, file=str(path), today=today, default_name=name, years=years, default_years=default_years)


def source_for(subject: Recipe | Plan, typed: str | None) -> str:
    """Return the source to open: what was typed, else the one a lock was made from, else Earth Engine.

    Raises:
        RecipeError: A lock was made from a catalogue on disk, whose place it does not know.
    """
    if typed is not None:
        return typed
    if isinstance(subject, Recipe):
        return DEFAULT_SOURCE
    if subject.source.startswith("catalogue:"):
        raise RecipeError(
            f"the locked recipe {subject.name!r} was made from the catalogue {subject.source.removeprefix('catalogue:')!r} "
            "on disk: say where it lies with --source PATH"
        )
    return subject.source
