"""What a build is about: the recipe or locked plan in a file, and the source a lock was made from."""

import datetime as dt
import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import RecipeError
from ..recipe.parser import parse_recipe
from ..recipe.settings import Recipe
from .choices import Plan, is_lock, parse_lock

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


def sources_for(subject: Recipe | Plan, typed: str | None, typed_radar: str | None) -> tuple[str, str | None]:
    """Return the sources to open: what was typed, else what a lock was made from, else Earth Engine.

    Args:
        subject: What is to be built.
        typed: `--source`.
        typed_radar: `--radar-source`.

    Returns:
        The source, and another one for radar images if there is one.

    Raises:
        RecipeError: A lock was made from a catalogue on disk, whose place it does not know.
    """
    if isinstance(subject, Recipe):
        return typed or DEFAULT_SOURCE, typed_radar
    source = typed or _locked(subject, subject.source, "--source")
    if subject.radar_source is None:
        return source, typed_radar
    return source, typed_radar or _locked(subject, subject.radar_source, "--radar-source")


def _locked(subject: Plan, source: str, option: str) -> str:
    if source.startswith("catalogue:"):
        raise RecipeError(
            f"the locked recipe {subject.name!r} was made from the catalogue {source.removeprefix('catalogue:')!r} "
            f"on disk: say where it lies with {option} PATH"
        )
    return source
