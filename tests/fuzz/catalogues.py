"""What is fuzzed of the sources: STAC items, catalogues on disk, answers of APIs and of Earth Engine, rasters."""

import datetime as dt
import io
import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import requests
from requests.adapters import HTTPAdapter

from s1s2pairs.acquisitions import RoiGrids, Span
from s1s2pairs.sources.earthengine import known, survey
from s1s2pairs.sources.registry import Access, open_source
from s1s2pairs.sources.stac.items import item_from_json
from s1s2pairs.sources.stac.raster import Raster, tags_of
from s1s2pairs.sources.stac.reading import read_classes, read_float, read_raw, read_smooth, tiles
from s1s2pairs.sources.stac.scenes import (
    angle_raster,
    annotation_hrefs,
    backscatter_raster,
    is_wanted_sar,
    optical_scene,
    reflectance_raster,
    sar_scene,
    scl_raster,
)
from s1s2pairs.untrusted import Unusable, parse_json
from tests.fuzz.containers import TIFF
from tests.fuzz.harness import Part, Target
from tests.fuzz.mutate import JSON, mutate_bytes
from tests.s1s2pairs.sources.stac.conftest import EPSG, TinyArchive, _place

JUNE = (Span(start=dt.datetime(2019, 6, 1, tzinfo=dt.UTC), end=dt.datetime(2019, 7, 1, tzinfo=dt.UTC)),)
BOTH = ("VV", "VH")
_LIST = "geolocationGridPointList"
_ANNOTATION = f"<product><geolocationGrid><{_LIST}>{{}}</{_LIST}></geolocationGrid></product>"
_POINT = (
    "<geolocationGridPoint><latitude>{}</latitude><longitude>{}</longitude>"
    "<incidenceAngle>{}</incidenceAngle></geolocationGridPoint>"
)


def write_archive(folder: Path) -> Path:
    """Write a catalogue of one radar and one optical item, 8 x 8 pixels of 80 m, with an annotation."""
    archive = TinyArchive(folder / "archive")
    power = np.full((8, 8), 0.1, np.float32)
    radar = archive.sar("S1", "2019-06-07T17:00:00Z", power, sat__absolute_orbit=27_581)
    radar["assets"]["schema-product-vv"] = {"href": "./annotation.xml", "roles": ["metadata"]}
    points = "".join(
        _POINT.format(lat, lon, 35 + lon - 3) for lat, lon in itertools.product((50.4, 50.5, 50.6), (2.9, 3.0, 3.1))
    )
    (archive.root / "sentinel-1-grd/S1/annotation.xml").write_text(_ANNOTATION.format(points))
    light = np.full((8, 8), 2000, np.uint16)
    extra = {"s2__datatake_id": "GS2A_20190601T105621_020580_N02.12", "s2__processing_baseline": "02.12"}
    archive.optical("S2", "2019-06-01T10:56:21Z", np.full((8, 8), 4, np.uint8), {"blue": light, "nir": light}, **extra)
    return archive.write()


def items(folder: Path) -> Target:
    """Items alone: every question that is asked of one."""
    root = write_archive(folder)
    sound = {name: (root / place).read_bytes() for name, place in _ITEMS.items()}

    def read(part: str, content: bytes) -> None:
        try:
            value = parse_json(content)
        except Unusable:  # as `StaticCatalogue` refuses it
            return
        item = item_from_json(value, href="/archive/item.json")
        if part == "radar":
            is_wanted_sar(item, BOTH)
            sar_scene(item)
            backscatter_raster(item, "VV")
            angle_raster(item)
            annotation_hrefs(item)
        else:
            optical_scene(item)
            reflectance_raster(item, "B2")
            scl_raster(item)

    return Target(name="items", parts={name: Part(sound=text, mutator=JSON) for name, text in sound.items()}, read=read)


_ITEMS = {"radar": "sentinel-1-grd/S1/S1.json", "optical": "sentinel-2-l2a/S2/S2.json"}
_CATALOGUE = {
    "catalog": "catalog.json",
    "radar-collection": "sentinel-1-grd/collection.json",
    "optical-collection": "sentinel-2-l2a/collection.json",
    **_ITEMS,
    "annotation": "sentinel-1-grd/S1/annotation.xml",
}


