"""Measure how well the Earth Engine source keeps its pool of requests busy, against the stand-in server with latency.

    python benchmarks/earthengine.py [--requests 24] [--latency 0.5] [--rounds 20]

The stand-in (tests/earthengine) waits `latency` seconds before it answers, so that a pool of N requests can do N / latency
requests a second and no more. What is reported is how much of that is reached: by threads that call `mean_sar` on grids of one
request each, and by the pixel phase of a whole `build` of many small places, which also encodes and writes the files. The last
part counts the requests of large grids.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from s1s2pairs.build.build import build
from s1s2pairs.build.opener import SourceOpener
from s1s2pairs.plan.choices import Plan, place
from s1s2pairs.plan.search import plan_roi
from s1s2pairs.sources.earthengine import EarthEngineSource
from s1s2pairs.sources.earthengine.limits import sar_bytes, windows
from tests.earthengine.world import recipe, write_archive

ENOUGH = 0.85


def main() -> None:
    """Start the stand-in, measure, stop it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--requests", type=int, default=24, help="in flight at once")
    parser.add_argument("--latency", type=float, default=0.5, help="seconds the server waits before each answer")
    parser.add_argument("--rounds", type=int, default=20, help="requests for each place in the pool")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive, log = write_archive(folder / "archive"), folder / "requests.jsonl"
        server, url = _start(archive, log)
        try:
            os.environ |= {"S1S2_EE_URL": url, "S1S2_EE_ANONYMOUS": "1"}
            measure(url, log, requests=arguments.requests, latency_s=arguments.latency, rounds=arguments.rounds)
        finally:
            server.kill()
            server.wait()


def _start(archive: Path, log: Path) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "tests.earthengine.server", str(archive), "--log", str(log)]
    server = subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    return server, server.stdout.readline().strip()


def measure(url: str, log: Path, *, requests: int, latency_s: float, rounds: int) -> None:
    """Run both parts and print what came out."""
    source = EarthEngineSource(requests=requests)
    roi = recipe().rois[0]
    plan = plan_roi(source, roi)
    assert plan.choices is not None
    radar = [plan.choices.periods[0].sar[0].scene_ids[:1]]
    grid = place(roi).grid
    found = _entries(log)
    print(f"search: {len(found)} requests for one ROI and {len(plan.choices.periods)} periods")

    opener = SourceOpener(name="earthengine", requests=requests)
    # The server remembers its last answers; so that the client is measured and not the server, let it compute all of them now.
    build(Plan(name="one", source=source.name, rois=(plan,)), opener=opener, out=str(log.parent / "one"))
    source = EarthEngineSource(requests=requests)

    _set_latency(url, latency_s)
    log.unlink()
    number = requests * rounds
    with _timed("source", number, log, requests=requests, latency_s=latency_s), ThreadPoolExecutor(requests) as threads:
        waiting = [threads.submit(source.mean_sar, radar, polarisations=("VV",), grid=grid) for _ in range(number)]
        for future in waiting:
            future.result()

    log.unlink()
    rois = tuple(replace(plan, roi=replace(roi, name=f"{roi.name}-{i}")) for i in range(number // 4))
    many = Plan(name="many", source=source.name, rois=rois)
    with _timed("build ", 4 * len(rois), log, requests=requests, latency_s=latency_s):
        report = build(many, opener=opener, out=str(log.parent / "built"), workers=opener.usual_workers)
    assert not report.failed

    for side in (600, 2048, 4096):
        least = math.ceil(side * side * sar_bytes(2) / 50_331_648)
        parts = windows(grid.expand((side, side)), bytes_per_pixel=sar_bytes(2))
        print(f"grid of {side} x {side}: {len(parts)} radar requests a period, the 48 MB allow no fewer than {least}")


@contextmanager
def _timed(what: str, number: int, log: Path, *, requests: int, latency_s: float) -> Iterator[None]:
    start, cpu_s = time.perf_counter(), time.process_time()
    yield
    whole_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_s
    entries = _entries(log)
    assert len(entries) == number, f"{len(entries)} requests, not {number}"
    # From the first request's arrival to the last one's answer: signing in and writing the index are no part of the pixel phase.
    seconds = max(entry["time"] + entry["seconds"] for entry in entries) - min(entry["time"] for entry in entries)
    rate, ideal = number / seconds, requests / latency_s
    answers = sorted(entry["seconds"] for entry in entries)
    print(
        f"{what}: {number} requests in {seconds:.2f} s = {rate:.1f} a second, {rate / ideal:.1%} of {requests} / {latency_s} s "
        f"({'enough' if rate >= ENOUGH * ideal else 'NOT ENOUGH'}: {ENOUGH:.0%} is wanted)\n"
        f"        at most {max(entry['in_flight'] for entry in entries)} in flight, median answer "
        f"{answers[len(answers) // 2]:.3f} s, {1000 * cpu_s / number:.1f} ms of this process a request, {whole_s:.2f} s in all; "
        f"load average {os.getloadavg()[0]:.1f}"
    )


def _entries(log: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def _set_latency(url: str, latency_s: float) -> None:
    body = json.dumps({"latency_s": latency_s}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{url}/faults", data=body, method="PUT")):
        pass


if __name__ == "__main__":
    main()
