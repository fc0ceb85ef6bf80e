"""The STAC source on an API: a loopback server that serves a tiny archive's items must give what the archive itself gives."""

import datetime as dt
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
import shapely.geometry

from s1s2pairs.acquisitions import RoiGrids, Span
from s1s2pairs.errors import MissingFile, NotAuthenticated, SourceError, SourceUnreachable
from s1s2pairs.sources.registry import Access, open_source
from s1s2pairs.sources.stac import api as stac_api
from tests.refusals import refuses

if TYPE_CHECKING:
    from tests.s1s2pairs.sources.stac.conftest import TinyArchive

SPANS = (
    Span(start=dt.datetime(2019, 6, 1, tzinfo=dt.UTC), end=dt.datetime(2019, 7, 1, tzinfo=dt.UTC)),
    Span(start=dt.datetime(2019, 6, 20, tzinfo=dt.UTC), end=dt.datetime(2019, 8, 1, tzinfo=dt.UTC)),
)
PAGE = 3
RETRIES = stac_api._RETRIES
random = np.random.default_rng(5)


@dataclass
class Api:
    """What the server holds and what it was asked."""

    items: list[dict[str, Any]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    """Status codes to answer searches with before the first good answer."""
    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    """Path -> address that it redirects to."""
    hosts: set[str] = field(default_factory=set)
    """Names by which the server was called."""
    next_host: str = ""
    """Host of the links to the next pages, if not that of `url`."""
    item_assets: dict[str, Any] = field(default_factory=dict)
    """Of sentinel-1-grd."""
    url: str = ""

    def root(self) -> dict[str, Any]:
        conforms = [
            f"https://api.stacspec.org/v1.0.0/{name}"
            for name in ("core", "item-search", "ogcapi-features", "collections")
        ]
        links = [
            {"rel": "self", "href": f"{self.url}/"},
            {"rel": "root", "href": f"{self.url}/"},
            {"rel": "data", "href": f"{self.url}/collections"},
            {"rel": "search", "href": f"{self.url}/search", "method": "POST", "type": "application/geo+json"},
        ]
        catalog = {"type": "Catalog", "id": "api", "stac_version": "1.0.0", "description": "x", "links": links}
        return catalog | {"conformsTo": conforms}

    def describe(self, collection: str) -> dict[str, Any]:
        described = {
            "type": "Collection",
            "id": collection,
            "stac_version": "1.0.0",
            "description": "x",
            "license": "other",
            "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
            "links": [],
        }
        return described | ({"item_assets": self.item_assets} if collection == "sentinel-1-grd" else {})

    def collection(self, name: str) -> tuple[int, dict[str, Any]]:
        there = any(item["collection"] == name for item in self.items)
        return (200, self.describe(name)) if there else (404, {"code": "NotFound"})

    def search(self, query: dict[str, Any]) -> dict[str, Any]:
        found = [item for item in self.items if item["collection"] in query["collections"]]
        if "ids" in query:
            found = [item for item in found if item["id"] in query["ids"]]
        if "intersects" in query:
            outline = shapely.geometry.shape(query["intersects"])
            found = [item for item in found if shapely.geometry.shape(item["geometry"]).intersects(outline)]
        if "datetime" in query:
            # Both ends included, as the API specification has it.
            start, end = query["datetime"].split("/")
            found = [item for item in found if start <= item["properties"]["datetime"] <= end]
        first = int(query.get("token", 0))
        links = []
        if first + PAGE < len(found):
            body = query | {"token": str(first + PAGE)}
            url = self.url.replace("127.0.0.1", self.next_host or "127.0.0.1")
            links = [{"rel": "next", "href": f"{url}/search", "method": "POST", "body": body}]
        return {"type": "FeatureCollection", "features": found[first : first + PAGE], "links": links}


@pytest.fixture
def api() -> Iterator[Api]:
    state = Api()

    class Handler(BaseHTTPRequestHandler):
        def answer(self, status: int, value: object) -> None:
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def send_file(self, content: bytes) -> None:
            """Answer a request for part of a file, as GDAL sends them."""
            first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last or len(content)), len(content) - 1) + 1
            self.send_response(206 if "Range" in self.headers else 200)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
            self.send_header("Content-Length", str(stop - start))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content[start:stop])

        def do_GET(self) -> None:
            path = self.path.partition("?")[0].rstrip("/")
            state.hosts.add(self.headers["Host"].partition(":")[0])
            if path in state.redirects:
                self.send_response(302)
                self.send_header("Location", state.redirects[path])
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif path == "":
                self.answer(200, state.root())
            elif path in state.files:
                self.send_file(state.files[path])
            elif path.startswith("/collections/"):
                self.answer(*state.collection(path.rpartition("/")[2]))
            else:
                self.answer(404, {"code": "NotFound"})

        do_HEAD = do_GET  # noqa: N815 - as `http.server` wants it

        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.hosts.add(self.headers["Host"].partition(":")[0])
            state.asked.append(query)
            if state.failures:
                self.answer(state.failures.pop(0), {"code": "Busy"})
            else:
                self.answer(200, state.search(query))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stac_api, "_RETRIES", stac_api._RETRIES.new(backoff_factor=0.0))


