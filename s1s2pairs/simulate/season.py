"""How the land looks on a date: crops, leaves, water level, soil moisture, snow and the sun. The same for both sensors."""

import datetime as dt
import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from . import noise
from .ground import Frame, Parcels
from .landcover import Use
from .noise import Floats

_LAYER: Final = 200
_RAIN_PROBABILITY: Final = 0.3
_DRYING_DAYS: Final = 4.0
_SNOW_WINTER_PROBABILITY: Final = 0.5


class Crop(IntEnum):
    """What grows on a crop parcel in one year."""

    WHEAT = 0
    RAPESEED = 1
    MAIZE = 2
    BEET = 3


_CROP_SHARES: Final = (0.38, 0.16, 0.28, 0.18)
# Day of year: green-up, full cover, begin of ripening, harvest. Winter crops are already green at New Year.
_CALENDAR: Final = {
    Crop.WHEAT: (60.0, 115.0, 160.0, 202.0),
    Crop.RAPESEED: (45.0, 95.0, 155.0, 190.0),
    Crop.MAIZE: (135.0, 190.0, 240.0, 272.0),
    Crop.BEET: (115.0, 175.0, 285.0, 300.0),
}
_WINTER_GREEN: Final = {Crop.WHEAT: 0.30, Crop.RAPESEED: 0.55, Crop.MAIZE: 0.0, Crop.BEET: 0.0}


@dataclass(frozen=True, kw_only=True, slots=True)
class Vegetation:
    """State of each parcel's low vegetation on a date, (parcel,) arrays; what is neither green nor dry is soil."""

    crop: NDArray[np.int64]
    """`Crop` of the year, meaningful where the use is CROP."""
    green: Floats
    """0..1, ground covered by green plants."""
    dry: Floats
    """0..1, ground covered by ripe plants or stubble."""
    flower: Floats
    """0..1, rapeseed in bloom."""
    leaves: float
    """0..1, leaves of deciduous trees; the same everywhere."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Weather:
    """What holds for a whole place on a date."""

    water_level: float
    """-1 (late summer) .. 1 (late winter)."""
    soil_moisture: float
    """0 dry .. 1 saturated."""
    wind: float
    """0 calm .. 1 rough water."""
    snow: float
    """0..1, depth of the snow cover."""


def season_day(lat: float, date: dt.date) -> float:
    """Return the day of the year, moved by half a year south of the equator."""
    day = float(date.timetuple().tm_yday)
    return day if lat >= 0 else (day + 182.5) % 365.0


def weather(frame: Frame, lat: float, date: dt.date) -> Weather:
    """Return the weather of a place (cells of 200 km share it) on a date."""
    place = (math.floor(float(frame.x[0]) / 2e5), math.floor(float(frame.y[0]) / 2e5))
    keys, ordinal = frame.keys(_LAYER, *place), date.toordinal()
    days = np.arange(20)
    rain = noise.uniform(*keys, 1, ordinal - days) < _RAIN_PROBABILITY
    amount = noise.uniform(*keys, 2, ordinal - days) * rain
    moisture = float(np.clip(0.08 + np.sum(amount * np.exp(-days / _DRYING_DAYS)), 0.0, 1.0))
    day = season_day(lat, date)
    # A snowy winter belongs to the year in which it begins.
    winter = (date - dt.timedelta(days=182 if lat >= 0 else 0)).year
    cold = max(0.0, math.cos(2 * math.pi * (day - 20.0) / 365.0) - 0.55) * float(
        np.clip((abs(lat) - 33.0) / 12.0, 0.0, 1.5)
    )
    snowy = noise.uniform(*keys, 3, winter) < _SNOW_WINTER_PROBABILITY and noise.uniform(*keys, 4, ordinal // 9) < 0.6
    yearly = 0.3 * float(noise.normal(*keys, 5, date.year))
    return Weather(
        water_level=float(np.clip(0.8 * math.cos(2 * math.pi * (day - 60.0) / 365.0) + yearly, -1.2, 1.2)),
        soil_moisture=moisture,
        wind=float(noise.uniform(*keys, 6, ordinal)),
        snow=float(np.clip(3.0 * cold, 0.0, 1.0)) if snowy else 0.0,
    )


def vegetation(parcels: Parcels, use: NDArray[np.int8], lat: float, date: dt.date) -> Vegetation:
    """Return the state of every parcel's vegetation on a date."""
    day = season_day(lat, date)
    late = noise.normal(_LAYER, 10, parcels.id, date.year) * 6.0
    crop = np.searchsorted(np.cumsum(_CROP_SHARES)[:-1], noise.uniform(_LAYER, 11, parcels.id, date.year))
    green, dry = np.zeros(crop.shape), np.zeros(crop.shape)
    for kind in Crop:
        mine = crop == kind
        green[mine], dry[mine] = _crop_state(kind, day - late[mine])
    flower = np.where(crop == Crop.RAPESEED, np.exp(-(((day - late - 122.0) / 11.0) ** 2)), 0.0)
    meadow = _meadow_green(parcels, day, date.year)
    is_crop = use == Use.CROP
    is_bare = use == Use.BARE
    leaves = _rise(day, 108.0, 7.0) * (1.0 - _rise(day, 300.0, 9.0))
    return Vegetation(
        crop=crop,
        green=np.where(is_crop, green, np.where(is_bare, 0.06, meadow)).astype(np.float32),
        dry=np.where(is_crop, dry, np.where(is_bare, 0.0, 0.85 - meadow)).astype(np.float32),
        flower=(flower * is_crop).astype(np.float32),
        leaves=float(leaves),
    )


