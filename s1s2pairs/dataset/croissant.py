"""The words of Croissant 1.0 in which the card describes files and columns."""

import hashlib
from typing import Any, Final

from .columns import COLUMNS, NUMBERS, TEXT_LISTS, TIMES, WHOLE
from .layout import INDEX_FILE, patches_pattern, rasters_pattern

CONTEXT: Final[dict[str, Any]] = {
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


def file_object(path: str, content: bytes, *, what: str, encoding_format: str) -> dict[str, Any]:
    """Return what is said of one file.

    Args:
        path: Where it lies in the dataset.
        content: Of the file.
        what: What it holds, for people.
        encoding_format: Media type.
    """
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "description": what,
        "contentUrl": path,
        "contentSize": f"{len(content)} B",
        "encodingFormat": encoding_format,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def file_sets() -> list[dict[str, Any]]:
    """Return what is said of the images."""
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


def splits() -> dict[str, Any]:
    """Return the table of the splits."""
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


def patches() -> dict[str, Any]:
    """Return what is said of the index: each of its columns is a field."""
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
