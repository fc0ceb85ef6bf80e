"""dataset.json, the card: what a dataset holds, for people and programs, as Croissant 1.0 JSON-LD.

No clock, no path of this machine: the same dataset gives the same bytes.
"""

import datetime as dt
import importlib.metadata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..plan.choices import Plan
from ..plan.lock import roi_to_json
from ..sensors import Band, Layout
from . import croissant
from .contents import Contents
from .layout import LOCK_FILE
from .left_out import CARD_LEFT_OUT_KEY
from .seal import seal
from .units import Unit, units_of

CARD_VERSION_KEY: Final = "s1s2:softwareVersion"
CARD_RASTERS_KEY: Final = "s1s2:rasters"
CARD_FAILURES_KEY: Final = "s1s2:failures"
_SENTINEL_TERMS: Final = {
    "license": "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice",
    "url": "https://dataspace.copernicus.eu/",
}
_SIMULATED_TERMS: Final = {"license": "https://spdx.org/licenses/CC0-1.0"}


def software_version() -> str:
    """Return the version of this package."""
    return importlib.metadata.version("s1s2pairs")


def dump_card(contents: Contents, derived: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the text of `dataset.json`.

    Args:
        contents: What the dataset holds: at least one row.
        derived: What is said of the index and of files like it, as `croissant.file_object` gives it.
    """
    plan, rows = contents.plan, contents.rows
    built = {row["roi"] for row in rows}
    units = [unit for unit in units_of(plan) if unit.roi.name in built]
    days = sorted(day for unit in units for day in _days(unit))
    credit = attribution(plan, days[0].year, days[-1].year)
    card = {
        "@context": croissant.CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": plan.name,
        "description": _description(plan, rows),
        **(_SIMULATED_TERMS if _is_simulated(plan) else _SENTINEL_TERMS),
        "creator": {"@type": "sc:Organization", "name": "s1s2pairs", "description": "software that built the dataset"},
        # Croissant asks for a day; the newest scene's is the one that is the same in every build.
        "datePublished": days[-1].isoformat(),
        "temporalCoverage": f"{days[0].isoformat()}/{days[-1].isoformat()}",
        "version": "1.0.0",
        "creditText": credit,
        "citeAs": f"{plan.name}, a dataset built with s1s2pairs {software_version()}. {credit}.",
        "keywords": ["Sentinel-1", "Sentinel-2", "SAR", "optical", "image translation"],
        "distribution": [*derived, _lock_file(contents.lock), *croissant.file_sets()],
        "recordSet": [croissant.splits(), croissant.patches()],
        CARD_VERSION_KEY: software_version(),
        "s1s2:source": plan.source,
        **({} if plan.radar_source is None else {"s1s2:radar_source": plan.radar_source}),
        "s1s2:counts": _counts(rows),
        "s1s2:bands": {"s1": _bands(units, "s1"), "s2": _bands(units, "s2")},
        "s1s2:settings": _common_settings(plan),
        CARD_FAILURES_KEY: [{"roi": roi, "reason": reason} for roi, reason in contents.failures.items()],
        **({CARD_LEFT_OUT_KEY: contents.left_out} if contents.left_out else {}),
        CARD_RASTERS_KEY: {unit.raster_path: record.sha256 for unit, record in contents.records.items()},
    }
    return seal(card)


def _days(unit: Unit) -> list[dt.date]:
    if unit.sensor == "s1":
        return [acquisition.acquired_at.date() for acquisition in unit.period.sar]
    return [acquisition.acquired_at.date() for acquisition in unit.period.optical]


def _is_simulated(plan: Plan) -> bool:
    return plan.source == "catalogue:s1s2-simulated"


def attribution(plan: Plan, first_year: int, last_year: int) -> str:
    """Return the sentence that the Copernicus terms ask for; a simulated world is called one."""
    if _is_simulated(plan):
        return "Simulated scenes; contains no Copernicus Sentinel data"
    years = f"{first_year}" if first_year == last_year else f"{first_year}-{last_year}"
    return f"Contains modified Copernicus Sentinel data {years}"


def _description(plan: Plan, rows: Sequence[Mapping[str, Any]]) -> str:
    patches, rois = len({row["patch_id"] for row in rows}), len({row["roi"] for row in rows})
    periods = ", ".join(dict.fromkeys(row["period"] for row in rows))
    return (
        f"{plan.name}: {patches} patches of {rois} places, each with a Sentinel-1 backscatter image (temporal mean, dB) and a "
        f"Sentinel-2 surface reflectance image on one UTM grid, in the periods {periods}."
    )


def _lock_file(lock: bytes) -> dict[str, Any]:
    return croissant.file_object(
        LOCK_FILE,
        lock,
        what="The recipe with every choice made: grid, orbit, scenes and dates.",
        encoding_format="application/geo+json",
    )


def _counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "rois": len({row["roi"] for row in rows}),
        "patches": len({row["patch_id"] for row in rows}),
        "pairs": len(rows),
        "pairs_by_split": dict(sorted(Counter(row["split"] for row in rows).items())),
        "pairs_by_period": dict(sorted(Counter(row["period"] for row in rows).items())),
    }


def _bands(units: Sequence[Unit], sensor: str) -> list[dict[str, Any]]:
    """Return each band that occurs, with what its stored values mean."""
    layouts: list[Layout] = [unit.layout for unit in units if unit.sensor == sensor]
    bands = {band.name: (band, layout) for layout in layouts for band in layout.bands}
    return [_band(band, layout) for band, layout in bands.values()]


def _band(band: Band, layout: Layout) -> dict[str, Any]:
    nodata = "NaN" if layout.dtype == "float32" else int(layout.nodata)
    return {
        "name": band.name,
        "description": band.meaning,
        "unit": band.unit,
        "scale": band.scale,
        "offset": 0.0,
        "dtype": layout.dtype,
        "nodata": 0 if band.unit == "1" else nodata,
    }


def _common_settings(plan: Plan) -> dict[str, Any]:
    """Return the settings that all ROIs share; what differs per ROI stands in the lock file."""
    every = [roi_to_json(roi)["properties"] for roi in plan.rois]
    own = ("name", "split", "plan", "failed")
    return {key: value for key, value in every[0].items() if key not in own and all(roi[key] == value for roi in every)}