def _ask(name: str, place: RoiGrids) -> None:
    source = open_source(name)
    source.backscatter()
    radar = source.find_sar(place, JUNE, polarisations=BOTH)
    optical = source.find_optical(place, JUNE)
    if radar:
        source.mean_sar([one.scene_ids for one in radar], polarisations=("VV",), grid=place.grid)
    if optical:
        source.composite_optical([one.scene_ids for one in optical], bands=("B2",), method="median", grid=place.grid)


def catalogues(folder: Path) -> Target:
    """Whole small folders, one file of each spoilt."""
    root, place = write_archive(folder), _place(pixel_m=80.0)
    sound = {name: (root / path).read_bytes() for name, path in _CATALOGUE.items()}

    def read(part: str, content: bytes) -> None:
        try:
            (root / _CATALOGUE[part]).write_bytes(content)
            _ask(str(root), place)
        finally:
            (root / _CATALOGUE[part]).write_bytes(sound[part])

    parts = {
        name: Part(sound=text, mutator=mutate_bytes if name == "annotation" else JSON) for name, text in sound.items()
    }
    return Target(name="catalogues", parts=parts, read=read)


URL = "https://stac.example.org/v1"


def apis(folder: Path) -> Target:
    """Answers of a STAC API: its root, its collections, pages of searches. Nothing is sent."""
    root, place = write_archive(folder), _place(pixel_m=80.0)
    links = [
        {"rel": rel, "href": f"{URL}{path}"} for rel, path in (("self", ""), ("root", ""), ("data", "/collections"))
    ]
    links.append({"rel": "search", "href": f"{URL}/search", "method": "POST", "type": "application/geo+json"})
    kinds = ("core", "item-search", "ogcapi-features", "collections")
    catalog = json.loads((root / "catalog.json").read_bytes())
    conforms = [f"https://api.stacspec.org/v1.0.0/{kind}" for kind in kinds]
    sound: dict[str, Any] = {
        "root": catalog | {"stac_version": "1.0.0", "conformsTo": conforms, "links": links},
        "collection": json.loads((root / _CATALOGUE["radar-collection"]).read_bytes()) | {"links": []},
    }
    for name in ("radar", "optical"):
        item = json.loads((root / _ITEMS[name]).read_bytes())
        for key, asset in item["assets"].items():
            asset["href"] = ((root / _ITEMS[name]).parent / f"{key}.tif").as_uri()
        item["assets"].pop("schema-product-vv", None)
        following = [{"rel": "next", "href": f"{URL}/search?token=2", "method": "POST", "body": {"token": "2"}}]
        sound[name] = {"type": "FeatureCollection", "features": [item], "links": following}
    answers = {name: json.dumps(value).encode() for name, value in sound.items()}
    answers["optical-collection"] = answers["collection"].replace(b"sentinel-1-grd", b"sentinel-2-l2a")

    def read(part: str, content: bytes) -> None:
        with _answering({**answers, part: content}):
            source = open_source(f"stac:{URL}", access=Access(allow_hosts=(str(root),)))
            source.backscatter()
            source.find_sar(place, JUNE, polarisations=BOTH)
            source.find_optical(place, JUNE)

    parts = {name: Part(sound=text, mutator=JSON) for name, text in answers.items() if name != "optical-collection"}
    return Target(name="apis", parts=parts, read=read)


@contextmanager
def _answering(answers: Mapping[str, bytes]) -> Iterator[None]:
    """Answer HTTP requests from memory; after fifty a server is taken to answer without end, which is refused."""
    asked = itertools.count()

    def send(_: HTTPAdapter, request: requests.PreparedRequest, **__: Any) -> requests.Response:
        body, url = str(request.body or request.url), str(request.url)
        response = requests.Response()
        response.status_code, response.request, response.url = 200, request, url
        response.headers["Content-Type"] = "application/json"
        name = "root"
        if "/collections/" in url:
            name = "optical-collection" if "sentinel-2" in url else "collection"
        elif "search" in url:
            name = "optical" if "sentinel-2" in body else "radar"
            if "token" in body:
                response.raw = io.BytesIO(b'{"type": "FeatureCollection", "features": [], "links": []}')
                return response
        if next(asked) > 50:
            raise requests.ConnectionError("asked without end")
        response.raw = io.BytesIO(answers[name])
        return response

    with patch.object(HTTPAdapter, "send", send):
        yield


