"""dataset.json: what a dataset holds, for people and programs, as Croissant 1.0 JSON-LD.

No clock, no path of this machine: the same dataset gives the same bytes.
"""

import datetime as dt
import hashlib
import importlib.metadata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..plan.choices import Plan
from ..plan.lock import roi_to_json
from ..sensors import Band, Layout
from .columns import COLUMNS, NUMBERS, TEXT_LISTS, TIMES, WHOLE
from .layout import INDEX_FILE, LOCK_FILE, patches_pattern, rasters_pattern
from .left_out import CARD_LEFT_OUT_KEY, LeftOut
from .seal import seal
from .units import Unit, units_of

CARD_VERSION_KEY: Final = "s1s2:softwareVersion"
CARD_RASTERS_KEY: Final = "s1s2:rasters"
_SENTINEL_TERMS: Final = {
    "license": "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice",
    "url": "https://dataspace.copernicus.eu/",
}
_SIMULATED_TERMS: Final = {"license": "https://spdx.org/licenses/CC0-1.0"}

_CONTEXT: Final[dict[str, Any]] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "s1s2": "urn:s1s2pairs:",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the Croissant specification recommends, plus a prefix for what it has no words for."""

_REPEATED: Final = {"transform": "sc:Float", **dict.fromkeys(TEXT_LISTS, "sc:Text")}
_TYPES: Final = {
    **dict.fromkeys(WHOLE, "sc:Integer"),
    **dict.fromkeys(NUMBERS, "sc:Float"),
    **dict.fromkeys(TIMES, "sc:Date"),
    **_REPEATED,
    "season_locked": "sc:Boolean",
}


def software_version() -> str:
    """Return the version of this package."""
    return importlib.metadata.version("s1s2pairs")


def dump_card(
    plan: Plan,
    *,
    rows: Sequence[Mapping[str, Any]],
    rasters: Mapping[str, str],
    failures: Mapping[str, str],
    left_out: LeftOut,
    index: bytes,
    lock: bytes,
) -> bytes:
    """Return the text of `dataset.json`.

    Args:
        plan: The plan that was carried out.
        rows: The rows of the index, at least one.
        rasters: Path -> SHA-256 of the rasters, those that are kept of failed ROIs too.
        failures: ROI -> why it is not in the dataset.
        left_out: Patches that are not in the dataset for want of valid pixels.
        index: Content of the index file.
        lock: Content of the lock file.
    """
    built = {row["roi"] for row in rows}
    units = [unit for unit in units_of(plan) if unit.roi.name in built]
    days = sorted(day for unit in units for day in _days(unit))
    credit = attribution(plan, days[0].year, days[-1].year)
    card = {
        "@context": _CONTEXT,
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
        "distribution": [*_files(index, lock), *_file_sets()],
        "recordSet": [_splits(), _patches()],
        CARD_VERSION_KEY: software_version(),
        "s1s2:source": plan.source,
        **({} if plan.radar_source is None else {"s1s2:radar_source": plan.radar_source}),
        "s1s2:counts": _counts(rows),
        "s1s2:bands": {"s1": _bands(units, "s1"), "s2": _bands(units, "s2")},
        "s1s2:settings": _common_settings(plan),
        "s1s2:failures": [{"roi": roi, "reason": reason} for roi, reason in failures.items()],
        **({CARD_LEFT_OUT_KEY: left_out} if left_out else {}),
        CARD_RASTERS_KEY: dict(rasters),
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


def _files(index: bytes, lock: bytes) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileObject",
            "@id": INDEX_FILE,
            "name": INDEX_FILE,
            "description": "One row per patch and period (GeoParquet).",
            "contentUrl": INDEX_FILE,
            "contentSize": f"{len(index)} B",
            "encodingFormat": "application/x-parquet",
            "sha256": hashlib.sha256(index).hexdigest(),
        },
        {
            "@type": "cr:FileObject",
            "@id": LOCK_FILE,
            "name": LOCK_FILE,
            "description": "The recipe with every choice made: grid, orbit, scenes and dates.",
            "contentUrl": LOCK_FILE,
            "contentSize": f"{len(lock)} B",
            "encodingFormat": "application/geo+json",
            "sha256": hashlib.sha256(lock).hexdigest(),
        },
    ]


def _file_sets() -> list[dict[str, Any]]:
    sets = (
        ("s1-patches", "Radar patches.", patches_pattern("s1")),
        ("s2-patches", "Optical patches.", patches_pattern("s2")),
        ("s1-rasters", "Radar rasters of whole ROIs.", rasters_pattern("s1")),
        ("s2-rasters", "Optical rasters of whole ROIs.", rasters_pattern("s2")),
    )
    return [
        {
            "@type": "cr:FileSet",
            "@id": name,
            "name": name,
            "description": what,
            "encodingFormat": "image/tiff",
            "includes": pattern,
        }
        for name, what, pattern in sets
    ]


def _splits() -> dict[str, Any]:
    kinds = {"train": "training", "val": "validation", "test": "test"}
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "What a patch is for.",
        "key": {"@id": "splits/name"},
        "dataType": "cr:Split",
        "field": [
            {
                "@type": "cr:Field",
                "@id": "splits/name",
                "name": "name",
                "description": "Name of the split.",
                "dataType": "sc:Text",
            },
            {
                "@type": "cr:Field",
                "@id": "splits/use",
                "name": "use",
                "description": "What it is for.",
                "dataType": "sc:Text",
            },
        ],
        "data": [{"splits/name": name, "splits/use": use} for name, use in kinds.items()],
    }


def _patches() -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "patches",
        "name": "patches",
        "description": "One record per patch and period.",
        "key": [{"@id": "patches/patch_id"}, {"@id": "patches/period"}],
        "field": [_field(column, meaning) for column, meaning in COLUMNS.items()],
    }


def _field(column: str, meaning: str) -> dict[str, Any]:
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"patches/{column}",
        "name": column,
        "description": meaning,
        "dataType": _TYPES.get(column, "sc:Text"),
        "source": {"fileObject": {"@id": INDEX_FILE}, "extract": {"column": column}},
    }
    if column in _REPEATED:
        field["repeated"] = True
    if column == "split":
        field["references"] = {"field": {"@id": "splits/name"}}
    return field


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
