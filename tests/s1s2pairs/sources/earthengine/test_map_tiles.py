"""Map layers drawn by Earth Engine: what the real client sends, taken down by a server that draws nothing.

That Earth Engine draws these graphs is not shown here. The client builds them from Earth Engine's own list of functions, so that
their names and arguments are right.
"""

import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ee", reason="earthengine-api is not installed", exc_type=ImportError)

from s1s2pairs.plan.choices import Plan
from s1s2pairs.plan.lock import dump_lock
from s1s2pairs.report.layers import drawings
from s1s2pairs.report.web_map import make_map
from s1s2pairs.sources.earthengine.map_tiles import layer_urls
from tests.earthengine import discovery
from tests.earthengine.evaluate import algorithms
from tests.s1s2pairs.handmade import make_dataset


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"

    def do_GET(self) -> None:
        if self.path.startswith("/$discovery/rest"):
            self._send(_with_maps(discovery.document(self.server.url)))
        else:
            self._send(algorithms())

    def do_POST(self) -> None:
        assert self.path.partition("?")[0] == "/v1/projects/anonymous/maps"
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(body)
        self._send(json.dumps({"name": f"projects/anonymous/maps/layer{len(self.server.requests)}"}).encode())

    def _send(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.requests: list[dict[str, Any]] = []


def _with_maps(document: bytes) -> bytes:
    described = json.loads(document)
    resources = described["resources"]["projects"]["resources"]
    create = json.loads(json.dumps(resources["value"]["methods"]["compute"]))
    create |= {"id": "earthengine.projects.maps.create", "path": "v1/{+parent}/maps", "parameterOrder": ["parent"]}
    create["parameters"] = {"parent": create["parameters"]["project"]}
    described["parameters"]["fields"] = {"location": "query", "type": "string"}
    resources["maps"] = {"methods": {"create": create}}
    return json.dumps(described).encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    server = _Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("S1S2_EE_URL", server.url)
    monkeypatch.setenv("S1S2_EE_ANONYMOUS", "1")
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def _functions(body: dict[str, Any]) -> set[str]:
    text = json.dumps(body["expression"])
    return {part.split('"')[0] for part in text.split('"functionName": "')[1:]}


@pytest.mark.parametrize("polarisations", [("VV", "VH"), ("VV",)])
def test_one_request_per_sensor_and_period_names_every_scene(
    server: _Server, tmp_path: Path, polarisations: tuple[str, ...]
) -> None:
    plan = make_dataset(tmp_path, polarisations=polarisations)
    urls = layer_urls(drawings(plan))
    assert list(urls) == [
        f"{sensor} {year} (Earth Engine)" for year in (2019, 2021) for sensor in ("Sentinel-2", "Sentinel-1")
    ]
    assert len(server.requests) == 4
    assert len(set(urls.values())) == 4
    assert all(url.startswith(f"{server.url}/v1/projects/anonymous/maps/layer") for url in urls.values())
    assert all(url.endswith("/tiles/{z}/{x}/{y}") for url in urls.values())
    for body, (name, _) in zip(server.requests, urls.items(), strict=True):
        sensor, year = name.split()[:2]
        sent = json.dumps(body)
        for roi in plan.rois:
            assert roi.choices
            for period in roi.choices.periods:
                for kind, used in (("Sentinel-2", period.optical), ("Sentinel-1", period.sar)):
                    for acquisition in used:
                        assert (f"/{acquisition.scene_ids[0]}" in sent) == (kind == sensor and period.label == year)
        assert {"Image.visualize", "Image.clip", "ImageCollection.mosaic"} <= _functions(body)
        assert ("Image.log10" in _functions(body)) == (sensor == "Sentinel-1")


@pytest.mark.skipif(importlib.util.find_spec("geemap") is None, reason="geemap is not installed: extra `maps`")
def test_map_offers_the_layers(server: _Server, tmp_path: Path) -> None:
    plan = make_dataset(tmp_path)
    (tmp_path / "recipe.lock.geojson").write_bytes(
        dump_lock(Plan(name=plan.name, source="earthengine", rois=plan.rois))
    )
    page = make_map(tmp_path, tmp_path / "map.html", source_layers=True).read_text(encoding="utf-8")
    assert page.count(f"{server.url}/v1/projects/anonymous/maps/layer") == 4
    assert "Sentinel-1 2021 (Earth Engine)" in page
