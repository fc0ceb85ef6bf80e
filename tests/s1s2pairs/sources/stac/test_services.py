"""Items as public services really give them: shapes of recorded ones, cut down to what matters here.

Recorded in Open-EO/openeo-geopyspark-driver@9baf2e10 (CDSE), stac-utils/stac-geoparquet@004ae5c7 (Planetary Computer),
stactools-packages/sentinel1@86634d8f (Indigo on AWS), digitalearthafrica (Digital Earth Africa).
"""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from s1s2pairs.acquisitions import OpticalScene
from s1s2pairs.errors import SourceError
from s1s2pairs.sources.grouping import group_optical
from s1s2pairs.sources.stac.items import Item, item_from_json
from s1s2pairs.sources.stac.scenes import (
    angle_raster,
    backscatter_raster,
    is_wanted_sar,
    optical_scene,
    reflectance_raster,
    scl_raster,
)
from tests.refusals import refuses

SQUARE = {"type": "Polygon", "coordinates": [[[3, 50], [4, 50], [4, 51], [3, 51], [3, 50]]]}


def item(id_: str, collection: str, properties: dict[str, Any], assets: dict[str, Any], **changes: Any) -> Item:
    value = {"type": "Feature", "id": id_, "geometry": SQUARE, "properties": properties, "assets": assets} | changes
    return item_from_json(value, href=f"https://api.example.org/{id_}", collection=collection)


# --- Copernicus Data Space (CDSE), v1 -----------------------------------------------------------------------------------

CDSE_NAME = "S2C_MSIL2A_20260527T014651_N0512_R017_T55WFR_20260527T042005"
CDSE_FOLDER = f"s3://eodata/Sentinel-2/MSI/L2A/2026/05/27/{CDSE_NAME}.SAFE"
CDSE_BANDS = {
    "10m": ("B02", "B03", "B04", "B08", "AOT", "TCI", "WVP"),
    "20m": ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B11", "B12", "B8A", "AOT", "SCL"),
    "60m": ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B09", "B11", "B12", "B8A", "AOT", "SCL"),
}


def cdse(**properties: Any) -> Item:
    assets: dict[str, Any] = {"product_metadata": {"href": f"{CDSE_FOLDER}/MTD_MSIL2A.xml"}}
    for size, bands in CDSE_BANDS.items():
        for band in bands:
            folder = f"{CDSE_FOLDER}/GRANULE/L2A_T55WFR_A008996_20260527T014647/IMG_DATA/R{size}"
            asset = {
                "href": f"{folder}/T55WFR_20260527T014651_{band}_{size}.jp2",
                "proj:code": "EPSG:32655",
                "nodata": 0,
            }
            if band.startswith("B"):
                asset |= {"data_type": "uint16", "raster:scale": 0.0001, "raster:offset": -0.1}
            assets[f"{band}_{size}"] = asset | {"bands": [{"name": band}], "storage:refs": ["cdse-s3", "creodias-s3"]}
    stated = {
        "datetime": "2026-05-27T01:46:51.025000Z",
        "start_datetime": "2026-05-27T01:46:51.025000Z",
        "platform": "sentinel-2c",
        "grid:code": "MGRS-55WFR",
        "eopf:datatake_id": "GS2C_20260527T014651_008996_N05.12",
        "eopf:datastrip_id": "S2C_OPER_MSI_L2A_DS_2CPS_20260527T042005_S20260527T014647_N05.12",
        "processing:version": "05.12",
        "processing:datetime": "2026-05-27T04:20:05.000000Z",
        "sat:relative_orbit": 17,
        "view:incidence_angle": 5.02719722657594,
        "storage:schemes": {
            "cdse-s3": {"type": "custom-s3", "platform": "https://eodata.dataspace.copernicus.eu"},
            "creodias-s3": {"type": "custom-s3", "platform": "https://eodata.cloudferro.com"},
        },
    }
    return item(CDSE_NAME, "sentinel-2-l2a", stated | properties, assets)


