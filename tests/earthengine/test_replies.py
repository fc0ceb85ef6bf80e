"""Replies of the real service, in the shapes that public recordings show, with values of our own.

Sources: the table in `README.md` beside this file.
"""

import datetime as dt
import io
import json
import time
from dataclasses import replace
from typing import Any

import ee
import httplib2
import numpy as np
import pytest
import shapely
from googleapiclient.errors import HttpError

from s1s2pairs.acquisitions import SarScene
from s1s2pairs.errors import NotAuthenticated, QuotaExceeded, SourceError, SourceUnreachable
from s1s2pairs.sources.earthengine import answers, known
from s1s2pairs.sources.earthengine.answers import ClassCounts
from s1s2pairs.sources.earthengine.limits import Block
from s1s2pairs.sources.earthengine.pixels import Composite
from s1s2pairs.sources.earthengine.retry import DamagedReply, RequestLimiter, RetryPolicy, TooLarge
from s1s2pairs.sources.earthengine.session import CannotConnect
from tests.refusals import refuses

RING = [[17.1, 48.4], [20.6, 48.9], [20.2, 50.1], [16.9, 49.7], [17.1, 48.4]]


def radar_row(**changes: Any) -> dict[str, Any]:
    properties = {
        "sensor": "sar",
        "scene": "S1A_IW_GRDH_1SDV_20200501T163455_20200501T163520_032375_03BF51_67BA",
        "time_ms": 1588350895000,
        "platform": "A",
        "relative_orbit": 103,
        "absolute_orbit": 32375,
        "orbit_pass": "ASCENDING",
        "resolution_m": 10,
        "polarisations": ["VV", "VH"],
        **changes,
    }
    return {
        "type": "Feature",
        "geometry": {"type": "LinearRing", "coordinates": RING},
        "id": "1_1_" + str(properties["scene"]),
        "properties": {name: value for name, value in properties.items() if value is not None},
    }


def table(*features: dict[str, Any]) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}


def test_a_row_without_columns_index_or_polygon_is_read() -> None:
    (scene,), optical = answers.scenes(table(radar_row()))
    assert optical == []
    assert scene.id == "S1A_IW_GRDH_1SDV_20200501T163455_20200501T163520_032375_03BF51_67BA"
    assert scene.acquired_at == dt.datetime(2020, 5, 1, 16, 34, 55, tzinfo=dt.UTC)
    assert (scene.platform, scene.relative_orbit, scene.absolute_orbit) == ("sentinel-1a", 103, 32375)
    assert (scene.orbit_pass, scene.polarisations) == ("ascending", ("VV", "VH"))
    assert isinstance(scene.footprint, shapely.Polygon)
    # A ring without a word on geodesics follows them: its southern edge bends north of the straight line.
    assert not scene.footprint.contains(shapely.Point(18.85, 48.651))
    assert shapely.Polygon(RING).contains(shapely.Point(18.85, 48.651))


def test_a_planar_footprint_stays_straight_and_a_value_may_be_null_or_absent() -> None:
    row = radar_row(absolute_orbit=None)
    row["geometry"] = {"type": "Polygon", "coordinates": [RING], "geodesic": False, "evenOdd": True}
    row["properties"]["absolute_orbit"] = None
    (scene,), _ = answers.scenes(table(row))
    assert scene.absolute_orbit is None
    assert scene.footprint.equals(shapely.Polygon(RING))


def test_scenes_of_other_resolution_are_left_out_and_lacking_ones_named() -> None:
    assert answers.scenes(table(radar_row(resolution_m=40))) == ([], [])
    with refuses(SourceError, "S1A_IW_GRDH_1SDV_20200501T163455_20200501T163520_032375_03BF51_67BA", "relative_orbit"):
        answers.scenes(table(radar_row(relative_orbit=None)))
    with refuses(SourceError, "features"):
        answers.scenes({"error": 1})


def test_an_optical_row() -> None:
    row = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[*RING]]},
        "id": "2_20200502T104031",
        "properties": {
            "sensor": "optical",
            "scene": "20200502T104031_20200502T104026_T33UXP",
            "time_ms": 1588416031024,
            "platform": "Sentinel-2B",
            "relative_orbit": 8,
            "datatake": "GS2B_20200502T104031_016478_N02.14",
            "datastrip": "S2B_OPER_MSI_L2A_DS_SGS__20200502T124522_S20200502T104026_N02.14",
            "tile": "33UXP",
            "baseline": "02.14",
            "generated_ms": 1588423522000,
        },
    }
    _, (scene,) = answers.scenes(table(row))
    assert (scene.platform, scene.tile, scene.strip) == ("sentinel-2b", "33UXP", "20200502T104026")
    assert scene.processed == "02.14 001588423522000"
    assert scene.acquired_at.microsecond == 24_000


def test_measurements_come_as_whole_numbers_or_null() -> None:
    reply = {"n0_cloud": 12, "n0_covered": 900.0, "n0_snow": 0, "n1_cloud": 0, "n1_covered": 0, "n1_snow": 0}
    counts = answers.class_counts(reply, 2)
    assert counts[0] == ClassCounts(covered=900, cloud=12, snow=0)
    with refuses(SourceError, "None", "n2_covered"):
        answers.class_counts(reply, 3)
    place = known.field()
    (scene,), _ = answers.scenes(table(radar_row(relative_orbit=15)))
    scenes: list[SarScene] = [scene, scene]
    one, none = answers.incidence({"n0_mean": 33, "n0_count": 1, "n1_mean": None, "n1_count": 0}, scenes, place)
    assert (one.mean_deg, one.points, one.source) == (33.0, 1, "raster")
    assert (none.points, none.source) == (0, "model")
    assert none.mean_deg == pytest.approx(31.5, abs=0.3)