@pytest.fixture
def served(archive: "TinyArchive", api: Api) -> "TinyArchive":
    """Five radar and five optical scenes, on disk and on the server, files and all."""
    for day in range(1, 30, 6):
        image = random.gamma(4.4, 0.02, (64, 64)).astype(np.float32)
        archive.sar(f"S{day}", f"2019-06-{day:02}T17:00:00Z", image, angle=np.full((32, 32), 40.0 + day))
        scl = random.choice(np.array([4, 9], np.uint8), (32, 32), p=[0.9, 0.1])
        blue = random.integers(1, 9000, (64, 64), dtype=np.uint16)
        archive.optical(f"O{day}", f"2019-06-{day:02}T10:00:00Z", scl, {"blue": blue})
    archive.write()
    for item in archive.items.values():
        text = json.loads(json.dumps(item))
        for asset in text["assets"].values():
            path = f"/files/{item['collection']}/{item['id']}/{asset['href'].removeprefix('./')}"
            api.files[path] = (archive.root / path.removeprefix("/files/")).read_bytes()
            asset["href"] = api.url + path
        api.items.append(text)
    return archive


def test_an_api_gives_what_the_archive_gives(
    served: "TinyArchive", api: Api, make_place: Callable[..., RoiGrids]
) -> None:
    disk, remote, place = open_source(str(served.root)), open_source(f"stac:{api.url}"), make_place()
    assert remote.name == f"stac:{api.url}"
    assert remote.backscatter() == disk.backscatter()
    radar = remote.find_sar(place, SPANS, polarisations=("VV", "VH"))
    light = remote.find_optical(place, SPANS)
    assert len(radar) == len(light) == 5
    assert radar == disk.find_sar(place, SPANS, polarisations=("VV", "VH"))
    assert light == disk.find_optical(place, SPANS)
    queries = len(api.asked)
    ids, optical_ids = [a.scene_ids for a in radar], [a.scene_ids for a in light]
    mean, other = (s.mean_sar(ids, polarisations=("VV",), grid=place.grid) for s in (remote, disk))
    np.testing.assert_array_equal(mean.linear, other.linear)
    image, second = (
        s.composite_optical(optical_ids, bands=("B2",), method="median", grid=place.grid) for s in (remote, disk)
    )
    np.testing.assert_array_equal(image.reflectance, second.reflectance)
    assert len(api.asked) == queries  # items found before are not asked for again


def test_a_locked_plan_is_carried_out_by_ids(
    served: "TinyArchive", api: Api, make_place: Callable[..., RoiGrids]
) -> None:
    ids = [(f"S{day}",) for day in (1, 7, 13, 19, 25)]
    open_source(f"stac:{api.url}").mean_sar(ids, polarisations=("VV",), grid=make_place().grid)
    assert [query.get("ids") for query in api.asked] == [["S1", "S7", "S13", "S19", "S25"]] * 2  # two pages
    with refuses(SourceError, f"stac:{api.url}", "sentinel-1-grd", "gone"):
        open_source(f"stac:{api.url}").mean_sar([("gone",)], polarisations=("VV",), grid=make_place().grid)


def test_the_end_of_a_span_is_excluded(served: "TinyArchive", api: Api, make_place: Callable[..., RoiGrids]) -> None:
    until = (Span(start=SPANS[0].start, end=dt.datetime(2019, 6, 7, 17, tzinfo=dt.UTC)),)
    found = open_source(f"stac:{api.url}").find_sar(make_place(), until, polarisations=("VV",))
    assert [a.scene_ids for a in found] == [("S1",)]


