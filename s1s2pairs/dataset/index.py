"""The index of a built dataset: one row per patch and period, as GeoParquet."""

import io
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, Final

import geopandas as gpd
import pandas as pd
import pyarrow
import pyarrow.parquet
from pyproj.exceptions import CRSError
from shapely.errors import ShapelyError

from ..errors import DatasetError
from ..grid import footprint_lonlat
from ..sensors import SENSORS
from ..untrusted import cut
from .columns import COLUMNS, TEXT_LISTS, TIMES, column_problem
from .layout import raster_path
from .left_out import LeftOut
from .patches import patch_grid, patch_id
from .units import PatchRecord, Unit, UnitRecord


def dump_index(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return rows as GeoParquet, in the order given; the same rows give the same bytes.

    Args:
        rows: One mapping per patch and period with the keys of `COLUMNS`; `geometry` a shapely geometry in lon/lat,
        times aware.
    """
    frame = gpd.GeoDataFrame(pd.DataFrame(list(rows), columns=list(COLUMNS)), geometry="geometry", crs="EPSG:4326")
    for column in TIMES:
        frame[column] = pd.to_datetime(frame[column], utc=True).astype("datetime64[us, UTC]")
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()


UNREADABLE: Final = (
    *(pyarrow.ArrowException, CRSError, ShapelyError),
    *(OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError),
)
"""Everything that reading a damaged index raises, depending on where the damage is."""


def checked_index(content: bytes, *, file: str, remedy: str) -> gpd.GeoDataFrame:
    """Read the bytes of an index.

    Args:
        content: Of the file.
        file: Its name, for messages.
        remedy: What to do with one that cannot be used, for messages.

    Raises:
        DatasetError: They are no GeoParquet, or a column is missing, or holds something else than `COLUMNS` says.
    """
    try:
        frame = gpd.read_parquet(io.BytesIO(content))
        table = pyarrow.parquet.read_table(io.BytesIO(content))
    except UNREADABLE as error:
        raise DatasetError(f"{file}: expected a GeoParquet file ({cut(str(error))}); {remedy}") from error
    missing = [column for column in COLUMNS if column not in table.column_names or column not in frame.columns]
    if missing:
        raise DatasetError(f"{file}: lacks the columns {', '.join(missing)}; {remedy} with this version")
    for column in COLUMNS:
        if problem := column_problem(table, column):
            raise DatasetError(f"{file}: the column {column} {problem}; {remedy}")
    return frame


def period_rows(s1: Unit, s2: Unit, records: tuple[UnitRecord, UnitRecord]) -> Iterator[dict[str, Any]]:
    """Yield the index rows of one ROI and period, window by window.

    Args:
        s1: Its radar unit.
        s2: Its optical unit.
        records: Of the two.
    """
    shared = _shared(s1, s2)
    patches = zip(s1.patch_paths(), s2.patch_paths(), records[0].patches, records[1].patches, strict=True)
    for (window, s1_path), (_, s2_path), s1_patch, s2_patch in patches:
        grid = patch_grid(s1.choices.grid, window)
        own = {
            "patch_id": patch_id(s1.roi.name, window),
            "row_off": window.row_off,
            "col_off": window.col_off,
            "height": window.size,
            "width": window.size,
            "geometry": footprint_lonlat(grid),
            "transform": [float(value) for value in grid.transform[:6]],
            "s1_path": s1_path,
            "s2_path": s2_path,
            "s1_sha256": s1_patch.sha256,
            "s2_sha256": s2_patch.sha256,
            "s1_valid_fraction": s1_patch.valid_fraction,
            "s2_valid_fraction": s2_patch.valid_fraction,
        }
        yield {column: own[column] if column in own else shared[column] for column in COLUMNS}


def _shared(s1: Unit, s2: Unit) -> dict[str, Any]:
    roi, choices, period = s1.roi, s1.choices, s1.period
    fractions = [acquisition.cloud_fraction for acquisition in period.optical]
    return {
        "roi": roi.name,
        "split": roi.split,
        "period": period.label,
        "crs": str(choices.grid.crs),
        "s1_bands": [band.name for band in s1.layout.bands[:-1]],
        "s2_bands": [band.name for band in s2.layout.bands[:-1]],
        "cloud_fraction": sum(fractions) / len(fractions),
        "s1_scene_ids": [scene for scenes in s1.scenes for scene in scenes],
        "s2_scene_ids": [scene for scenes in s2.scenes for scene in scenes],
        "s1_mean_time": period.sar_mean_time,
        "s2_mean_time": period.optical_mean_time,
        "lag_days": period.lag_days,
        "relative_orbit": choices.relative_orbit,
        "orbit_pass": choices.orbit_pass,
        "mean_incidence_deg": choices.incidence_deg,
        "incidence_source": choices.incidence_source,
        "backscatter": choices.backscatter,
        "s1_count": len(period.sar),
        "s2_count": len(period.optical),
        "s2_composite": period.composite,
        "month_shift": period.month_shift,
        "season_locked": choices.season_locked,
    }


def dataset_rows(records: Mapping[Unit, UnitRecord], left_out: Container[str]) -> Iterator[dict[str, Any]]:
    """Yield the index rows of all finished units, in the order of the plan.

    Args:
        records: Of every unit of the ROIs that are whole, radar before optical of the same ROI and period.
        left_out: Names of patches without a row.
    """
    radar, optical = ([unit for unit in records if unit.sensor == sensor] for sensor in SENSORS)
    for s1, s2 in zip(radar, optical, strict=True):
        rows = period_rows(s1, s2, (records[s1], records[s2]))
        yield from (row for row in rows if row["patch_id"] not in left_out)


def read_rows(content: bytes, *, file: str) -> list[dict[str, Any]]:
    """Read an index back as the rows it was written from.

    Raises:
        DatasetError: It is no index.
    """
    frame = checked_index(content, file=file, remedy="delete it and build again")
    return [_plain(row) for row in frame[list(COLUMNS)].to_dict("records")]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    times = {column: pd.Timestamp(row[column]).to_pydatetime() for column in TIMES}
    return {**row, **times, **{column: row[column].tolist() for column in ("transform", *TEXT_LISTS)}}


def patch_records_of(rows: Iterable[Mapping[str, Any]], left_out: LeftOut) -> dict[str, dict[str, PatchRecord]]:
    """Return raster path -> name of a patch -> record, as an index and a card tell them.

    Args:
        rows: The index.
        left_out: The patches that are not in it, and have no hash.
    """
    found: dict[str, dict[str, PatchRecord]] = {}
    for row in rows:
        for sensor in SENSORS:
            patch = PatchRecord(sha256=row[f"{sensor}_sha256"], valid_fraction=row[f"{sensor}_valid_fraction"])
            found.setdefault(raster_path(row["roi"], row["period"], sensor), {})[row["patch_id"]] = patch
    for name, fractions in left_out.items():
        for path, fraction in fractions.items():
            found.setdefault(path, {})[name] = PatchRecord(sha256="", valid_fraction=fraction)
    return found
