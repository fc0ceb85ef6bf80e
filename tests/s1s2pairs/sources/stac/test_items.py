"""What items of the known catalogues mean, with the properties and assets those catalogues really have."""

import datetime as dt
import math
from dataclasses import replace
from typing import Any

import pytest

from s1s2pairs.errors import SourceError
from s1s2pairs.sources.grouping import group_optical
from s1s2pairs.sources.stac.items import Item, item_from_json, platform
from s1s2pairs.sources.stac.scenes import (
    annotation_hrefs,
    backscatter_raster,
    is_wanted_sar,
    optical_scene,
    reflectance_raster,
    relative_orbit,
    scl_raster,
)
from tests.refusals import refuses

SQUARE = {"type": "Polygon", "coordinates": [[[3, 50], [4, 50], [4, 51], [3, 51], [3, 50]]]}


def item(properties: dict[str, Any], assets: dict[str, Any], **changes: Any) -> Item:
    value = {"type": "Feature", "id": "I", "geometry": SQUARE, "properties": properties, "assets": assets} | changes
    return item_from_json(value, href="/archive/I/I.json", collection="c")


def earth_search(**properties: Any) -> Item:
    """As Earth Search v1 gives sentinel-2-l2a: the offset is listed whether or not it is still in the pixels."""
    band = {"nodata": 0, "data_type": "uint16", "scale": 0.0001, "offset": -0.1}
    return item(
        {
            "datetime": "2023-07-01T10:46:30.262000Z",
            "platform": "sentinel-2a",
            "grid:code": "MGRS-31UFU",
            "proj:epsg": 32631,
            "s2:processing_baseline": "05.09",
            "s2:datatake_id": "GS2A_20230701T103631_041904_N05.09",
            "s2:datastrip_id": "S2A_OPER_MSI_L2A_DS_2APS_20230701T200058_S20230701T104159_N05.09",
            "updated": "2023-07-02T01:49:17.191Z",
        }
        | {name.replace("__", ":"): value for name, value in properties.items()},
        {
            "nir08": {"href": "https://example.org/B8A.tif", "raster:bands": [band]},
            "scl": {"href": "https://example.org/SCL.tif"},
            "thumbnail": {"href": "https://example.org/x.jpg"},
        },
    )


def planetary_computer(**properties: Any) -> Item:
    """As the Planetary Computer gives sentinel-2-l2a: no `raster:bands`."""
    return item(
        {
            "datetime": "2023-07-01T10:36:31.024000Z",
            "platform": "Sentinel-2A",
            "proj:code": "EPSG:32631",
            "s2:mgrs_tile": "31UFU",
            "s2:processing_baseline": "05.09",
            "s2:datatake_id": "GS2A_20230701T103631_041904_N05.09",
            "s2:datastrip_id": "S2A_OPER_MSI_L2A_DS_2APS_20230701T200058_S20230701T104159_N05.09",
            "s2:generation_time": "2023-07-01T20:00:58.000000Z",
        }
        | {name.replace("__", ":"): value for name, value in properties.items()},
        {name: {"href": f"https://example.org/{name}.tif"} for name in ("B8A", "B02", "SCL")},
    )


def test_the_same_scene_in_both_catalogues_reads_alike() -> None:
    one, other = optical_scene(earth_search()), optical_scene(planetary_computer())
    for field in ("platform", "tile", "strip", "datatake_id"):
        assert getattr(one, field) == getattr(other, field)
    assert (one.tile, one.strip) == ("31UFU", "20230701T104159")
    assert one.acquired_at == dt.datetime(2023, 7, 1, 10, 46, 30, 262000, tzinfo=dt.UTC)
    assert reflectance_raster(earth_search(), "B8A").href.endswith("/B8A.tif")
    assert scl_raster(planetary_computer()).href.endswith("/SCL.tif")


UNKNOWN_BASELINE = {"s2__processing_baseline": None, "s2__datatake_id": None}