_RING = [[5.0, 52.0], [7.0, 52.0], [7.0, 53.5], [5.0, 53.5], [5.0, 52.0]]


def _listed(sensor: str, **properties: Any) -> dict[str, Any]:
    outline = (
        {"type": "LinearRing", "coordinates": _RING} if sensor == "sar" else {"type": "Polygon", "coordinates": [_RING]}
    )
    return {"type": "Feature", "geometry": outline, "id": "1", "properties": {"sensor": sensor, **properties}}


_LISTING = {
    "type": "FeatureCollection",
    "features": [
        _listed(
            "sar",
            scene="S1A_IW_GRDH_1SDV_20200501T163455_20200501T163520_032375_03BF51_67BA",
            time_ms=1588350895000,
            platform="A",
            relative_orbit=15,
            absolute_orbit=32375,
            orbit_pass="ASCENDING",
            resolution_m=10,
            polarisations=["VV", "VH"],
        ),
        _listed(
            "optical",
            scene="20200502T104031_20200502T104026_T31UFU",
            time_ms=1588416031024,
            platform="Sentinel-2B",
            relative_orbit=8,
            datatake="GS2B_20200502T104031_016478_N02.14",
            datastrip="S2B_OPER_MSI_L2A_DS_SGS__20200502T124522_S20200502T104026_N02.14",
            tile="31UFU",
            baseline="02.14",
            generated_ms=1588423522000,
        ),
    ],
}
_COUNTS = {"n0_covered": 900, "n0_cloud": 12, "n0_snow": 0}
_ANGLES = {"n0_count": 1, "n0_mean": 33.5}


def earthengine(_: Path) -> Target:
    """Listings and measurements of Earth Engine, as its client hands them over."""
    place = known.field()
    sound = {"listing": _LISTING, "measurements": [_ANGLES, _COUNTS]}
    texts = {name: json.dumps(value).encode() for name, value in sound.items()}

    def read(part: str, content: bytes) -> None:
        try:
            spoilt = json.loads(content)  # as the client does it
        except (ValueError, RecursionError):
            return

        def ask(_: Any, *, what: str, smaller: int, reduces: bool) -> Any:
            name = "measurements" if reduces else "listing"
            return spoilt if part == name else sound[name]

        with patch.object(survey, "expressions"), patch.object(survey, "ee"):
            search = survey.Survey(place, ask)
            search.optical(known.SPANS[:1])
            search.sar(known.SPANS[:1], BOTH)

    parts = {name: Part(sound=text, mutator=JSON) for name, text in texts.items()}
    return Target(name="earthengine", parts=parts, read=read)


def rasters(folder: Path) -> Target:
    """Headers of a catalogue's rasters."""
    archive, place = TinyArchive(folder), _place(pixel_m=80.0)
    kinds: dict[str, Any] = {"float": np.full((8, 8), 0.1, np.float32), "classes": np.full((8, 8), 4, np.uint8)}
    for name, values in kinds.items():
        archive.raster(folder / f"{name}.tif", values, 80.0, driver="GTiff", nodata=0)
    blocks = {"tiled": True, "blockxsize": 16, "blockysize": 16, "nodata": 0}
    archive.raster(folder / "tiled.tif", np.ones((32, 32), np.uint16), 20.0, driver="GTiff", **blocks)
    sound = {path.stem: path.read_bytes() for path in sorted(folder.glob("*.tif"))}

    def read(part: str, content: bytes) -> None:
        path = folder / "spoilt.tif"
        path.write_bytes(content)
        scale = 1.0 if part == "float" else 0.1
        raster = Raster(label="item I, asset A", href=str(path), crs=f"EPSG:{EPSG}", nodata=None, scale=scale)
        if part == "classes":
            read_classes(raster, place.grid)
        elif part == "tiled":
            tiles(place.grid, [raster], most_pixels=16)
            read_raw(raster, place.grid, fill=0)
            read_float(raster, place.grid)
        else:
            tags_of(raster)
            read_float(raster, place.grid)
            read_smooth(raster, place.grid)

    return Target(
        name="rasters", parts={name: Part(sound=text, mutator=TIFF) for name, text in sound.items()}, read=read
    )
