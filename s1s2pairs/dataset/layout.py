"""Where everything lies in a dataset: relative paths, told once."""

import re
from typing import Final

from ..recipe.settings import Split
from ..sensors import Sensor

INDEX_FILE: Final = "index.parquet"
CARD_FILE: Final = "dataset.json"
LOCK_FILE: Final = "recipe.lock.geojson"
REPORT_FILE: Final = "report.html"
OURS: Final = (LOCK_FILE, INDEX_FILE, CARD_FILE)
"""Files that tell a dataset from a folder of other things."""

PARTIAL: Final = ".partial"
"""Folder for what only an unfinished build needs; gone when the dataset is whole."""
PLANS: Final = f"{PARTIAL}/plans"
"""Plans of single ROIs, before the lock file holds them all."""

_RASTERS, _PATCHES = "rasters", "patches"
_MADE = re.compile(
    rf"{_PATCHES}/(train|val|test)/[a-z0-9_-]+/[a-z0-9_-]+/[\w-]+_s[12]\.tif|{_RASTERS}/[a-z0-9_-]+/[\w-]+/s[12]\.tif"
)


def raster_path(roi: str, period: str, sensor: Sensor) -> str:
    """Return where the raster of a ROI, period and sensor lies."""
    return f"{_RASTERS}/{roi}/{period}/{sensor}.tif"


def patch_path(*, split: Split, roi: str, patch: str, period: str, sensor: Sensor) -> str:
    """Return where a patch of a raster lies."""
    return f"{_PATCHES}/{split}/{roi}/{patch}/{period}_{sensor}.tif"


def record_path(roi: str, period: str, sensor: Sensor, key: str) -> str:
    """Return where an unfinished build keeps the record of a finished raster; `key` stands for what it was made from."""
    return f"{PARTIAL}/done/{roi}/{period}_{sensor}-{key}.json"


def plan_path(roi: str, key: str) -> str:
    """Return where an unfinished build keeps the plan of a ROI."""
    return f"{PLANS}/{roi}-{key}.json"


def rasters_pattern(sensor: Sensor) -> str:
    """Return the pattern of all rasters of a sensor, as shells and Croissant have it."""
    return f"{_RASTERS}/*/*/{sensor}.tif"


def patches_pattern(sensor: Sensor) -> str:
    """Return the pattern of all patches of a sensor."""
    return f"{_PATCHES}/*/*/*/*_{sensor}.tif"


def is_made(path: str) -> bool:
    """Tell whether a path is that of a raster or patch as a build names them."""
    return _MADE.fullmatch(path) is not None


def is_image(path: str) -> bool:
    """Tell whether a path lies where only rasters and patches do, and is not what a viewer left there."""
    return path.startswith((f"{_RASTERS}/", f"{_PATCHES}/")) and not is_viewers(path)


def is_partial(path: str) -> bool:
    """Tell whether a path is of an unfinished build."""
    return path.startswith(f"{PARTIAL}/")


def is_viewers(path: str) -> bool:
    """Tell whether a path is of a file that viewers of images and folders leave behind: no part of any dataset."""
    name = path.rpartition("/")[2]
    return name in (".DS_Store", "Thumbs.db") or name.endswith((".aux.xml", ".ovr"))


def roi_of_raster(path: str) -> str | None:
    """Return the ROI whose raster lies at a path, None where it is no raster's."""
    folder, _, rest = path.partition("/")
    return rest.partition("/")[0] if folder == _RASTERS and not is_viewers(path) else None