@pytest.mark.parametrize(
    ("made", "offset"),
    [
        (earth_search(earthsearch__boa_offset_applied=True), 0.0),
        (earth_search(earthsearch__boa_offset_applied=False), -0.1),
        (earth_search(), -0.1),
        (planetary_computer(), -0.1),
        (planetary_computer(s2__processing_baseline="04.00"), -0.1),
        (planetary_computer(s2__processing_baseline="03.01"), 0.0),
        (planetary_computer(datetime="2022-01-24T10:00:00Z", **UNKNOWN_BASELINE), 0.0),
    ],
)
def test_the_offset_of_every_catalogue(made: Item, offset: float) -> None:
    raster = reflectance_raster(made, "B8A")
    assert (raster.scale, raster.offset, raster.nodata) == (0.0001, offset, 0)


def test_an_unknown_offset_is_refused() -> None:
    made = planetary_computer(**UNKNOWN_BASELINE)
    with refuses(SourceError, "item I", "raster:bands", "s2:processing_baseline", 1000):
        reflectance_raster(made, "B8A")


def test_fields_of_stac_1_1_count_like_raster_bands() -> None:
    asset = {"href": "x.tif", "raster:scale": 0.0002, "bands": [{"name": "blue", "raster:offset": -0.2, "nodata": 7}]}
    raster = reflectance_raster(item({"proj:code": "EPSG:32631"}, {"blue": asset}), "B2")
    assert (raster.scale, raster.offset, raster.nodata) == (0.0002, -0.2, 7)
    assert raster.href == "/archive/I/x.tif"


def test_units_and_nodata_of_radar() -> None:
    band = {"unit": "dB", "nodata": "nan", "data_type": "int16", "scale": 0.01}
    raster = backscatter_raster(item({"proj:wkt2": "LOCAL"}, {"VV": {"href": "vv.tif", "raster:bands": [band]}}), "VV")
    assert raster.decibel
    assert raster.scale == 0.01
    assert raster.nodata is not None
    assert math.isnan(raster.nodata)


def test_uncalibrated_radar_and_radar_geometry_are_refused() -> None:
    band = {"data_type": "uint16"}
    with refuses(SourceError, "item I", "asset vv", "uint16", "unit", "scale", "dB"):
        backscatter_raster(item({"proj:epsg": 4326}, {"vv": {"href": "vv.tif", "raster:bands": [band]}}), "VV")
    with refuses(SourceError, "item I", "/archive/I/I.json", "asset vv", "CRS", "proj:code"):
        backscatter_raster(item({"proj:epsg": None}, {"vv": {"href": "vv.tif"}}), "VV")


def test_a_missing_asset_is_named_with_what_there_is() -> None:
    with refuses(SourceError, "item I", "B11", "swir16, B11, B11_20m", "nir08, scl, thumbnail"):
        reflectance_raster(earth_search(), "B11")


@pytest.mark.parametrize(
    ("properties", "wanted"),
    [
        ({"sar:instrument_mode": "IW", "sar:polarizations": ["VV", "VH"]}, True),
        ({"sar:instrument_mode": "IW", "sar:polarizations": ["VV"]}, False),
        ({"sar:instrument_mode": "EW", "sar:polarizations": ["VV", "VH"]}, False),
        ({"sar:instrument_mode": "IW"}, True),
    ],
)
def test_which_radar_items_count(properties: dict[str, Any], wanted: bool) -> None:
    made = item(properties, {"vv": {"href": "a"}, "VH": {"href": "b"}})
    assert is_wanted_sar(made, ("VV", "VH")) is wanted


def test_a_radar_item_must_say_its_mode_and_orbit() -> None:
    with refuses(SourceError, "item I", "sar:instrument_mode"):
        is_wanted_sar(item({}, {"vv": {}}), ("VV",))
    with refuses(SourceError, "item I", "sat:relative_orbit", "missing"):
        relative_orbit(item({"platform": "sentinel-1a"}, {}))
    assert relative_orbit(item({"platform": "SENTINEL-1A", "sat:absolute_orbit": 40809}, {})) == 137
    with refuses(SourceError, "item I", "sat:relative_orbit", "x"):
        relative_orbit(item({"sat:relative_orbit": "x"}, {}))


def test_the_newest_processing_sorts_last() -> None:
    old = optical_scene(planetary_computer(s2__processing_baseline="02.14"))
    new = optical_scene(planetary_computer(s2__processing_baseline="05.00"))
    assert old.processed < new.processed
    later = optical_scene(planetary_computer(s2__generation_time="2024-07-01T20:00:58Z"))
    assert optical_scene(planetary_computer()).processed < later.processed