# --- Errors -------------------------------------------------------------------------------------------------------------

QUICK = RetryPolicy(attempts=3, first_wait_s=0.001, longest_wait_s=0.002)
METRIC = (
    "Quota exceeded for quota metric 'Number of read requests' and limit 'Number of read requests per minute per user'"
)
ERRORS = [
    (400, "Computation timed out.", TooLarge, 1),
    (500, "Computation timed out.", TooLarge, 1),
    (400, "User memory limit exceeded.", TooLarge, 1),
    (429, "Quota exceeded: Too many concurrent aggregations.", TooLarge, 1),
    (400, "Too many concurrent aggregations.", TooLarge, 1),
    (400, "Collection query aborted after accumulating over 5000 elements.", TooLarge, 1),
    (503, "Total request size (50356224 bytes) must be less than or equal to 50331648 bytes.", TooLarge, 1),
    (400, "Request payload size exceeds the limit: 10485760 bytes.", TooLarge, 1),
    (429, "Too Many Requests: the request rate or concurrency limit was exceeded.", QuotaExceeded, 3),
    (429, METRIC, QuotaExceeded, 3),
    (400, METRIC, SourceError, 3),
    (503, "The service is currently unavailable.", SourceError, 3),
    (500, "An internal error has occurred (request: 6b0d)", SourceError, 3),
    (400, "An internal error has occurred", SourceError, 3),
    (400, "Date: Bad date/time '2019-02-29'.", SourceError, 1),
    (404, "Image.load: Image asset 'X' not found.", SourceError, 1),
    (401, "Request had invalid authentication credentials.", NotAuthenticated, 1),
]


@pytest.mark.parametrize(("status", "text", "error", "attempts"), ERRORS)
def test_what_an_error_says_decides_before_its_status(
    status: int, text: str, error: type[Exception], attempts: int
) -> None:
    sent = []

    def send() -> None:
        sent.append(status)
        body = json.dumps({"error": {"code": status, "message": text}}).encode()
        try:
            raise HttpError(httplib2.Response({"status": str(status)}), body)
        except HttpError:
            raise ee.EEException(text)  # noqa: B904 - as the client does it

    with pytest.raises(error) as raised:
        RequestLimiter(1, QUICK).request(send, what="a test")
    assert type(raised.value) is error
    assert len(sent) == attempts


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"error": 403}', b'{"error": {"errors": null, "details": 5}}']
)
def test_a_denial_with_any_body_is_a_denial(content: bytes) -> None:
    def send() -> None:
        try:
            raise HttpError(httplib2.Response({"status": "403"}), content)
        except HttpError:
            raise ee.EEException("Denied.")  # noqa: B904 - as the client does it

    with refuses(SourceError, "a test", "Denied.", "docs/earthengine.md"):
        RequestLimiter(1, QUICK).request(send, what="a test")


def test_a_connection_that_comes_back_within_seconds_is_waited_for_even_after_a_long_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limiter = RequestLimiter(1, replace(QUICK, attempts=2, unreachable_s=5.0, longest_wait_s=0.01))
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + 3600.0)
    failures = iter([CannotConnect("no connection")] * 6)

    def send() -> str:
        if (error := next(failures, None)) is not None:
            raise error
        return "there"

    assert limiter.request(send, what="a test") == "there"


def test_attempts_without_a_connection_do_not_use_up_those_with_one() -> None:
    limiter = RequestLimiter(1, replace(QUICK, attempts=2, unreachable_s=5.0, longest_wait_s=0.01))
    failures = iter([*[CannotConnect("no connection")] * 6, ConnectionResetError("lost on the way")])

    def send() -> str:
        if (error := next(failures, None)) is not None:
            raise error
        return "there"

    assert limiter.request(send, what="a test") == "there"


def test_no_connection_for_long_is_the_end_of_it() -> None:
    def send() -> None:
        raise CannotConnect("no connection")

    with refuses(SourceUnreachable):
        RequestLimiter(1, replace(QUICK, unreachable_s=0.05)).request(send, what="a test")


def _npy(pixels: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, pixels)
    return file.getvalue()


def _npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, B8=np.zeros((2, 2), np.uint16))
    return file.getvalue()


def _header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


PIXELS = np.zeros((2, 2), [("B4", "<u2")])
DAMAGED = {
    "nothing": b"",
    "text": b"<html>",
    "cut short": _npy(PIXELS)[:-1],
    "a damaged archive": b"PK\x03\x04",
    "an archive": _npz(),
    "a header without end": _header("(" * 100),
    "20 TB": _header("{'descr': [('B4', '<u2')], 'fortran_order': False, 'shape': (10000000, 1000000)}") + b"0" * 8,
    "another band": _npy(PIXELS.astype([("B8", "<u2")])),
    "another shape": _npy(PIXELS[:1]),
    "no table": _npy(np.zeros((2, 2), np.uint16)),
    "objects": _npy(np.zeros((2, 2), object)),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_reply_that_is_no_image_is_damaged(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    composite = Composite(label="x", expression=None, bands=("B4",), dtype=np.dtype(np.uint16))
    place = known.field()
    window = Block(row=0, column=0, height=2, width=2)
    monkeypatch.setattr(ee.data, "computePixels", lambda _: DAMAGED[name])
    with pytest.raises(DamagedReply):
        composite.compute(place.grid, window)
    monkeypatch.setattr(ee.data, "computePixels", lambda _: _npy(PIXELS))
    assert composite.compute(place.grid, window).shape == (1, 2, 2)
