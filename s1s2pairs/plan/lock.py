"""The lock: a recipe with its choices written in. Reads recipes and locks, and writes locks."""

import datetime as dt
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import shapely
from pydantic import TypeAdapter, ValidationError

from ..errors import RecipeError
from ..recipe.parser import parse_recipe
from ..recipe.settings import Recipe, Roi, Settings
from ..untrusted import MAX_RECIPE_BYTES, Unusable, parse_json, read_regular, shown
from .choices import Choices, Plan, RoiPlan

LOCK_VERSION = 1
DEFAULT_SOURCE = "earthengine"


def load(
    path: Path | str, *, years: Sequence[int] = (), default_years: Sequence[int] = (), today: dt.date | None = None
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
    path = Path(path)
    try:
        text = read_regular(path, most_bytes=MAX_RECIPE_BYTES).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
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


_CHOICES: TypeAdapter[Choices] = TypeAdapter(Choices)
_SETTINGS: TypeAdapter[Settings] = TypeAdapter(Settings)


def digest(value: object) -> str:
    """Return the SHA-256 of a value of plain JSON, keys sorted."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def roi_to_json(plan: RoiPlan) -> dict[str, Any]:
    """Return one ROI's plan as a GeoJSON feature."""
    properties: dict[str, Any] = {
        "name": plan.roi.name,
        "split": plan.roi.split,
        **_SETTINGS.dump_python(plan.roi.settings, mode="json"),
    }
    if plan.choices is None:
        properties["failed"] = plan.failure
    else:
        properties["plan"] = _CHOICES.dump_python(plan.choices, mode="json")
    return {"type": "Feature", "properties": properties, "geometry": shapely.geometry.mapping(plan.roi.polygon)}


def roi_from_json(feature: Mapping[str, Any], *, roi: Roi, file: str) -> RoiPlan:
    """Read back the choices that `roi_to_json` wrote for a ROI.

    Raises:
        RecipeError: The feature was altered so that it no longer is a plan for that ROI.
    """
    choices, failure = (feature["properties"].get(key) for key in ("plan", "failed"))
    damaged = f"{file}: the locked plan of {roi.name} is damaged"
    if choices is None:
        if not isinstance(failure, str):
            raise RecipeError(f"{damaged}: it has neither `plan` nor the reason `failed`; plan again from the recipe")
        return RoiPlan(roi=roi, choices=None, failure=failure)
    try:
        parsed = _CHOICES.validate_json(json.dumps(choices))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(step) for step in first["loc"])
        raise RecipeError(f"{damaged} at {path}: {first['msg']}; plan again from the recipe") from error
    labels, wanted = ([period.label for period in periods] for periods in (parsed.periods, roi.settings.periods))
    if labels != wanted:
        raise RecipeError(f"{damaged}: it has the periods {labels}, its settings {wanted}; plan again from the recipe")
    return RoiPlan(roi=roi, choices=parsed)


def dump_lock(plan: Plan) -> bytes:
    """Return the text of `recipe.lock.geojson`."""
    collection = {
        "type": "FeatureCollection",
        "name": plan.name,
        "s1s2": {
            "lock": LOCK_VERSION,
            **plan.sources_json(),
        },
        "features": [roi_to_json(roi) for roi in plan.rois],
    }
    return (json.dumps(collection, indent=1) + "\n").encode()


def is_lock(text: str) -> bool:
    """Tell whether the text of a recipe has its choices locked in."""
    try:
        return _lock_settings(parse_json(text)) is not None
    except Unusable:
        return False


def _lock_settings(collection: Any) -> Mapping[str, Any] | None:
    """Return what a lock says beside its ROIs, None where a collection is no lock."""
    settings = collection.get("s1s2") if isinstance(collection, dict) else None
    return settings if isinstance(settings, dict) and "lock" in settings else None


def parse_lock(text: str, *, file: str) -> Plan:
    """Read a locked recipe: checked like a recipe, then with its choices.

    Raises:
        RecipeError: It is no locked recipe, was altered, or was written by a later version.
    """
    try:
        collection = parse_json(text)
    except Unusable as error:
        raise RecipeError(f"{file}: {error}") from error
    settings = _lock_settings(collection)
    if settings is None:
        raise RecipeError(
            f"{file}: expected a recipe with its choices locked in (`s1s2.lock`), found {shown(collection)}"
        )
    source: Any = settings.get("source")
    version, radar_source = settings["lock"], settings.get("radar_source")
    if version != LOCK_VERSION:
        raise RecipeError(f"{file}: lock version {version!r}; this version of s1s2pairs reads {LOCK_VERSION}")
    for key, value, allowed in (("source", source, str), ("radar_source", radar_source, str | None)):
        if not isinstance(value, allowed):
            raise RecipeError(
                f"{file} at s1s2.{key}: expected the name of a source, found {shown(value)}; plan again from the recipe"
            )
    # What may overlap, and which periods lie in the past, was settled when the plan was made.
    recipe_text = json.dumps(_without_choices(collection))
    recipe = parse_recipe(recipe_text, file=file, today=dt.date.max, default_name="")
    pairs = zip(collection["features"], recipe.rois, strict=True)
    rois = tuple(roi_from_json(feature, roi=roi, file=file) for feature, roi in pairs)
    return Plan(name=recipe.name, source=source, rois=rois, radar_source=radar_source)


def _without_choices(collection: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe that a lock was made from, as JSON; what is malformed stays so."""

    def plain(feature: Any) -> Any:
        if not isinstance(feature, dict) or not isinstance(feature.get("properties"), dict):
            return feature
        properties = {key: value for key, value in feature["properties"].items() if key not in ("plan", "failed")}
        # A lock that does not know the setting was built with all its patches.
        properties.setdefault("min_valid_fraction", 0.0)
        return {**feature, "properties": properties}

    features = collection.get("features")
    undecided = [plain(feature) for feature in features] if isinstance(features, list) else features
    return {**collection, "s1s2": {"allow_split_overlap": True}, "features": undecided}
