"""How long a build from a STAC archive takes and how much memory, against the plainest reading and against odc-stac.

    python benchmarks/build.py [--size 1000] [--rounds 3] [--folder DIR]

An archive of four ROIs, two years, ten Sentinel-1 and five Sentinel-2 acquisitions each is written first (speckle and noise,
which compress as badly as the real thing; scenes reach beyond the ROIs), and planned once. Then every way of getting the plan's
pixels runs in a process of its own, one after the other in each round, one thread each:

- floor: rasterio reads each window, numpy adds up or sorts. No tiles, no checks, no mosaics, no other grids.
- source: `mean_sar` and `composite_optical` of our STAC source.
- odc-stac: `odc.stac.load`, then mean and median of xarray.
- floor + files: the floor, its rasters and patches written as `build` writes them.
- build: `s1s2 build` from the locked plan, everything included (hashes, index, card).

Wall time on a busy machine says little: processor time is given too. Only ratios within one run count.
"""

import argparse
import datetime as dt
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import build_ways
import numpy as np
from build_archive import YEARS, write_archive

from s1s2pairs.build.build import plan_only
from s1s2pairs.build.opener import SourceOpener
from s1s2pairs.dataset.units import units_of
from s1s2pairs.plan.choices import Plan
from s1s2pairs.plan.lock import parse_lock
from s1s2pairs.recipe.parser import parse_recipe

WAYS = ("floor", "source", "odc-stac", "floor + files", "build")


def only_pixels(
    way: Callable[[Path, Plan], build_ways.Pixels], check: Path | None
) -> Callable[[Path, Plan, Path], None]:
    """Go through the pixels; the first unit of each sensor is kept for comparison when `check` is given."""

    def run(archive: Path, plan: Plan, _out: Path) -> None:
        for unit, pixels in way(archive, plan):
            if check is not None and unit.roi.name == "roi-0":
                np.save(check / f"{way.__name__}_{unit.period.label}_{unit.sensor}.npy", pixels)

    return run


def run_way(name: str, archive: Path, out: Path, check: Path | None) -> dict[str, float]:
    """Run one way in this process; returns seconds, processor seconds and peak memory."""
    ways = {
        "floor": only_pixels(build_ways.floor, check),
        "source": only_pixels(build_ways.source, check),
        "odc-stac": only_pixels(build_ways.odc, check),
        "floor + files": build_ways.floor_files,
        "build": build_ways.whole_build,
    }
    plan = parse_lock((archive / "plan.geojson").read_text(), file="plan.geojson")
    begun, used = time.perf_counter(), time.process_time()
    ways[name](archive, plan, out)
    spent = {"s": time.perf_counter() - begun, "cpu_s": time.process_time() - used}
    # Not `getrusage`: its peak begins with that of the process that started this one.
    peak_kib = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return spent | {"mib": int(peak_kib.group(1)) / 1024 if peak_kib else float("nan")}


def compare(check: Path) -> str:
    """Say how far the pixels of the other ways lie from the floor's."""
    parts = []
    for way in ("source", "odc"):
        worst = {"s1": 0.0, "s2": 0.0}
        for file in check.glob("floor_*.npy"):
            ours, theirs = (np.load(check / file.name.replace("floor", name)).astype(float) for name in ("floor", way))
            sensor = file.stem[-2:]
            worst[sensor] = max(worst[sensor], float(np.nanmax(np.abs(ours - theirs))))
        parts.append(f"{way} within {worst['s1']:.1e} dB and {worst['s2']:g} counts of the floor")
    return "; ".join(parts)


def main() -> None:
    """Write the archive, run all ways in turns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1000, help="side of each ROI, pixels; an even number")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keeps the archive for another run; else a temporary folder")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--check", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        print(json.dumps(run_way(args.way, args.folder, args.out, args.check)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary) / "archive"
        if not (folder / "plan.geojson").exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_archive(folder, args.size)
            text = (folder / "recipe.geojson").read_text()
            parsed = parse_recipe(
                text, file="recipe.geojson", today=dt.date(2026, 1, 1), default_name="benchmark", years=YEARS
            )
            plan_only(parsed, opener=SourceOpener(name=str(folder)), out=f"{temporary}/plan")
            (folder / "plan.geojson").write_bytes((Path(temporary) / "plan" / "recipe.lock.geojson").read_bytes())
        plan = parse_lock((folder / "plan.geojson").read_text(), file="plan.geojson")
        assert all(roi.choices for roi in plan.rois), [roi.failure for roi in plan.rois]
        check = Path(temporary) / "check"
        check.mkdir()
        print(table(measure(folder, Path(temporary), check, args.rounds), plan))
        print("\n" + compare(check))


def measure(folder: Path, temporary: Path, check: Path, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Run every way once a round, each in its own process."""
    results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GDAL_NUM_THREADS"), "1")
    for number in range(rounds + 1):
        for i, way in enumerate(WAYS if number else WAYS[:3]):
            out = temporary / f"out-{number}-{i}"
            command = [sys.executable, __file__, "--folder", str(folder), "--way", way, "--out", str(out)]
            if number == 0:  # fills the page cache and checks the pixels; not timed
                command += ["--check", str(check)]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **one_thread})
            if number:
                results[way].append(json.loads(done.stdout.splitlines()[-1]))
    return results


def table(results: dict[str, list[dict[str, float]]], plan: Plan) -> str:
    """Return the results as a Markdown table."""
    summary = {
        way: {
            "s": min(r["s"] for r in runs),
            "cpu_s": min(r["cpu_s"] for r in runs),
            "mib": max(r["mib"] for r in runs),
        }
        for way, runs in results.items()
    }
    units = units_of(plan)
    grid = units[0].choices.grid
    setting = (
        f"{len(plan.rois)} ROIs of {grid.height} x {grid.width} pixels, {len(units) // len(plan.rois) // 2} periods, "
        f"{len(units[0].scenes)} radar and {len(units[1].scenes)} optical acquisitions each; best of "
        f"{len(results['build'])} rounds, one thread; {os.cpu_count()} cores ({platform.machine()}), "
        f"load {os.getloadavg()[0]:.0f}."
    )
    lines = [
        setting,
        "",
        "| way | wall s | processor s | x floor | peak MiB |",
        "|---|---|---|---|---|",
    ]
    for way, row in summary.items():
        base = summary["floor + files" if way in {"floor + files", "build"} else "floor"]
        lines.append(
            f"| {way} | {row['s']:.1f} | {row['cpu_s']:.1f} | {row['cpu_s'] / base['cpu_s']:.2f} | {row['mib']:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