def sun(lon: float, lat: float, at: dt.datetime) -> tuple[float, float]:
    """Return the sun's azimuth (clockwise from north) and elevation, degrees.

    Declination and equation of time by their usual short series; good to about half a degree.
    """
    turn = 2 * math.pi * (at.timetuple().tm_yday - 81) / 364.0
    minutes = 9.87 * math.sin(2 * turn) - 7.53 * math.cos(turn) - 1.5 * math.sin(turn)
    hours = at.hour + at.minute / 60 + at.second / 3600 + lon / 15.0 + minutes / 60
    hour_angle = math.radians(15.0 * (hours - 12.0))
    declination = math.radians(23.45 * math.sin(turn))
    phi = math.radians(lat)
    up = math.sin(phi) * math.sin(declination) + math.cos(phi) * math.cos(declination) * math.cos(hour_angle)
    east = -math.cos(declination) * math.sin(hour_angle)
    north = math.cos(phi) * math.sin(declination) - math.sin(phi) * math.cos(declination) * math.cos(hour_angle)
    return math.degrees(math.atan2(east, north)) % 360.0, math.degrees(math.asin(up))


def _rise(day: Floats | float, middle: Floats | float, width: float) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-(np.asarray(day) - middle) / width)))


def _crop_state(kind: Crop, day: Floats) -> tuple[Floats, Floats]:
    """Return green and dry cover of one crop: growth, ripening, harvest, stubble, ploughing, and winter crops' emergence."""
    start, full, ripe, harvest = _CALENDAR[kind]
    grown = _rise(day, (start + full) / 2, (full - start) / 5)
    ripened = _rise(day, (ripe + harvest) / 2, (harvest - ripe) / 7)
    cut = _rise(day, harvest, 1.5)
    ploughed = _rise(day, harvest + 32.0, 2.0)
    winter = _WINTER_GREEN[kind] * (1 - grown)
    sown = _WINTER_GREEN[Crop.WHEAT] * _rise(day, 320.0, 8.0)
    green = (winter + 0.92 * grown * (1 - ripened)) * (1 - cut) + sown
    dry = 0.92 * grown * ripened * (1 - cut) + 0.45 * cut * (1 - ploughed)
    return np.clip(green, 0.0, 1.0), np.clip(dry, 0.0, 1.0)


def _meadow_green(parcels: Parcels, day: float, year: int) -> Floats:
    """Return the green cover of grass: a summer hump, cut every six to nine weeks."""
    interval = 42.0 + 21.0 * noise.uniform(_LAYER, 20, parcels.id)
    since = (day - 100.0 + interval * noise.uniform(_LAYER, 21, parcels.id, year)) % interval
    season = 0.45 + 0.40 * math.exp(-(((day - 165.0) / 95.0) ** 2))
    mown = np.where((day > 130.0) & (day < 290.0), 0.35 * np.exp(-since / 12.0), 0.0)
    return season * (1.0 - mown)
