"""The index of a built dataset: one row per patch and period, as GeoParquet; and how a dataset is opened."""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import pandas as pd
import pyarrow
from pyproj.exceptions import CRSError
from shapely.errors import ShapelyError

from ..errors import DatasetError

INDEX_FILE: Final = "index.parquet"
CARD_FILE: Final = "dataset.json"
LOCK_FILE: Final = "recipe.lock.geojson"

COLUMNS: Final = {
    "patch_id": "name of the patch, `<roi>_<row>_<column>` of its first pixel; the same in all periods",
    "roi": "name of the ROI",
    "split": "train, val or test",
    "period": "label of the period",
    "row_off": "first row of the patch in the ROI's grid",
    "col_off": "first column of the patch in the ROI's grid",
    "height": "rows",
    "width": "columns",
    "geometry": "outline of the patch, lon/lat",
    "crs": "of the patch's pixels, e.g. EPSG:32631",
    "transform": "affine transform of the patch: six numbers, as rasterio's Affine",
    "s1_path": "GeoTIFF of the radar patch, relative to the dataset",
    "s2_path": "GeoTIFF of the optical patch, relative to the dataset",
    "s1_sha256": "SHA-256 of that file",
    "s2_sha256": "SHA-256 of that file",
    "s1_bands": "bands of the radar patch in order (dB), without `count`",
    "s2_bands": "bands of the optical patch in order (reflectance x 10000), without `clear`",
    "s1_valid_fraction": "pixels of the patch with radar values",
    "s2_valid_fraction": "pixels of the patch with optical values",
    "cloud_fraction": "mean cloud fraction over the ROI of the optical acquisitions used",
    "s1_scene_ids": "scenes averaged",
    "s2_scene_ids": "scenes composited",
    "s1_mean_time": "mean acquisition time of the radar acquisitions, UTC",
    "s2_mean_time": "mean acquisition time of the optical acquisitions, UTC",
    "lag_days": "s1_mean_time - s2_mean_time, days",
    "relative_orbit": "Sentinel-1 relative orbit, 1..175",
    "orbit_pass": "ascending or descending",
    "mean_incidence_deg": "mean incidence angle over the ROI, degrees from the ellipsoid normal",
    "incidence_source": "raster, property, annotation or model",
    "backscatter": "sigma0 or gamma0",
    "s1_count": "radar acquisitions averaged",
    "s2_count": "optical acquisitions composited",
    "s2_composite": "median or least_cloudy",
    "month_shift": "whole months by which the optical window was moved",
    "season_locked": "whether all periods of the ROI were moved alike",
}
"""Column -> what it holds, in the file's order."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A built dataset, opened."""

    root: Path
    index: gpd.GeoDataFrame
    """One row per patch and period, columns as in `COLUMNS`."""
    sha256: str
    """Of the index file; as the index holds every patch's hash, it stands for the dataset."""

    @cached_property
    def card(self) -> Mapping[str, Any]:
        """The dataset card (`dataset.json`)."""
        try:
            card: dict[str, Any] = json.loads((self.root / CARD_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DatasetError(f"{self.root / CARD_FILE}: cannot be read ({error}); build the dataset again") from error
        return card

    @property
    def periods(self) -> tuple[str, ...]:
        """Labels of all periods, by mean optical time."""
        first = self.index.groupby("period")["s2_mean_time"].min().sort_values(kind="stable")
        return tuple(first.index)

    @property
    def s1_bands(self) -> tuple[str, ...]:
        """Radar bands that every patch has, in the first patch's order."""
        return _common(self.index["s1_bands"])

    @property
    def s2_bands(self) -> tuple[str, ...]:
        """Optical bands that every patch has, in the first patch's order."""
        return _common(self.index["s2_bands"])


def _common(lists: Iterable[Iterable[str]]) -> tuple[str, ...]:
    unique = list(dict.fromkeys(tuple(bands) for bands in lists))
    return tuple(band for band in unique[0] if all(band in bands for bands in unique)) if unique else ()


def dump_index(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return rows as GeoParquet, in the order given; the same rows give the same bytes.

    Args:
        rows: One mapping per patch and period with the keys of `COLUMNS`; `geometry` a shapely geometry in lon/lat,
        times aware.
    """
    frame = gpd.GeoDataFrame(pd.DataFrame(list(rows), columns=list(COLUMNS)), geometry="geometry", crs="EPSG:4326")
    for column in ("s1_mean_time", "s2_mean_time"):
        frame[column] = pd.to_datetime(frame[column], utc=True).astype("datetime64[us, UTC]")
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()


UNREADABLE: Final = (pyarrow.ArrowException, OSError, ValueError, KeyError, TypeError, CRSError, ShapelyError)
"""Everything that reading a damaged index raises, depending on where the damage is."""


def read_geoparquet(content: bytes) -> gpd.GeoDataFrame:
    """Read the bytes of an index; one of `UNREADABLE` is raised when they are none."""
    return gpd.read_parquet(io.BytesIO(content))


def open_dataset(path: str | Path) -> Dataset:
    """Open a built dataset.

    Raises:
        DatasetError: There is no dataset, its index is damaged, or it lacks columns.
    """
    root = Path(path)
    file = root / INDEX_FILE
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DatasetError(
            f"{root}: no dataset here ({INDEX_FILE} cannot be read: {error.strerror}); "
            f"build one with `s1s2 build RECIPE --out {root}`"
        ) from error
    try:
        index = read_geoparquet(content)
    except UNREADABLE as error:
        raise DatasetError(f"{file}: no GeoParquet file ({error}); build the dataset again") from error
    missing = [column for column in COLUMNS if column not in index.columns]
    if missing:
        raise DatasetError(f"{file}: lacks the columns {', '.join(missing)}; build the dataset again with this version")
    return Dataset(root=root, index=index, sha256=hashlib.sha256(content).hexdigest())
