import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s1s2pairs.dataset.card import attribution, dump_card
from s1s2pairs.dataset.columns import COLUMNS
from s1s2pairs.dataset.contents import Contents
from s1s2pairs.dataset.dataset import open_dataset
from s1s2pairs.dataset.storage import Storage
from s1s2pairs.dataset.verify import inspect
from tests.s1s2pairs.conftest import Built


@pytest.fixture(scope="module")
def card(built: Built) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((built.root / "dataset.json").read_text())
    return loaded


def test_every_word_of_croissant_is_in_the_context(card: dict[str, Any]) -> None:
    """Each key below is a word of schema.org, of the context, or has a prefix that the context declares."""
    schema_org = {
        *("name", "description", "license", "url", "creator", "datePublished", "temporalCoverage", "version"),
        *("creditText", "keywords", "distribution", "contentUrl", "contentSize", "encodingFormat", "sha256"),
    }

    def check(value: object, path: str) -> None:
        if isinstance(value, list):
            for item in value:
                check(item, path)
        elif isinstance(value, dict):
            for key, inner in value.items():
                prefix = key.partition(":")[0]
                assert key in schema_org or key[0] == "@" or key in card["@context"] or prefix in card["@context"], path
                if not key.startswith("s1s2:") and key != "data":
                    check(inner, f"{path}.{key}")

    check({key: value for key, value in card.items() if key != "@context"}, "")
    assert card["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert card["@type"] == "sc:Dataset"


def test_ids_are_unique_and_references_lead_to_them(card: dict[str, Any]) -> None:
    ids: list[str] = []
    references: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, list):
            for item in value:
                walk(item)
        elif isinstance(value, dict):
            if "@id" in value:
                (references if set(value) == {"@id"} else ids).append(value["@id"])
            for inner in value.values():
                walk(inner)

    walk({key: value for key, value in card.items() if key != "@context"})
    assert len(ids) == len(set(ids))
    assert set(references) <= set(ids)


def test_files_and_patterns_lead_to_what_is_there(card: dict[str, Any], built: Built) -> None:
    index = open_dataset(built.root).index
    patterns = {}
    for entry in card["distribution"]:
        if entry["@type"] == "cr:FileObject":
            content = (built.root / entry["contentUrl"]).read_bytes()
            assert entry["sha256"] == hashlib.sha256(content).hexdigest()
            assert entry["contentSize"] == f"{len(content)} B"
        else:
            found = {path.relative_to(built.root).as_posix() for path in built.root.glob(entry["includes"])}
            patterns[entry["@id"]] = found
    assert patterns["s1-patches"] == set(index["s1_path"])
    assert patterns["s2-patches"] == set(index["s2_path"])
    assert len(patterns["s1-rasters"]) == len(patterns["s2-rasters"]) == 4


def test_fields_are_the_columns_of_the_index(card: dict[str, Any], built: Built) -> None:
    [fields] = [records["field"] for records in card["recordSet"] if records["@id"] == "patches"]
    assert [field["name"] for field in fields] == list(COLUMNS)
    row = open_dataset(built.root).index.iloc[0]
    kinds = {"sc:Integer": "i", "sc:Float": "f", "sc:Boolean": "b"}
    dtypes = open_dataset(built.root).index.dtypes
    for field in fields:
        assert bool(field.get("repeated")) == isinstance(row[field["name"]], np.ndarray)
        if field["dataType"] in kinds and not field.get("repeated"):
            assert dtypes[field["name"]].kind == kinds[field["dataType"]]


def test_counts_bands_and_settings(card: dict[str, Any], built: Built) -> None:
    assert card["s1s2:counts"] == {
        "rois": 2,
        "patches": 12,
        "pairs": 24,
        "pairs_by_split": {"test": 12, "train": 12},
        "pairs_by_period": {"2019": 12, "2020": 12},
    }
    s1, s2 = card["s1s2:bands"]["s1"], card["s1s2:bands"]["s2"]
    assert [(band["name"], band["unit"], band["nodata"]) for band in s1] == [
        ("VV", "dB", "NaN"),
        ("VH", "dB", "NaN"),
        ("count", "1", 0),
    ]
    assert [(band["name"], band["scale"], band["nodata"]) for band in s2] == [
        ("B4", 1e-4, 0),
        ("B8", 1e-4, 0),
        ("clear", 1.0, 0),
    ]
    assert card["s1s2:settings"]["patch"]["size"] == 16
    assert card["creditText"] == "Contains modified Copernicus Sentinel data 2019-2020"


def test_no_clock_and_no_path_of_this_machine(card: dict[str, Any], built: Built) -> None:
    text = (built.root / "dataset.json").read_text()
    assert str(built.root) not in text
    assert str(Path.home()) not in text
    newest = max(open_dataset(built.root).index["s1_mean_time"]).date()
    assert card["datePublished"][:4] == str(newest.year)


@pytest.fixture
def contents(built: Built) -> Contents:
    found = inspect(Storage(str(built.root))).contents
    assert found is not None
    return found


def test_failures_stand_with_their_reasons(contents: Contents) -> None:
    card = json.loads(dump_card(replace(contents, failures={"south": "no <clear> scene"}), []))
    assert card["s1s2:failures"] == [{"roi": "south", "reason": "no <clear> scene"}]
    assert card["s1s2:counts"]["rois"] == 1


def test_a_simulated_world_claims_no_copernicus_data(contents: Contents) -> None:
    plan = replace(contents.plan, source="catalogue:s1s2-simulated")
    assert attribution(plan, 2019, 2021) == "Simulated scenes; contains no Copernicus Sentinel data"
    card = json.loads(dump_card(replace(contents, plan=plan), []))
    assert "opernicus.eu" not in json.dumps(card)
    assert attribution(contents.plan, 2019, 2019) == "Contains modified Copernicus Sentinel data 2019"
