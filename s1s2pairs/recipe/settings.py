"""A recipe: the places and the settings from which a dataset is built, as frozen values that check themselves."""

import calendar
import datetime as dt
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from shapely.geometry.base import BaseGeometry

from ..sensors import DEFAULT_S1_POLARISATIONS, DEFAULT_S2_BANDS, S1_POLARISATIONS, S2_BANDS, OrbitPass

Split = Literal["train", "val", "test"]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
MonthDay = Annotated[str, Field(pattern=r"^\d{2}-\d{2}$")]
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=100)]
FIRST_YEAR, LAST_YEAR = 2000, 2100
"""Periods lie between these; the Sentinels fly since 2014."""
LONGEST_WRAP_DAYS = 184
"""Longest season that may run over New Year: a longer one is rather a season with its ends exchanged."""
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, slots=True)
class Period:
    """A labelled window of time from which one image of each sensor is made."""

    __pydantic_config__ = _STRICT
    label: Label
    start: dt.date
    end: dt.date
    """First day that no longer belongs to it."""

    def __post_init__(self) -> None:
        if not FIRST_YEAR <= self.start.year <= self.end.year <= LAST_YEAR and self.start < self.end:
            raise ValueError(f"the window {self.start} .. {self.end} must lie between {FIRST_YEAR} and {LAST_YEAR}")
        if self.start >= self.end:
            raise ValueError(f"the window {self.start} .. {self.end} is reversed or empty: start must lie before end")


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchSettings:
    """How rasters are cut into patches: adaptive overlap, or a fixed stride."""

    __pydantic_config__ = _STRICT
    size: Annotated[int, Field(ge=1, le=8192)] = 256
    min_overlap: Annotated[int, Field(ge=0)] | None = None
    """Least overlap of adaptive windows, pixels; 0 unless given."""
    stride: Annotated[int, Field(ge=1)] | None = None
    """Fixed distance between windows, pixels, instead of adaptive overlap."""

    def __post_init__(self) -> None:
        if self.stride is not None and self.min_overlap is not None:
            raise ValueError("give either `stride` or `min_overlap`, not both")
        if self.stride is not None and self.stride > self.size:
            raise ValueError(f"stride {self.stride} is larger than size {self.size}: pixels would be left out")
        if self.min_overlap is not None and self.min_overlap >= self.size:
            raise ValueError(f"min_overlap {self.min_overlap} must be smaller than size {self.size}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Everything that decides what is chosen and built for one ROI; the defaults are the recipe format's."""

    __pydantic_config__ = _STRICT
    periods: tuple[Period, ...] = ()
    season: tuple[MonthDay, MonthDay] = ("06-01", "07-01")
    """Month-day window searched each year for optical scenes, end excluded; over New Year half a year at most."""
    s2_bands: tuple[str, ...] = DEFAULT_S2_BANDS
    max_cloud_fraction: Fraction = 0.01
    max_snow_fraction: Fraction = 0.05
    min_coverage_fraction: Fraction = 0.99
    max_shift_months: Annotated[int, Field(ge=0, le=12)] = 6
    season_lock: bool = True
    s2_composite: Literal["auto", "least_cloudy", "median"] = "auto"
    s1_polarisations: tuple[str, ...] = DEFAULT_S1_POLARISATIONS
    s1_pass: OrbitPass | Literal["any"] = "any"
    s1_orbit: Literal["max_incidence"] | Annotated[int, Field(ge=1, le=175)] = "max_incidence"
    s1_acquisitions: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1, le=200)]] = (8, 10)
    """Least and most acquisitions averaged."""
    s1_max_span_days: Annotated[float, Field(gt=0, le=3660)] = 120.0
    s1_max_lag_days: Annotated[float, Field(gt=0)] | None = None
    """With a single acquisition: how far it may lie from the optical date."""
    s1_speckle: Literal["none", "lee", "refined_lee"] = "none"
    min_valid_fraction: Fraction = 0.1
    """A patch with fewer valid pixels, in either sensor and any period, is left out."""
    patch: PatchSettings = field(default_factory=PatchSettings)
    pixel_size_m: Annotated[float, Field(gt=0, le=1000)] = 10.0

    def __post_init__(self) -> None:
        _known("s2_bands", self.s2_bands, tuple(S2_BANDS))
        _known("s1_polarisations", self.s1_polarisations, S1_POLARISATIONS)
        least, most = self.s1_acquisitions
        if least > most:
            raise ValueError(f"s1_acquisitions [{least}, {most}]: the least number must not exceed the most")
        if self.s1_max_lag_days is not None and most != 1:
            raise ValueError("s1_max_lag_days applies to a single acquisition: set s1_acquisitions to [1, 1] with it")
        labels = [period.label for period in self.periods]
        if len(set(labels)) != len(labels):
            raise ValueError(f"periods have the labels {labels}: each must be unique")
        starts = [period.start for period in self.periods]
        if starts != sorted(starts):
            raise ValueError(f"periods {labels} must be in the order of time")
        start, end = (_month_day(month_day, 2020) for month_day in self.season)
        if start == end:
            raise ValueError(f"season {list(self.season)} is empty: start and end must differ")
        if start > end and (end - start).days + 365 > LONGEST_WRAP_DAYS:
            raise ValueError(
                f"season {list(self.season)} is reversed: start must lie before end, or over New Year at most "
                f"{LONGEST_WRAP_DAYS} days before it"
            )

    def period_of(self, year: int) -> Period:
        """Return the period of a year: the listed one with that label, else the season of that year."""
        for period in self.periods:
            if period.label == str(year):
                return period
        start, end = (_month_day(month_day, year) for month_day in self.season)
        if end <= start:
            end = _month_day(self.season[1], year + 1)
        return Period(label=str(year), start=start, end=end)


def _known(key: str, names: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    unknown = [name for name in names if name not in allowed]
    if unknown or not names or len(set(names)) != len(names):
        raise ValueError(f"{key} {list(names)}: one or more of {', '.join(allowed)}, each once")


def _month_day(text: str, year: int) -> dt.date:
    month, day = (int(part) for part in text.split("-"))
    if not (1 <= month <= 12 and 1 <= day <= calendar.monthrange(2020, month)[1]):
        raise ValueError(f"invalid season day {text!r}: write month-day, e.g. 06-01")
    if (month, day) == (2, 29) and not calendar.isleap(year):
        day = 28
    return dt.date(year, month, day)


@dataclass(frozen=True, kw_only=True, slots=True)
class Roi:
    """One place to build: a polygon with a name, its split and its resolved settings."""

    name: str
    split: Split
    polygon: BaseGeometry
    """Polygon or MultiPolygon, lon/lat (EPSG:4326)."""
    settings: Settings
    """With `periods` filled in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A checked recipe."""

    name: str
    rois: tuple[Roi, ...]
    """In the file's order."""
