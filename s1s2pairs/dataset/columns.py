"""The columns of the index: what each holds, and whether a table read from elsewhere holds that."""

from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute

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

TEXT_LISTS: Final = ("s1_bands", "s2_bands", "s1_scene_ids", "s2_scene_ids")
NUMBERS: Final = ("s1_valid_fraction", "s2_valid_fraction", "cloud_fraction", "lag_days", "mean_incidence_deg")
WHOLE: Final = ("row_off", "col_off", "height", "width", "relative_orbit", "s1_count", "s2_count", "month_shift")
TIMES: Final = ("s1_mean_time", "s2_mean_time")
_MOST: Final = 1 << 31
"""No whole number of the index is larger."""
_TIME: Final = pa.timestamp("us", "UTC")
_YEARS: Final = (2000, 2100)
_FIRST_US, _LAST_US = ((year - 1970) * 31_556_952_000_000 for year in _YEARS)


def column_problem(table: pa.Table, name: str) -> str | None:
    """Say what is wrong with the type or the values of a column of `COLUMNS`; None where nothing is."""
    if table.column_names.count(name) != 1:
        return "is there twice"
    column = table.column(name)
    wanted, fits = _KINDS.get(name, ("text", _is_text))
    if not fits(column.type):
        return f"holds {column.type}; expected {wanted}"
    if column.null_count:
        return f"has {column.null_count} rows without a value"
    return _value_problem(column, name)


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


_Fits = Callable[[pa.DataType], bool]
_KINDS: Final[dict[str, tuple[str, _Fits]]] = {
    **dict.fromkeys(TEXT_LISTS, ("lists of text", lambda kind: _is_list(kind) and _is_text(kind.value_type))),
    **dict.fromkeys(NUMBERS, ("numbers", pa.types.is_floating)),
    **dict.fromkeys(WHOLE, ("whole numbers", pa.types.is_integer)),
    **dict.fromkeys(TIMES, ("times, UTC", lambda kind: kind == _TIME)),
    "transform": ("lists of six numbers", lambda kind: _is_list(kind) and pa.types.is_floating(kind.value_type)),
    "geometry": ("geometries", pa.types.is_binary),
    "season_locked": ("true or false", pa.types.is_boolean),
}
"""Column -> what it holds in words, and what tells so; the others hold text."""


def _value_problem(column: pa.ChunkedArray, name: str) -> str | None:
    compute = pa.compute
    if name in (*TEXT_LISTS, "transform"):
        if compute.list_flatten(column).null_count:
            return "has lists without a value"
        if name == "transform" and not compute.all(compute.equal(compute.list_value_length(column), 6)).as_py():
            return "has lists of another length than 6" if len(column) else None
    if name in WHOLE and not _within(column, -_MOST, _MOST):
        return f"has numbers beyond {_MOST}"
    if name in TIMES and not _within(column.cast(pa.int64()), _FIRST_US, _LAST_US):
        return f"has times outside {_YEARS[0]} to {_YEARS[1]}"
    if name in ("s1_path", "s2_path") and not all(map(_is_inside, column.to_pylist())):
        return "names a file that lies outside the dataset"
    return None


def _is_inside(path: str) -> bool:
    return path.isprintable() and not path.startswith("/") and ".." not in path.split("/")


def _within(column: pa.ChunkedArray, least: int, most: int) -> bool:
    ends = pa.compute.min_max(column).as_py()
    return ends["min"] is None or (ends["min"] >= least and ends["max"] <= most)
