"""A stand-in for Earth Engine on 127.0.0.1: evaluates the expressions of the real client over a static STAC catalogue.

    python -m tests.earthengine.server ARCHIVE [--port 0] [--log FILE] [--faults JSON]

It prints its address; with `S1S2_EE_URL=<address>` and `S1S2_EE_ANONYMOUS=1` the Earth Engine source uses it as it would use
Google's. `PUT /faults` with the fields of `faults.Faults` changes what goes wrong while it runs. Names and defaults of functions
are from the list of signatures that the client ships. A function, argument or kind of value that is not implemented is refused
with a 400 that names it: never ignored, and never a 5xx, which the client would try again.

What is assumed about Earth Engine here, rather than documented or seen:

 1. A static catalogue's items become images: `system:index` is the item's id, `system:time_start` its datetime, the footprint
    its geometry with edges straight in lon/lat (Earth Engine's are geodesic). An S2 item without datatake id is given one per
    overflight.
 2. Masks: SCL 0, a band's nodata, and radar values that are not finite are masked. A radar value of 0 is not.
 3. S2_SR_HARMONIZED holds (raw x scale + offset) x 10000, rounded half up, values below 0 raised to 0 and not masked.
 4. Inputs are read nearest neighbour at the pixel centres asked for, at full resolution. (Earth Engine takes its pyramids when
    the pixels asked for are twice the image's or more.) A centre on the edge of two pixels belongs to the later one.
 5. A mean is the sum over the count in double precision; the median of an even number is the mean of the two middle ones;
    reducing over time keeps the band names; a count is 0 where all inputs are masked; min skips masked inputs.
 6. Binary operations are masked where either side is; `mosaic` lays the last image on top, band by band.
 7. `reduceRegion` takes the pixels of the given lattice whose centres lie in the region, each with weight 1, and gives null for
    a mean over nothing. With one reducer the keys are the bands' names, with several they are `<band>_<reducer>`.
 8. A missing property reads as null, may stand in a feature, and is left out of the reply. `aggregate_array` leaves nulls out.
    Mapped features keep `system:index`.
 9. Pixels that are masked in the end come as 0 in NPY. Types are as the last cast says; casts to uint16 clip.
10. A reply counts as pixels x bands x bytes of the widest band towards the 48 MB; the texts of errors are as in public reports.
11. The 41st request at once is refused with a 429; none waits in a queue.
"""

import argparse
import hashlib
import io
import json
import select
import socket
import sys
import threading
import time
from dataclasses import replace
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from . import algorithms, discovery, images, reducers
from .archive import Archive
from .assumptions import REQUEST, Assumptions, Request, assumed
from .evaluate import Evaluation
from .evaluate import algorithms as algorithm_list
from .faults import Faults, FaultSource, Reply, error
from .values import Grid, Image, Refusal, to_json

FUNCTIONS = (algorithms, images, reducers)
"""Modules whose functions are served; importing them is what makes them known."""
MAX_BYTES = 50_331_648
MAX_DIMENSION = 32_768
MAX_BANDS = 1024
MAX_IN_FLIGHT = 40
MAX_ELEMENTS = 5000
MAX_BODY_BYTES = 10_485_760
_STALL_S = 600.0
_SLOW_PARTS, _SLOW_S = 8, 0.4