def test_passing_faults_are_tried_again(served: "TinyArchive", api: Api, make_place: Callable[..., RoiGrids]) -> None:
    api.failures = [503, 429, 502]
    assert len(open_source(f"stac:{api.url}").find_sar(make_place(), SPANS[:1], polarisations=("VV",))) == 5


@pytest.mark.parametrize("status", [400, 403])
def test_a_refusal_names_the_address_at_once(
    served: "TinyArchive", api: Api, make_place: Callable[..., RoiGrids], status: int
) -> None:
    api.failures = [status]
    with refuses(SourceError, api.url, "Busy"):
        open_source(f"stac:{api.url}").find_sar(make_place(), SPANS, polarisations=("VV",))
    assert len(api.asked) == 1


def test_a_lasting_fault_ends(served: "TinyArchive", api: Api, make_place: Callable[..., RoiGrids]) -> None:
    api.failures = [503] * 50
    with refuses(SourceError, api.url, "Busy"):
        open_source(f"stac:{api.url}").find_sar(make_place(), SPANS, polarisations=("VV",))
    assert len(api.asked) == 6


def test_nobody_there_is_said_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(stac_api, "_RETRIES", RETRIES)
    monkeypatch.setattr("urllib3.util.retry.time.sleep", slept.append)
    with refuses(SourceUnreachable, "http://127.0.0.1:9/x"):
        open_source("stac:http://127.0.0.1:9/x").backscatter()
    assert 1 <= sum(slept) <= 5


def test_an_unknown_host_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with refuses(SourceUnreachable, "https://nowhere.example/v1"):
        open_source("stac:https://nowhere.example/v1").backscatter()


def test_files_that_nobody_serves(served: "TinyArchive", api: Api, make_place: Callable[..., RoiGrids]) -> None:
    place, source = make_place(), open_source(f"stac:{api.url}")
    for item in api.items:
        if item["id"] == "S7":
            item["assets"]["vv"]["href"] = "http://127.0.0.1:9/vv.tif"
    with refuses(SourceUnreachable, "item S7, asset vv", "http://127.0.0.1:9/vv.tif"):
        source.mean_sar([("S7",)], polarisations=("VV",), grid=place.grid)
    del api.files["/files/sentinel-1-grd/S1/vv.tif"]
    with refuses(MissingFile, "item S1, asset vv", f"{api.url}/files/sentinel-1-grd/S1/vv.tif", 404):
        source.mean_sar([("S1",)], polarisations=("VV",), grid=place.grid)


S3 = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_S3_ENDPOINT",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_PROFILE",
)


@pytest.fixture
def in_s3(served: "TinyArchive", api: Api, monkeypatch: pytest.MonkeyPatch) -> "TinyArchive":
    """The archive as CDSE holds one: files at `s3://`, in a service that the items name. No keys are set."""
    for name in (*S3, "AWS_VIRTUAL_HOSTING", "AWS_HTTPS", "AWS_NO_SIGN_REQUEST"):
        monkeypatch.delenv(name, raising=False)
    for item in api.items:
        item["properties"]["storage:schemes"] = {
            "cdse-s3": {"type": "custom-s3", "platform": "https://eodata.example.eu"}
        }
        for asset in item["assets"].values():
            path = asset["href"].removeprefix(api.url)
            api.files[f"/eodata{path}"] = api.files.pop(path)
            asset |= {"href": f"s3://eodata{path}", "storage:refs": ["cdse-s3"]}
    return served


