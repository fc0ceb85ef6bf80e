"""Clouds, their shadows and cirrus over a place on a date."""

import datetime as dt
import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from . import noise
from .ground import Frame
from .noise import Floats
from .season import sun

LAYER: Final = 300
"""Of the hashes that everything optical is drawn from."""
_CLOUD_HEIGHT_M: Final = (900.0, 2600.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sky:
    """Clouds over a place on a date."""

    cover: float
    """0 clear .. 1 overcast; 0 draws no cloud at all."""
    cirrus: bool
    height_m: float
    sun_azimuth_deg: float
    sun_elevation_deg: float
    key: int
    """Names the cloud field of this date."""


def sky(frame: Frame, lon: float, lat: float, at: dt.datetime) -> Sky:
    """Return the clouds of a place (cells of 40 km share them) at an overflight.

    About 4 in 10 overflights are cloudless in the temperate zones, 6 in 10 in the subtropics.
    """
    place = (math.floor(float(frame.x[0]) / 4e4), math.floor(float(frame.y[0]) / 4e4))
    keys = frame.keys(LAYER, *place, at.toordinal())
    draw, amount = float(noise.uniform(*keys, 1)), float(noise.uniform(*keys, 2))
    clear = 0.38 + 0.22 * math.exp(-(((abs(lat) - 25.0) / 9.0) ** 2))
    partly = clear + 0.6 * (1.0 - clear)
    cover = 0.0 if draw < clear else (0.06 + 0.6 * amount if draw < partly else 0.7 + 0.3 * amount)
    azimuth, elevation = sun(lon, lat, at)
    return Sky(
        cover=cover,
        cirrus=bool(noise.uniform(*keys, 3) < 0.12),
        height_m=_CLOUD_HEIGHT_M[0] + (_CLOUD_HEIGHT_M[1] - _CLOUD_HEIGHT_M[0]) * float(noise.uniform(*keys, 4)),
        sun_azimuth_deg=azimuth,
        sun_elevation_deg=max(elevation, 8.0),
        key=at.toordinal(),
    )


def cloud_and_shadow(frame: Frame, above: Sky) -> tuple[Floats, Floats]:
    """Return opacity of the clouds and depth of their shadows, both (y, x) in 0..1.

    A shadow is the cloud field moved away from the sun by the cloud's height over the tangent of the sun's elevation.
    """
    if above.cover == 0.0:
        nothing = np.zeros((frame.y.size, frame.x.size), np.float32)
        return nothing, nothing
    reach = above.height_m / math.tan(math.radians(above.sun_elevation_deg))
    towards_sun = math.radians(above.sun_azimuth_deg)
    cloud = _opacity(frame, frame.x, frame.y, above)
    # What shades a pixel is the cloud found from it in the direction of the sun.
    caster = _opacity(frame, frame.x + reach * math.sin(towards_sun), frame.y + reach * math.cos(towards_sun), above)
    return cloud, caster * (1.0 - cloud)


def _opacity(frame: Frame, x: Floats, y: Floats, above: Sky) -> Floats:
    field = noise.rough(x, y, scale_m=2600.0, octaves=6, keys=frame.keys(LAYER, 20, above.key))
    field += 0.5 * noise.rough(x, y, scale_m=9000.0, octaves=1, keys=frame.keys(LAYER, 21, above.key))
    # The level that a field of standard deviation 1.12 exceeds on `cover` of the area.
    level = 1.12 * math.sqrt(2.0) * _erfinv(1.0 - 2.0 * min(above.cover, 0.995))
    rise = np.clip((field - level) / 0.45, 0.0, 1.0)
    return np.asarray(rise * rise * (3.0 - 2.0 * rise), np.float32)


def _erfinv(value: float) -> float:
    """Return the inverse error function (Winitzki's approximation, good to 0.2 %)."""
    log = math.log(1.0 - value * value)
    first = 2.0 / (math.pi * 0.147) + log / 2.0
    return math.copysign(math.sqrt(math.sqrt(first * first - log / 0.147) - first), value)


def cirrus(frame: Frame, above: Sky) -> Floats:
    """Return the thickness of thin cirrus, (y, x) 0..1: streaks, long from west to east."""
    if not above.cirrus:
        return np.zeros((frame.y.size, frame.x.size), np.float32)
    streaks = noise.rough(frame.x / 5.0, frame.y, scale_m=1800.0, octaves=4, keys=frame.keys(LAYER, 22, above.key))
    return np.asarray(np.clip(0.5 * (streaks + 0.2), 0.0, 1.0), np.float32)
