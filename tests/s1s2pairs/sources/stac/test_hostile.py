"""Catalogues and files that are broken or meant to do harm: one error of ours each, soon, and for the ROI that they concern."""

import json
import logging
import os
import resource
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from s1s2pairs.acquisitions import RoiGrids
from s1s2pairs.errors import SourceError
from s1s2pairs.sources.registry import Access, open_source
from s1s2pairs.sources.stac import raster as raster_module
from s1s2pairs.sources.stac.static import MAX_DEPTH
from s1s2pairs.untrusted import MAX_JSON_DEPTH
from tests.refusals import assert_names, refuses

from .test_source import JUNE, power, reflectance, vegetation

if TYPE_CHECKING:
    from .conftest import TinyArchive

Change = Callable[[dict[str, Any]], object]
NESTED: list[Any] = []
for _ in range(900):
    NESTED = [NESTED]


def setting(**properties: Any) -> Change:
    return lambda item: item["properties"].update({k.replace("__", ":"): v for k, v in properties.items()})


def asset(**fields: Any) -> Change:
    return lambda item: [
        one.update({k.replace("__", ":"): v for k, v in fields.items()}) for one in item["assets"].values()
    ]


RADAR: dict[str, tuple[Change, tuple[str, ...]]] = {
    "year 9999": (setting(datetime="9999-12-31T23:59:59-12:00"), ("datetime", "9999")),
    "year 1": (setting(datetime="0001-01-01T00:00:00+12:00"), ("datetime", "0001")),
    "a list as time": (setting(datetime=[2019]), ("datetime", "[2019]")),
    "an orbit of 400 digits": (setting(sat__relative_orbit=10**400), ("sat:relative_orbit", "whole number")),
    "an orbit that there is not": (setting(sat__relative_orbit=176), ("sat:relative_orbit", "176", "175")),
    "an angle of 400 digits": (setting(view__incidence_angle=10**400), ("view:incidence_angle", "number")),
    "polarisations as one word": (setting(sar__polarizations="VV"), ("sar:polarizations", "'VV'", "list")),
    "polarisations as numbers": (setting(sar__polarizations=[1]), ("sar:polarizations", "[1]")),
    "a state as object": (setting(sat__orbit_state={"a": 1}), ("sat:orbit_state", "text")),
    "bands as object": (asset(raster__bands={"unit": "dB"}), ("raster:bands", "list of objects")),
    "bands as words": (asset(raster__bands=["dB"]), ("raster:bands", "list of objects")),
    "bands as number": (asset(bands=7), ("bands", "7", "list of objects")),
    "a scale of words": (asset(raster__scale="big"), ("scale", "'big'", "number")),
    "a scale of 400 digits": (asset(raster__scale=10**400), ("scale", "number")),
    "a scale of 0": (asset(raster__scale=0), ("asset vv", "scale", "0")),
    "no-data as list": (asset(raster__nodata=[0]), ("nodata", "[0]")),
    "an address as number": (asset(href=7), ("asset vv",)),
    "an address with a null": (asset(href="a\0b"), ("asset vv",)),
    "an EPSG code of words": (asset(proj__epsg="utm"), ("proj:epsg", "'utm'")),
    "assets as list": (lambda item: item.update(assets=[]), ("assets",)),
    "an asset as word": (lambda item: item["assets"].update(vv="vv.tif"), ("asset vv", "object")),
    "a footprint at infinity": (
        lambda item: item.update(geometry={"type": "Point", "coordinates": [float("inf"), 0]}),
        ("geometry",),
    ),
    "a footprint of words": (
        lambda item: item.update(geometry={"type": "Polygon", "coordinates": "all"}),
        ("geometry",),
    ),
}
WHOLE: dict[str, tuple[Change, tuple[str, ...]]] = {
    "900 nested lists": (lambda item: item.update(x=NESTED), ("nested", str(MAX_JSON_DEPTH))),
}


def plan(root: Path, place: RoiGrids) -> Any:
    source = open_source(str(root))
    found = source.find_sar(place, JUNE, polarisations=("VV", "VH"))
    return source.mean_sar([one.scene_ids for one in found], polarisations=("VV", "VH"), grid=place.grid)


@pytest.mark.parametrize("name", [*RADAR, *WHOLE])
def test_a_radar_item_of_another_kind_is_refused_with_its_name(
    name: str, archive: "TinyArchive", make_place: Callable[..., RoiGrids]
) -> None:
    archive.sar("bad", "2019-06-07T17:00:00Z", power(), view__incidence_angle=40.0)
    change, wanted = (RADAR | WHOLE)[name]
    change(archive.items["bad"])
    with pytest.raises(SourceError) as caught:
        plan(archive.write(), make_place())
    for word in ("bad", *wanted):
        assert word in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", [name for name in RADAR if "footprint" not in name and name != "assets as list"])