@pytest.mark.parametrize(
    ("band", "name"),
    [
        ("B1", "B01_60m"),
        ("B2", "B02_10m"),
        ("B5", "B05_20m"),
        ("B8", "B08_10m"),
        ("B8A", "B8A_20m"),
        ("B11", "B11_20m"),
    ],
)
def test_cdse_lists_every_band_at_several_resolutions_and_the_native_one_is_read(band: str, name: str) -> None:
    raster = reflectance_raster(cdse(), band)
    assert raster.href.endswith(f"_{name}.jp2")
    assert raster.href.startswith("s3://eodata/")
    assert (raster.scale, raster.offset, raster.nodata, raster.crs) == (0.0001, -0.1, 0, "EPSG:32655")
    assert raster.endpoint == "https://eodata.dataspace.copernicus.eu"


def test_cdse_scene_classes_and_ids() -> None:
    raster = scl_raster(cdse())
    assert raster.href.endswith("_SCL_20m.jp2")
    assert (raster.scale, raster.offset) == (1.0, 0.0)
    scene = optical_scene(cdse())
    assert (scene.tile, scene.strip, scene.platform) == ("55WFR", "20260527T014647", "sentinel-2c")
    assert scene.datatake_id == "GS2C_20260527T014651_008996_N05.12"
    assert scene.processed == "05.12 2026-05-27T04:20:05.000000Z"


def test_what_an_item_has_is_listed_and_shortened() -> None:
    lame = cdse()
    lame = replace(lame, stated={key: asset for key, asset in lame.stated.items() if not key.startswith("B05")})
    with refuses(SourceError, lame.id, "B5", "rededge1, B05, B5, B05_20m", "AOT_10m, AOT_20m", "more"):
        reflectance_raster(lame, "B5")


# --- Two datastrips of one tile -----------------------------------------------------------------------------------------


def strips(first: OpticalScene, second: OpticalScene) -> int:
    """How many of two scenes of one datatake stay."""
    (group,) = group_optical([first, second])
    return len(group)


def test_two_datastrips_of_a_tile_both_stay() -> None:
    other = "S2C_OPER_MSI_L2A_DS_2CPS_20260527T042005_S20260527T014802_N05.12"
    one, two = optical_scene(cdse()), replace(optical_scene(cdse(**{"eopf:datastrip_id": other})), id="other")
    assert strips(one, two) == 2
    assert strips(one, replace(one, id="again")) == 1


def test_the_granule_s_folder_names_the_datastrip_where_nothing_else_does() -> None:
    assert optical_scene(cdse(**{"eopf:datastrip_id": None})).strip == "20260527T014647"


def test_without_any_datastrip_only_the_same_second_is_a_duplicate() -> None:
    bare = item("I", "s2", {"datetime": "2023-07-01T10:46:30.262Z", "grid:code": "MGRS-31UFU"}, {})
    one = optical_scene(bare)
    assert one.strip == ""
    assert strips(one, replace(one, id="J", acquired_at=one.acquired_at + dt.timedelta(seconds=0.5))) == 1
    assert strips(one, replace(one, id="J", acquired_at=one.acquired_at + dt.timedelta(seconds=14))) == 2


# --- Radar --------------------------------------------------------------------------------------------------------------


def test_a_planetary_computer_slice_begins_at_its_start() -> None:
    """`datetime` is its middle, and the start is written with a blank."""
    made = item(
        "S1A_IW_GRDH_1SDV_20240419T045904_20240419T045916_053498_067DF2_rtc",
        "sentinel-1-rtc",
        {"datetime": "2024-04-19T04:59:10.436706Z", "start_datetime": "2024-04-19 04:59:04.220006+00:00"},
        {},
    )
    assert made.started_at == dt.datetime(2024, 4, 19, 4, 59, 4, 220006, tzinfo=dt.UTC)
    assert made.acquired_at == dt.datetime(2024, 4, 19, 4, 59, 10, 436706, tzinfo=dt.UTC)
    assert item("I", "c", {"datetime": "2024-04-19T04:59:10Z"}, {}).started_at.second == 10