class EarthEngine(ThreadingHTTPServer):
    """The server and what its requests share."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, archive: Path, *, port: int, log: Path | None, faults: Faults) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        images.ARCHIVE[:] = [Archive(archive)]
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.faults = FaultSource(faults)
        self.assumptions = Assumptions()
        self.broken: frozenset[str] = frozenset()
        self._log = log
        self._in_flight = 0
        self._lock = threading.Lock()

    def enter(self) -> int:
        with self._lock:
            self._in_flight += 1
            return self._in_flight

    def leave(self, **entry: Any) -> None:
        with self._lock:
            self._in_flight -= 1
            if self._log is not None:
                with self._log.open("a") as file:
                    file.write(json.dumps(entry) + "\n")

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Show what went wrong, unless it is only that the client went away."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: EarthEngine

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: the request log has it."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/$discovery/rest":
            self._send(Reply(200, discovery.document(self.server.url)))
        elif path.startswith("/v1/projects/") and path.endswith("/algorithms"):
            self._send(Reply(200, algorithm_list()))
        else:
            self._send(error(404, "NOT_FOUND", f"this server has no {path}"))

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path == "/faults":
            self.server.faults = FaultSource(Faults.from_json(body))
        elif self.path == "/assumptions":
            self.server.assumptions = Assumptions.from_json(body)
        elif self.path == "/broken":
            self.server.broken = frozenset(json.loads(body))
        else:
            self._send(error(404, "NOT_FOUND", f"this server has no {self.path}"))
            return
        self._send(Reply(200, b"{}"))

    def do_POST(self) -> None:
        in_flight, start = self.server.enter(), time.time()
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        path = self.path.partition("?")[0]
        reply, kind = Reply(0), "none"
        try:
            time.sleep(self.server.faults.faults.latency_s)
            drawn = self.server.faults.draw(body)
            if drawn is None:
                reply = self._answer(path, body, in_flight)
            else:
                kind, reply = drawn
                if reply.act in ("truncate", "slow"):
                    right = self._answer(path, body, in_flight)
                    reply = Reply(right.status, right.content, right.content_type, act=reply.act)
            # Counted out before the last byte: the client may send its next request the moment it has it.
        finally:
            if reply.act == "answer":
                self._leave(start, path, body, reply, kind, in_flight)
        if reply.act == "answer":
            self._send(reply)
            return
        try:
            self._send(reply)
        finally:
            self._leave(start, path, body, reply, kind, in_flight)

    def _leave(self, start: float, path: str, body: str, reply: Reply, kind: str, in_flight: int) -> None:
        self.server.leave(
            time=start,
            seconds=round(time.time() - start, 4),
            path=path,
            status=reply.status,
            bytes=len(reply.content),
            body_sha256=hashlib.sha256(body.encode()).hexdigest(),
            fault=kind,
            in_flight=in_flight,
            aggregations=reply.aggregations,
            elements=reply.elements,
        )

    def _answer(self, path: str, body: str, in_flight: int) -> Reply:
        if in_flight > MAX_IN_FLIGHT:
            return error(429, "RESOURCE_EXHAUSTED", "Too many concurrent requests.")
        if len(body) > MAX_BODY_BYTES:
            return error(400, "INVALID_ARGUMENT", f"Request payload size exceeds the limit: {MAX_BODY_BYTES} bytes.")
        faults = self.server.faults.faults
        limits = (faults.memory_px, faults.aggregations, faults.elements)
        return _answered(path, body, limits, self.server.assumptions, self.server.broken)

    def _send(self, reply: Reply) -> None:
        if reply.act == "drop":
            self._hang_up()
            return
        if reply.act == "stall":
            self._wait_until_gone()
            self._hang_up()
            return
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.content)))
        self.end_headers()
        if reply.act == "truncate":
            self.wfile.write(reply.content[: len(reply.content) // 2])
            self.wfile.flush()
            self._hang_up()
        elif reply.act == "slow":
            step = len(reply.content) // _SLOW_PARTS + 1
            for start in range(0, len(reply.content), step):
                time.sleep(_SLOW_S / _SLOW_PARTS)
                self.wfile.write(reply.content[start : start + step])
                self.wfile.flush()
        else:
            self.wfile.write(reply.content)
            self.wfile.flush()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _wait_until_gone(self) -> None:
        until = time.monotonic() + _STALL_S
        while time.monotonic() < until:
            readable, _, _ = select.select([self.connection], [], [], 0.1)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                return


@lru_cache(maxsize=16)
def _answered(
    path: str, body: str, limits: tuple[int, int, int], assumptions: Assumptions, broken: frozenset[str]
) -> Reply:
    """Answer a request. The last few are remembered, so that a benchmark measures its client and not this server."""
    memory_px, aggregations, elements = limits
    request = Request(
        assumptions=assumptions, broken=broken, max_aggregations=aggregations, max_elements=elements or MAX_ELEMENTS
    )
    token = REQUEST.set(request)
    try:
        reply = _evaluated(path, json.loads(body), memory_px)
    except Refusal as refusal:
        code = {404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}.get(refusal.status, "INVALID_ARGUMENT")
        reply = error(refusal.status, code, str(refusal))
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        # A value of the wrong kind somewhere in the expression. A 4xx, because the client would try a 5xx again.
        reply = error(400, "INVALID_ARGUMENT", f"this server cannot evaluate the expression: {fault!r}")
    finally:
        REQUEST.reset(token)
    return replace(reply, aggregations=request.aggregations, elements=request.elements)


def _evaluated(path: str, request: dict[str, Any], memory_px: int) -> Reply:
    if path.endswith("/value:compute"):
        return _value(request)
    if path.endswith("/image:computePixels"):
        return _pixels(request, memory_px)
    raise Refusal(f"this server has no {path}", status=404)


def _value(request: dict[str, Any]) -> Reply:
    _only(request, {"expression"})
    return Reply(200, json.dumps({"result": to_json(Evaluation(request["expression"]).result())}).encode())


def _pixels(request: dict[str, Any], memory_px: int) -> Reply:
    _only(request, {"expression", "fileFormat", "bandIds", "grid"})
    if request.get("fileFormat") != "NPY":
        raise Refusal(f"the file format {request.get('fileFormat')!r} is not implemented, only NPY is")
    grid = _grid(request["grid"])
    image = Evaluation(request["expression"]).result()
    if not isinstance(image, Image):
        raise Refusal("computePixels: the expression gives no image")
    image = images.image_select(image, request["bandIds"])
    itemsize = max(np.dtype(band.dtype).itemsize for band in image.bands.values())
    size = grid.width * grid.height * len(image.bands) * itemsize
    if size > MAX_BYTES:
        raise Refusal(f"Total request size ({size} bytes) must be less than or equal to {MAX_BYTES} bytes.")
    if max(grid.shape) > MAX_DIMENSION or len(image.bands) > MAX_BANDS:
        raise Refusal(
            f"Pixel grid dimensions ({grid.width}x{grid.height}) must be less than or equal to {MAX_DIMENSION}."
        )
    if memory_px and grid.width * grid.height > memory_px:
        raise Refusal("User memory limit exceeded.")
    table = np.zeros(grid.shape, dtype=[(name, band.dtype) for name, band in image.bands.items()])
    for name, band in image.bands.items():
        pixels = band.on(grid)
        masked = 0 if assumed().masked_npy == "zero" else _largest(band.dtype)
        table[name] = np.where(pixels.there, pixels.values, masked)
    content = io.BytesIO()
    np.save(content, table, allow_pickle=False)
    return Reply(200, content.getvalue(), "application/octet-stream")


def _largest(dtype: str) -> float:
    kind = np.dtype(dtype)
    return float(np.finfo(kind).max) if kind.kind == "f" else float(np.iinfo(kind).max)


def _grid(value: dict[str, Any]) -> Grid:
    _only(value, {"dimensions", "affineTransform", "crsCode"})
    t, size = value["affineTransform"], value["dimensions"]
    transform = Affine(
        t["scaleX"], t.get("shearX", 0), t["translateX"], t.get("shearY", 0), t["scaleY"], t["translateY"]
    )
    return Grid(value["crsCode"], transform, size["width"], size["height"])


def _only(mapping: dict[str, Any], allowed: set[str]) -> None:
    if unknown := set(mapping) - allowed:
        raise Refusal(f"this server does not know the field {sorted(unknown)}; it knows {sorted(allowed)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for Earth Engine over a static STAC catalogue.")
    parser.add_argument("archive", type=Path, help="folder with catalog.json")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--log", type=Path, help="request log, one JSON object per line")
    parser.add_argument("--faults", type=Faults.from_json, default=Faults(), help="JSON: rate, kinds, seed, only ...")
    arguments = parser.parse_args()
    server = EarthEngine(arguments.archive, port=arguments.port, log=arguments.log, faults=arguments.faults)
    print(server.url, flush=True)  # noqa: T201 - whoever starts it reads the address here
    server.serve_forever()


if __name__ == "__main__":
    main()