@pytest.mark.parametrize(("variable", "prefix"), [("AWS_S3_ENDPOINT", ""), ("AWS_ENDPOINT_URL_S3", "http://")])
def test_files_in_s3_are_read_with_keys_of_the_environment(
    in_s3: "TinyArchive",
    api: Api,
    make_place: Callable[..., RoiGrids],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    prefix: str,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv(variable, prefix + api.url.removeprefix("http://"))
    if not prefix:
        monkeypatch.setenv("AWS_HTTPS", "NO")
    disk, place = open_source(str(in_s3.root)), make_place()
    remote = open_source(f"stac:{api.url}", access=Access(allow_hosts=("s3://eodata",)))
    mean, other = (s.mean_sar([("S1",)], polarisations=("VV",), grid=place.grid) for s in (remote, disk))
    np.testing.assert_array_equal(mean.linear, other.linear)


@pytest.mark.parametrize("given", [(), ("AWS_S3_ENDPOINT",), ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")])
def test_without_keys_one_message_says_what_to_set(
    in_s3: "TinyArchive",
    api: Api,
    make_place: Callable[..., RoiGrids],
    monkeypatch: pytest.MonkeyPatch,
    given: tuple[str, ...],
) -> None:
    for name in given:
        monkeypatch.setenv(name, "x")
    named = ("s3://eodata", "https://eodata.example.eu", *S3[:2], "AWS_S3_ENDPOINT=eodata.example.eu")
    with refuses(NotAuthenticated, *named):
        open_source(f"stac:{api.url}", access=Access(allow_hosts=("s3://eodata",))).find_optical(make_place(), SPANS)


@pytest.mark.parametrize("url", ["somewhere", "http://", "https://[x", "ftp://example.org"])
def test_no_url(url: str) -> None:
    with refuses(SourceError, f"stac:{url}", "stac:https://planetarycomputer.microsoft.com/api/stac/v1"):
        open_source(f"stac:{url}")


def test_what_is_no_api(api: Api, make_place: Callable[..., RoiGrids]) -> None:
    api.root = lambda: {"hello": "world"}  # type: ignore[method-assign]
    with refuses(SourceError, api.url):
        open_source(f"stac:{api.url}").find_optical(make_place(), SPANS)


def test_an_api_without_such_collections(api: Api, make_place: Callable[..., RoiGrids]) -> None:
    with refuses(SourceError, f"stac:{api.url}", "sentinel-2-l2a", "sentinel-2-c1-l2a"):
        open_source(f"stac:{api.url}").find_optical(make_place(), SPANS)


def test_known_raw_grd_is_not_taken_for_backscatter(
    served: "TinyArchive", api: Api, make_place: Callable[..., RoiGrids], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stac_api, "RAW_GRD_HOSTS", ("127.0.0.1",))
    source = open_source(f"stac:{api.url}")
    with refuses(SourceError, "sentinel-1-grd", "sentinel-1-rtc", "amplitudes", "--radar-source"):
        source.backscatter()
    for item in api.items:
        if item["collection"] == "sentinel-1-grd":
            item["collection"] = "sentinel-1-rtc"
    assert open_source(f"stac:{api.url}").backscatter() == "gamma0"


RAW = {
    # Planetary Computer, Earth Search, Copernicus Data Space: as their collections describe sentinel-1-grd.
    "pc": {"description": "Amplitude of signal transmitted with vertical polarization and received with vertical ..."},
    "earth-search": {"description": "VV polarization backscattering coefficient, 16-bit DN."},
    "cdse": {"data_type": "uint16", "nodata": 0},
}
CALIBRATED = {
    "float": {
        "raster:bands": [{"data_type": "float32", "nodata": -32768}],
        "description": "Gamma naught; amplitude squared",
    },
    "scaled": {"data_type": "int16", "raster:scale": 0.01, "unit": "dB"},
    "silent": {"title": "VV"},
}


@pytest.mark.parametrize("name", [*RAW, *CALIBRATED])
def test_a_collection_s_item_assets_tell_amplitudes_from_backscatter(
    served: "TinyArchive", api: Api, make_place: Callable[..., RoiGrids], name: str
) -> None:
    api.item_assets = {"vv": (RAW | CALIBRATED)[name], "thumbnail": {"description": "amplitude"}}
    source = open_source(f"stac:{api.url}")
    if name in CALIBRATED:
        assert source.backscatter() == "sigma0"
    else:
        with refuses(SourceError, "sentinel-1-grd", "sentinel-1-rtc", "amplitudes", "--radar-source"):
            source.backscatter()
        assert not api.asked


@pytest.mark.filterwarnings("ignore:Support for class-based `config`:DeprecationWarning")
def test_assets_are_signed_where_the_host_wants_it(
    served: "TinyArchive", api: Api, make_place: Callable[..., RoiGrids], monkeypatch: pytest.MonkeyPatch
) -> None:
    planetary_computer = pytest.importorskip("planetary_computer")
    monkeypatch.setattr(stac_api, "PLANETARY_COMPUTER", "127.0.0.1")
    signed = []
    monkeypatch.setattr(planetary_computer, "sign_url", lambda href: signed.append(href) or href)
    source = open_source(f"stac:{api.url}")
    source.mean_sar([("S1",)], polarisations=("VV", "VH"), grid=make_place().grid)
    assert [href.rpartition("/")[2] for href in signed] == ["vv.tif", "vh.tif"]


@pytest.fixture
def annotated(served: "TinyArchive", api: Api) -> Callable[..., str]:
    """Give S1 an annotation instead of an angle, and ask a source for where its angle comes from."""
    item = next(item for item in api.items if item["id"] == "S1")
    del item["assets"]["angle"]
    item["assets"]["schema-product-vv"] = {"href": f"{api.url}/files/vv.xml?sig=secret"}
    points = [(lon, lat) for lon in (2, 3, 4) for lat in (49, 50, 51)]
    api.files["/files/vv.xml"] = (
        "<product>"
        + "".join(
            f"<geolocationGridPoint><latitude>{lat}</latitude><longitude>{lon}</longitude><incidenceAngle>33.5</incidenceAngle>"
            "</geolocationGridPoint>"
            for lon, lat in points
        )
        + "</product>"
    ).encode()

    def ask(place: RoiGrids, *, allowed: tuple[str, ...] = ()) -> str:
        source = open_source(f"stac:{api.url}", access=Access(allow_hosts=allowed))
        until = (Span(start=SPANS[0].start, end=dt.datetime(2019, 6, 2, tzinfo=dt.UTC)),)
        (acquisition,) = source.find_sar(place, until, polarisations=("VV",))
        return f"{acquisition.incidence_deg} {acquisition.incidence_source}"

    return ask


def test_annotation_is_fetched_over_http(annotated: Callable[..., str], make_place: Callable[..., RoiGrids]) -> None:
    assert annotated(make_place()) == "33.5 annotation"


def test_a_redirect_is_followed_to_allowed_hosts_only(
    annotated: Callable[..., str], api: Api, make_place: Callable[..., RoiGrids]
) -> None:
    api.files["/moved.xml"] = api.files.pop("/files/vv.xml")
    api.redirects["/files/vv.xml"] = f"{api.url}/moved.xml?sig=other"
    assert annotated(make_place()) == "33.5 annotation"
    elsewhere = api.url.replace("127.0.0.1", "localhost")
    api.redirects["/files/vv.xml"] = f"{elsewhere}/moved.xml?sig=other"
    wanted = (f"{api.url}/files/vv.xml", f"{elsewhere}/moved.xml", "--allow-host localhost")
    with refuses(SourceError, *wanted, but_not=("sig", "secret", "other")):
        annotated(make_place())
    assert api.hosts == {"127.0.0.1"}
    assert annotated(make_place(), allowed=("localhost",)) == "33.5 annotation"
    assert api.hosts == {"127.0.0.1", "localhost"}


def test_pages_of_an_api_come_from_allowed_hosts_only(
    served: "TinyArchive", api: Api, make_place: Callable[..., RoiGrids]
) -> None:
    api.next_host = "localhost"
    with refuses(SourceError, api.url, api.url.replace("127.0.0.1", "localhost") + "/search", "--allow-host localhost"):
        open_source(f"stac:{api.url}").find_sar(make_place(), SPANS, polarisations=("VV",))
    assert api.hosts == {"127.0.0.1"}
    source = open_source(f"stac:{api.url}", access=Access(allow_hosts=("localhost",)))
    assert len(source.find_sar(make_place(), SPANS, polarisations=("VV",))) == 5


def test_an_image_is_read_behind_a_redirect_of_its_own_host(
    served: "TinyArchive", api: Api, make_place: Callable[..., RoiGrids]
) -> None:
    moved = {f"/moved{path}": content for path, content in api.files.items()}
    api.redirects = {path: f"{api.url}/moved{path}?sig=other" for path in api.files}
    api.files = moved
    mean, other = (
        open_source(name).mean_sar([("S1",)], polarisations=("VV",), grid=make_place().grid)
        for name in (f"stac:{api.url}", str(served.root))
    )
    np.testing.assert_array_equal(mean.linear, other.linear)