def test_a_reprocessed_scene_replaces_the_old_one_though_its_datatake_id_names_another_baseline() -> None:
    old = planetary_computer(s2__processing_baseline="02.14", s2__datatake_id="GS2A_20230701T103631_041904_N02.14")
    new = replace(planetary_computer(), id="J")
    assert group_optical([optical_scene(new), optical_scene(old)]) == ((optical_scene(new),),)


def test_a_datatake_id_tells_the_baseline_where_nothing_else_does() -> None:
    def scene(id_: str, baseline: str) -> Item:
        datatake = f"GS2A_20230701T103631_041904_N{baseline}"
        made = planetary_computer(s2__processing_baseline=None, s2__datatake_id=datatake)
        return replace(made, id=id_)

    old, new = optical_scene(scene("Z", "03.01")), optical_scene(scene("A", "05.00"))
    assert group_optical([new, old]) == ((new,),)
    assert reflectance_raster(scene("A", "05.00"), "B8A").offset == -0.1
    assert reflectance_raster(scene("Z", "03.01"), "B8A").offset == 0.0


@pytest.mark.parametrize(
    ("id_", "properties", "satellite"),
    [
        ("S1B_IW_GRDH_1SDV_20190601", {}, "sentinel-1b"),
        ("S2A_31UDS_20190601_0_L2A", {}, "sentinel-2a"),
        ("S1B_IW_GRDH_1SDV_20190601", {"platform": "Sentinel-1A"}, "sentinel-1a"),
        ("radar-7", {}, "unknown"),
    ],
)
def test_an_item_need_not_name_its_satellite(id_: str, properties: dict[str, Any], satellite: str) -> None:
    assert platform(item(properties, {}, id=id_)) == satellite


def test_the_annotation_is_found_beside_the_rasters() -> None:
    made = item({}, {"schema-product-vh": {"href": "./a-vh.xml"}, "schema-product-vv": {"href": "./a-vv.xml"}})
    assert annotation_hrefs(made) == ["/archive/I/a-vv.xml", "/archive/I/a-vh.xml"]
    assert annotation_hrefs(item({}, {"vv": {"href": "x"}})) == []


def test_a_report_on_interference_is_no_annotation() -> None:
    """As Earth Search lists products of late 2022."""
    base = "s3://sentinel-s1-l1c/GRD/2022/11/30/IW/DV/S1A_IW_GRDH_X/annotation"
    made = item(
        {},
        {f"schema-product-{p}": {"href": f"{base}/{f}"} for p, f in (("vv", "rfi/rfi-iw-vv.xml"), ("vh", "iw-vh.xml"))},
    )
    assert annotation_hrefs(made) == [f"{base}/iw-vh.xml"]


@pytest.mark.parametrize(
    ("value", "named", "but_not"),
    [
        ([], ("STAC",), ("properties", "assets", "geometry")),
        ({"type": "Feature", "id": 3}, ("STAC", "id"), ("properties", "assets", "geometry")),
        ({"type": "Feature", "id": "I", "properties": {}}, ("item I", "properties", "assets"), ("geometry",)),
        (
            {"type": "Feature", "id": "I", "properties": {}, "assets": {}, "geometry": None},
            ("item I", "geometry"),
            ("assets",),
        ),
        (
            {
                "type": "Feature",
                "id": "I",
                "properties": {},
                "assets": {},
                "geometry": {"type": "Polygon", "coordinates": [[[0]]]},
            },
            ("item I", "geometry"),
            ("assets",),
        ),
    ],
)
def test_what_is_no_item_is_refused_with_its_file(
    value: object, named: tuple[str, ...], but_not: tuple[str, ...]
) -> None:
    with refuses(SourceError, "/x/i.json", *named, but_not=but_not):
        item_from_json(value, href="/x/i.json")


def test_times_without_zone_are_utc_and_nonsense_is_refused() -> None:
    assert item({"datetime": "2020-01-01T00:00:00"}, {}).acquired_at == dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    started = item({"datetime": None, "start_datetime": "2020-01-01T02:00:00+02:00"}, {})
    assert started.acquired_at == dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    with refuses(SourceError, "item I", "soon", "ISO 8601"):
        _ = item({"datetime": "soon"}, {}).acquired_at