def test_it_concerns_nobody_elsewhere(name: str, archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    archive.sar("good", "2019-06-07T17:00:00Z", power(), view__incidence_angle=40.0, left=700_000.0)
    archive.sar("bad", "2019-06-07T17:00:00Z", power(), view__incidence_angle=40.0)
    RADAR[name][0](archive.items["bad"])
    assert plan(archive.write(), make_place(left=700_000.0)).count.max() == 1


def test_numbers_of_thousands_of_digits_are_no_json(
    archive: "TinyArchive", make_place: Callable[..., RoiGrids]
) -> None:
    archive.sar("bad", "2019-06-07T17:00:00Z", power())
    root = archive.write()
    file = root / "sentinel-1-grd" / "bad" / "bad.json"
    file.write_text(file.read_text().replace('"sat:relative_orbit": 59', f'"sat:relative_orbit": {"9" * 5000}'))
    with refuses(SourceError, file, "JSON"):
        plan(root, make_place())


def test_more_acquisitions_than_a_pixel_counts_are_refused(
    archive: "TinyArchive", make_place: Callable[..., RoiGrids]
) -> None:
    archive.sar("S", "2019-06-07T17:00:00Z", power())
    archive.optical("O", "2019-06-01T10:00:00Z", vegetation(), {"blue": reflectance()})
    source, grid = open_source(str(archive.write())), make_place().grid
    with refuses(SourceError, 256, 255):
        source.mean_sar([("S",)] * 256, polarisations=("VV",), grid=grid)
    with refuses(SourceError, 256, 255):
        source.composite_optical([("O",)] * 256, bands=("B2",), method="median", grid=grid)


def test_no_data_of_hundreds_of_digits_leaves_all_values(
    archive: "TinyArchive", make_place: Callable[..., RoiGrids]
) -> None:
    archive.sar("S", "2019-06-07T17:00:00Z", power(), view__incidence_angle=40.0)
    for one in archive.items["S"]["assets"].values():
        one["raster:bands"] = [{"nodata": 10**300}]
    assert plan(archive.write(), make_place()).count.min() == 1
    archive.optical("O", "2019-06-01T10:00:00Z", vegetation(), {"blue": reflectance().astype(np.float32)})
    for one in archive.items["O"]["assets"].values():
        one["raster:bands"] = [{"nodata": 10**300, "scale": 0.0001}]
    source = open_source(str(archive.write()))
    image = source.composite_optical([("O",)], bands=("B2",), method="least_cloudy", grid=make_place().grid)
    assert image.clear.min() == 1


@pytest.mark.parametrize("id_", [["a", "list"], {"an": "object"}, True])
def test_a_datatake_of_another_kind(id_: object, archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    archive.optical("bad", "2019-06-01T10:00:00Z", vegetation(), {"blue": reflectance()}, s2__datatake_id=id_)
    with refuses(SourceError, "item bad", "s2:datatake_id", id_):
        open_source(str(archive.write())).find_optical(make_place(), JUNE)


@pytest.mark.parametrize(
    ("classes", "named"),
    [
        (vegetation().astype(np.float32), (4, "0 to 11")),
        (np.full_like(vegetation(), 200), (200, "0 to 11")),
        (vegetation().astype(np.int16) * -1, (-4, "0 to 11")),
        (vegetation().astype(np.complex64), ()),
    ],
    ids=["floats", "no class", "negative", "complex"],
)
def test_scene_classes_that_are_none(
    classes: Any, named: tuple[object, ...], archive: "TinyArchive", make_place: Callable[..., RoiGrids]
) -> None:
    archive.optical("bad", "2019-06-01T10:00:00Z", vegetation(), {"blue": reflectance()})
    archive.raster(archive.root / "sentinel-2-l2a/bad/scl.tif", classes, 640 / len(classes), driver="GTiff")
    source, place = open_source(str(archive.write())), make_place()
    with refuses(SourceError, "item bad, asset scl", classes.dtype, *named):
        source.find_optical(place, JUNE)
    with refuses(SourceError, "item bad, asset scl", classes.dtype, *named):
        source.composite_optical([("bad",)], bands=("B2",), method="least_cloudy", grid=place.grid)


def rewrite(path: Path, values: Any, transform: Affine, **options: Any) -> None:
    profile = {"driver": "GTiff", "crs": "EPSG:32631", "count": 1, "dtype": values.dtype} | options
    height, width = options.get("shape", values.shape)
    profile.pop("shape", None)
    with rasterio.open(path, "w", height=height, width=width, transform=transform, sparse_ok=True, **profile) as file:
        if "shape" not in options:
            file.write(values, 1)


def instead(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        path.unlink()
        make(path)

    return replace


BAD_RASTERS: dict[str, Callable[[Path], None]] = {
    "pixels without area": lambda path: rewrite(path, power(), Affine(0, 0, 500_000, 0, -10, 5_600_000)),
    "pixels of a nanometre": lambda path: rewrite(path, power(), Affine(1e-9, 0, 500_000, 0, -1e-9, 5_600_000)),
    "pixels of nothing known": lambda path: rewrite(path, power(), Affine(float("nan"), 0, 500_000, 0, -10, 5_600_000)),
    "358 GiB under the ROI": lambda path: rewrite(
        path,
        power(),
        Affine(0.002, 0, 500_000, 0, -0.002, 5_600_000),
        shape=(320_000, 320_000),
        tiled=True,
        blockxsize=4096,
        blockysize=4096,
        compress="DEFLATE",
        BIGTIFF="YES",
    ),
    "one block of 16 GiB": lambda path: rewrite(
        path,
        power().astype(np.float64),
        Affine(0.01, 0, 500_000, 0, -0.01, 5_600_000),
        shape=(46_000, 46_000),
        blockysize=46_000,
        compress="DEFLATE",
        BIGTIFF="YES",
    ),
    "complex": lambda path: rewrite(path, power().astype(np.complex64), Affine(10, 0, 500_000, 0, -10, 5_600_000)),
    "a pipe": instead(os.mkfifo),
    "a device": instead(lambda path: path.symlink_to("/dev/zero")),
    "a folder": instead(Path.mkdir),
    "text": instead(lambda path: path.write_text("no raster")),
    "nothing": instead(Path.touch),
}


@pytest.mark.parametrize("name", BAD_RASTERS)
@pytest.mark.timeout(60)
def test_a_radar_file_that_cannot_be_used(
    name: str, archive: "TinyArchive", make_place: Callable[..., RoiGrids]
) -> None:
    archive.sar("bad", "2019-06-07T17:00:00Z", power(), view__incidence_angle=40.0)
    BAD_RASTERS[name](archive.root / "sentinel-1-grd/bad/vv.tif")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if name == "pixels of a nanometre":  # the file covers nothing of the ROI
        with refuses(SourceError, "transform"):
            plan(archive.write(), make_place())
        return
    with refuses(SourceError, "item bad, asset vv"):
        plan(archive.write(), make_place())
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mib < 1024


def test_a_file_that_names_others_is_not_opened(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    """A VRT makes GDAL fetch what no item names."""
    archive.sar("bad", "2019-06-07T17:00:00Z", power(), view__incidence_angle=40.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        calls: list[object] = []
        threading.Thread(target=lambda: calls.append(_accepted(server)), daemon=True).start()
        url = f"/vsicurl/http://127.0.0.1:{server.getsockname()[1]}/a.tif"
        (archive.root / "sentinel-1-grd/bad/vv.tif").write_text(
            f'<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="Float32" band="1"><SimpleSource>'
            f"<SourceFilename>{url}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
        )
        with refuses(SourceError, "item bad, asset vv", archive.root / "sentinel-1-grd/bad/vv.tif"):
            plan(archive.write(), make_place())
        server.settimeout(0.0)
        assert not [call for call in calls if call]


def _accepted(server: socket.socket) -> bool:
    try:
        server.accept()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("href", "needed"),
    [
        ("http://169.254.169.254/latest/meta-data", "169.254.169.254"),
        ("https://elsewhere.example.org/vv.tif?sig=secret", "elsewhere.example.org"),
        ("s3://bucket/vv.tif", "s3://bucket"),
        ("/vsicurl/http://elsewhere.example.org/vv.tif", "/vsicurl"),
        ("/etc/passwd", "/etc"),
        ("../../../../secret.tif", "--allow-host"),
        ("file:///etc/passwd", "/etc"),
        ("zip:///etc/passwd", "zip"),
        ("ftp://elsewhere.example.org/vv.tif", "ftp"),
        ("http://[::1/vv.tif", "item bad"),
    ],
)
def test_files_elsewhere_are_not_read_unasked(
    href: str, needed: str, archive: "TinyArchive", make_place: Callable[..., RoiGrids], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.sar("bad", "2019-06-07T17:00:00Z", power(), view__incidence_angle=40.0)
    archive.items["bad"]["assets"]["vv"]["href"] = href
    monkeypatch.setattr(raster_module, "DatasetReader", pytest.fail)
    with pytest.raises(SourceError) as caught:
        plan(archive.write(), make_place())
    assert needed in str(caught.value)
    assert "secret" not in str(caught.value).replace("secret.tif", "")


def test_a_folder_that_is_allowed_is_read(
    archive: "TinyArchive", make_place: Callable[..., RoiGrids], tmp_path: Path
) -> None:
    archive.sar("S", "2019-06-07T17:00:00Z", power(), view__incidence_angle=40.0)
    elsewhere = (tmp_path / "elsewhere").resolve()
    elsewhere.mkdir()
    (archive.root / "sentinel-1-grd/S/vv.tif").rename(elsewhere / "vv.tif")
    archive.items["S"]["assets"]["vv"]["href"] = str(elsewhere / "vv.tif")
    place = make_place()
    with refuses(SourceError, f"--allow-host {elsewhere}"):
        plan(archive.write(), place)
    source = open_source(str(archive.root), access=Access(allow_hosts=(str(elsewhere),)))
    assert source.mean_sar([("S",)], polarisations=("VV", "VH"), grid=place.grid).count.max() == 1


@pytest.mark.parametrize("allowed", [(), ("example.org",)])
@pytest.mark.parametrize("address", ["https://example.org/item.json", "s3://example.org/item.json"])
def test_documents_of_a_catalogue_on_disk_lie_on_disk(
    address: str, allowed: tuple[str, ...], archive: "TinyArchive"
) -> None:
    archive.sar("S", "2019-06-07T17:00:00Z", power())
    root = archive.write()
    collection = root / "sentinel-1-grd" / "collection.json"
    value = json.loads(collection.read_text())
    value["links"].append({"rel": "item", "href": address})
    collection.write_text(json.dumps(value))
    with refuses(SourceError, address, "on disk", but_not=("--allow-host",)):
        open_source(str(root), access=Access(allow_hosts=allowed)).backscatter()


def test_an_annotation_elsewhere_is_passed_over_with_a_warning(
    archive: "TinyArchive", make_place: Callable[..., RoiGrids], caplog: pytest.LogCaptureFixture
) -> None:
    item = archive.sar("S", "2019-06-07T17:00:00Z", power())
    item["assets"]["schema-product-vv"] = {"href": "https://example.org/vv.xml"}
    source = open_source(str(archive.write()), access=Access(allow_hosts=("example.org",)))
    with caplog.at_level(logging.WARNING):
        (found,) = source.find_sar(make_place(), JUNE, polarisations=("VV",))
    assert found.incidence_source == "model"
    assert_names(caplog.text, "https://example.org/vv.xml", "on disk")


def test_a_path_too_long_is_refused(tmp_path: Path) -> None:
    with refuses(SourceError, tmp_path / ("x" * 300)):
        open_source(str(tmp_path / ("x" * 300)))


def test_catalogues_without_end(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    archive.sar("S", "2019-06-07T17:00:00Z", power())
    root = archive.write()
    for i in range(1500):
        links = [{"rel": "child", "href": f"./{i + 1}.json"}]
        catalog = {"type": "Catalog", "id": str(i), "stac_version": "1.1.0", "description": "-", "links": links}
        (root / f"{i}.json").write_text(json.dumps(catalog))
    first = json.loads((root / "catalog.json").read_text())
    first["links"].append({"rel": "child", "href": "./0.json"})
    (root / "catalog.json").write_text(json.dumps(first))
    with refuses(SourceError, root / f"{MAX_DEPTH - 1}.json", MAX_DEPTH):
        open_source(str(root)).find_sar(make_place(), JUNE, polarisations=("VV",))


@pytest.mark.parametrize("kind", ["a pipe", "a device", "too large"])
@pytest.mark.timeout(20)
def test_a_link_to_what_is_no_item(
    kind: str, archive: "TinyArchive", make_place: Callable[..., RoiGrids], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.sar("bad", "2019-06-07T17:00:00Z", power())
    root = archive.write()
    file = root / "sentinel-1-grd/bad/bad.json"
    if kind == "too large":
        with file.open("ab") as stream:
            stream.truncate(1 << 30)
    else:
        file.unlink()
        os.mkfifo(file) if kind == "a pipe" else file.symlink_to("/dev/zero")
    with refuses(SourceError, file, "16,777,216" if kind == "too large" else "pipe"):
        open_source(str(root)).find_sar(make_place(), JUNE, polarisations=("VV",))
