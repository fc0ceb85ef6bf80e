"""Peak memory is bounded by the grid, not by the number of acquisitions: measured in a process of its own."""

import copy
import logging
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.s1s2pairs.sources.stac.conftest import TinyArchive

log = logging.getLogger(__name__)

PIXELS, LIMIT_MIB = 3000, 1500
SCRIPT = """
import sys
from pathlib import Path
from affine import Affine
from odc.geo.geobox import GeoBox
from s1s2pairs.sources.opening import open_source

archive, dates, side = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
source = open_source(archive)
grid = GeoBox((side, side), Affine(10, 0, 500_000, 0, -10, 5_600_000), "EPSG:32631")
mean = source.mean_sar([(f"S{i}",) for i in range(dates)], polarisations=("VV", "VH"), grid=grid)
assert (mean.count == dates).all()
image = source.composite_optical(
    [(f"O{i}",) for i in range(dates)], bands=("B2", "B3", "B4", "B8", "B11", "B12"), method="median", grid=grid
)
assert (image.clear == dates).all()
print(Path("/proc/self/status").read_text())
"""


def peak_mib(archive: "TinyArchive", dates: int) -> float:
    command = [sys.executable, "-c", SCRIPT, str(archive.root), str(dates), str(PIXELS)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = re.search(r"VmHWM:\s*(\d+) kB", done.stdout)
    assert found
    return int(found.group(1)) / 1024


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
def test_ten_acquisitions_of_a_large_roi(archive: "TinyArchive") -> None:
    random = np.random.default_rng(0)
    speckle = random.gamma(4.4, 0.02, (PIXELS, PIXELS)).astype(np.float32)
    colour = random.integers(1, 9000, (PIXELS, PIXELS), dtype=np.uint16)
    half = colour[::2, ::2]
    bands = {"blue": colour, "green": colour, "red": colour, "nir": colour, "swir16": half, "swir22": half}
    scl = np.full(half.shape, 4, np.uint8)
    archive.sar("S0", "2019-06-01T17:00:00Z", speckle, size_m=10.0 * PIXELS)
    archive.optical("O0", "2019-06-01T10:00:00Z", scl, bands, size_m=10.0 * PIXELS)
    # Ten items of the same files: reading them takes as much memory as reading ten times as many.
    for number in range(1, 10):
        for letter in "SO":
            item = copy.deepcopy(archive.items[f"{letter}0"])
            item["id"] = f"{letter}{number}"
            for asset in item["assets"].values():
                asset["href"] = f"../{letter}0/{asset['href'].removeprefix('./')}"
            archive.items[item["id"]] = item
    archive.write()
    few, many = peak_mib(archive, 2), peak_mib(archive, 10)
    log.info("peak of two acquisitions %.0f MiB, of ten %.0f MiB", few, many)
    assert many < LIMIT_MIB, f"{many:.0f} MiB"
    # What one tile holds is bounded, however many acquisitions share it.
    assert many - few < 200, f"{few:.0f} MiB for two acquisitions, {many:.0f} for ten"