def indigo() -> Item:
    """Gamma0 tiles of the USA on AWS; their `incidence` is the angle to the slope."""
    folder = (
        "https://sentinel-s1-rtc-indigo.s3.us-west-2.amazonaws.com/tiles/RTC/1/IW/17/R/MJ/2020/S1A_20200103_17RMJ_ASC"
    )
    band = {"nodata": 0, "data_type": "float32"}
    angle = {"nodata": 0, "data_type": "uint16", "unit": "degrees", "scale": 0.01}
    return item(
        "S1A_20200103_17RMJ_ASC",
        "sentinel1-rtc-aws",
        {"sar:instrument_mode": "IW", "sar:polarizations": ["VV", "VH"], "proj:code": "EPSG:32617"},
        {
            "gamma0_vv": {"href": f"{folder}/Gamma0_VV.tif", "raster:bands": [band]},
            "gamma0_vh": {"href": f"{folder}/Gamma0_VH.tif", "raster:bands": [band]},
            "incidence": {"href": f"{folder}/local_incident_angle.tif", "raster:bands": [angle]},
        },
    )


def test_indigo_s_gamma0_is_read_and_its_local_angle_is_not() -> None:
    assert is_wanted_sar(indigo(), ("VV", "VH"))
    raster = backscatter_raster(indigo(), "VH")
    assert raster.href.endswith("/Gamma0_VH.tif")
    assert (raster.nodata, raster.decibel) == (0, False)
    assert angle_raster(indigo()) is None


def test_a_local_angle_is_never_taken_for_the_ellipsoid_s() -> None:
    assets = {"angle": {"href": "angle.tif"}}
    stated = {"proj:epsg": 4326}
    assert angle_raster(item("I", "s1_rtc", stated, assets)) is None
    assert angle_raster(item("I", "sentinel-1-rtc", stated, assets)) is not None
    said = {"angle": {"href": "angle.tif", "roles": ["data", "local-incidence-angle"]}}
    assert angle_raster(item("I", "sentinel-1-rtc", stated, said)) is None


# --- Digital Earth Africa ------------------------------------------------------------------------------------------------


def test_digital_earth_africa_s_images_have_had_their_offset_taken_off() -> None:
    made = item(
        "3c4a6c0e",
        "s2_l2a",
        {
            "datetime": "2023-01-03T06:24:53Z",
            "platform": "sentinel-2b",
            "sentinel:utm_zone": 40,
            "sentinel:latitude_band": "K",
            "sentinel:grid_square": "ED",
            "sentinel:boa_offset_applied": True,
            "sentinel:processing_baseline": "05.09",
            "sentinel:product_id": "S2B_MSIL2A_20230103T062449_N0509_R091_T40KED_20230103T075000",
            "proj:epsg": 32740,
        },
        {name: {"href": f"s3://deafrica-sentinel-2/sentinel-s2-l2a-cogs/{name}.tif"} for name in ("B02", "SCL")},
    )
    raster = reflectance_raster(made, "B2")
    assert (raster.scale, raster.offset, raster.nodata) == (0.0001, 0.0, 0)
    scene = optical_scene(made)
    assert (scene.tile, scene.processed) == ("40KED", "05.09")


# --- Outlines -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("empty", [[], [[]]])
def test_empty_parts_of_a_footprint_are_left_out(empty: list[object]) -> None:
    """As S1A_EW_GRDM_1SSH_20150129T081916 of the Planetary Computer has it."""
    outline = {"type": "MultiPolygon", "coordinates": [SQUARE["coordinates"], empty]}
    assert item("I", "c", {}, {}, geometry=outline).footprint.area == pytest.approx(1.0)
    with refuses(SourceError, "item I", "geometry"):
        item("I", "c", {}, {}, geometry={"type": "MultiPolygon", "coordinates": [empty]})
