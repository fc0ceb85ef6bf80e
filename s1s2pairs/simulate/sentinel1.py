"""What Sentinel-1 sees: backscatter by cover, polarisation and angle, layover, shadow, double bounce, noise and speckle."""

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from . import noise
from .ground import Frame
from .landcover import LandCover, Use
from .noise import Floats
from .season import Crop, Vegetation, Weather, vegetation, weather
from .sentinel2 import blurred, looked_up, shore_water

POLARISATIONS: Final = ("VV", "VH")
LOOKS: Final = 4.4
"""Equivalent number of looks of an IW GRD high resolution pixel."""
_LAYER: Final = 400
_REFERENCE_DEG: Final = 38.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Scatter:
    """Backscatter of one kind of surface at 38 degrees: sigma0 in dB per polarisation, and its fall with the angle."""

    vv_db: float
    vh_db: float
    slope_db_per_deg: float

    def linear(self, polarisation: int) -> float:
        """Return sigma0 at 38 degrees, linear; polarisation 0 is VV, 1 is VH."""
        return float(10.0 ** ((self.vv_db, self.vh_db)[polarisation] / 10.0))


# Round numbers in the range of published C band statistics.
_CALM_WATER: Final = Scatter(vv_db=-22.0, vh_db=-30.0, slope_db_per_deg=0.45)
_FOREST: Final = Scatter(vv_db=-9.0, vh_db=-14.5, slope_db_per_deg=0.08)
_DRY_SOIL: Final = Scatter(vv_db=-15.5, vh_db=-23.5, slope_db_per_deg=0.22)
_ASPHALT: Final = Scatter(vv_db=-18.5, vh_db=-27.0, slope_db_per_deg=0.30)
_ROOF: Final = Scatter(vv_db=-9.0, vh_db=-18.0, slope_db_per_deg=0.05)
_YARD: Final = Scatter(vv_db=-12.5, vh_db=-20.0, slope_db_per_deg=0.15)
_CROPS: Final = {
    Crop.WHEAT: Scatter(vv_db=-17.5, vh_db=-21.5, slope_db_per_deg=0.10),
    Crop.RAPESEED: Scatter(vv_db=-9.5, vh_db=-14.5, slope_db_per_deg=0.08),
    Crop.MAIZE: Scatter(vv_db=-10.0, vh_db=-16.5, slope_db_per_deg=0.08),
    Crop.BEET: Scatter(vv_db=-9.0, vh_db=-15.5, slope_db_per_deg=0.08),
}
_GRASS: Final = Scatter(vv_db=-13.0, vh_db=-19.5, slope_db_per_deg=0.10)
_SURFACES: Final = (_CALM_WATER, _FOREST, _DRY_SOIL, _ASPHALT, _ROOF, _YARD, _GRASS)
_WIND_DB, _MOISTURE_DB, _SNOW_DB = (7.0, 4.0), (6.0, 4.0), -2.0
_WALL_DB: Final = (3.0, -8.5)
"""Double bounce of 10 m of wall across one pixel, facing the sensor squarely, VV and VH."""
_DIRECT_WALL_DB: Final = (-7.0, -16.0)
_POINT_SPREAD: Final = 0.2
"""Part of a pixel's power that each neighbour along an axis gets: the image is a little coarser than its pixels."""
_SQUARE_WIDTH_DEG: Final = 9.0
"""How fast double bounce falls as walls turn away from the flight direction."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """How one relative orbit illuminates a frame."""

    incidence_deg: Floats
    """(y, x) from the ellipsoid normal."""
    azimuth_deg: float
    """Direction away from the sensor along the ground, clockwise from north."""

    falls: Mapping[float, Floats]
    """dB per degree -> (y, x) what sigma0 at 38 degrees is multiplied by at the pixel's angle."""
    floor: Floats
    """(y, x) noise equivalent sigma0, linear."""

    def power(self, surface: Scatter, polarisation: int) -> Floats:
        """Return sigma0 of a surface all over the frame, (y, x), linear."""
        return surface.linear(polarisation) * self.falls[surface.slope_db_per_deg]

    def steps(self, distance_px: float) -> tuple[int, int]:
        """Return rows and columns to go for a distance away from the sensor."""
        azimuth = math.radians(self.azimuth_deg)
        return -round(distance_px * math.cos(azimuth)), round(distance_px * math.sin(azimuth))


def make_look(incidence_deg: Floats, azimuth_deg: float) -> Look:
    """Work out what depends on the angle alone, once for all dates.

    Args:
        incidence_deg: (y, x) degrees from the ellipsoid normal.
        azimuth_deg: direction away from the sensor, clockwise from north.
    """
    angle = np.asarray(incidence_deg, np.float32)
    slopes = {surface.slope_db_per_deg for surface in (*_SURFACES, *_CROPS.values())}
    falls = {slope: 10.0 ** (np.float32(-0.1 * slope) * (angle - _REFERENCE_DEG)) for slope in slopes}
    return Look(incidence_deg=angle, azimuth_deg=azimuth_deg, falls=falls, floor=noise_floor(angle))


@dataclass(frozen=True, kw_only=True, slots=True)
class Structure:
    """What stands on a frame as one orbit images it in one year; the same on every date."""

    look: Look
    bright: Floats
    """(polarisation, y, x) sigma0, linear, of roofs and walls where they appear in the image."""
    canopy: Floats
    """(y, x) tree tops where they appear in the image, as pixel parts."""
    lit: Floats
    """(y, x) 0..1, part of the ground not in radar shadow."""
    grain: Floats
    """(y, x) about 1, small differences of the land that stay from date to date."""


def structure(land: LandCover, look: Look) -> Structure:
    """Place buildings and trees where this orbit images them.

    A point at height h lies nearer to the sensor in slant range and so appears h / tan(incidence) closer to it (layover); ground
    behind it, up to h * tan(incidence) away, is not illuminated (shadow).
    """
    pixel = land.ground.frame.pixel_m
    height = land.height_m
    # One angle for the whole frame: where a rounded shift changed along a line, a wood would tear open.
    cotangent = 1.0 / math.tan(math.radians(float(look.incidence_deg.mean())))
    shift = np.rint(height * cotangent / pixel).astype(np.int64)
    walls = _walls(land, look)
    bright = np.zeros((2, *height.shape), np.float32)
    canopy = np.zeros(height.shape, np.float32)
    for step in range(int(shift.max()) + 1):
        row, column = look.steps(step)
        canopy += looked_up(np.where(shift == step, land.forest, 0.0), row=row, column=column)
        roof = np.where(shift == step, land.built, 0.0)
        face = np.where(shift >= step, walls, 0.0) / np.maximum(shift, 1) if step else None
        for polarisation in (0, 1):
            power = roof * look.power(_ROOF, polarisation)
            if face is not None:
                power = power + face * 10.0 ** (_DIRECT_WALL_DB[polarisation] / 10.0)
            bright[polarisation] += looked_up(power, row=row, column=column)
    row, column = look.steps(1.0)
    for polarisation in (0, 1):
        # The corner of wall and ground returns from its own place: the pixel in front of the wall.
        bounce = walls * _squareness(land, look, polarisation) * 10.0 ** (_WALL_DB[polarisation] / 10.0)
        bright[polarisation] += looked_up(bounce, row=row, column=column)
    return Structure(
        look=look,
        bright=np.stack([blurred(power, _POINT_SPREAD) for power in bright]),
        canopy=blurred(canopy, _POINT_SPREAD),
        lit=1.0 - blurred(_shadow(height, look, cotangent, pixel), _POINT_SPREAD),
        grain=10.0 ** (0.06 * land.ground.texture),
    )


def backscatter(land: LandCover, seen: Structure, lat: float, date: dt.date) -> Floats:
    """Return sigma0 without noise or speckle, (polarisation, y, x) float32, linear power. Polarisations VV, VH."""
    today = weather(land.ground.frame, lat, date)
    state = vegetation(land.ground.parcels, land.use, lat, date)
    water = shore_water(land, today)
    road = land.road * (1.0 - water)
    open_ground = np.clip(1.0 - water - road - land.built - land.forest, 0.0, 1.0)
    look, frost = seen.look, 10.0 ** (_SNOW_DB * today.snow / 10.0)
    result = np.empty((2, *water.shape), np.float32)
    for polarisation in (0, 1):
        low = open_ground * _low_cover(land, state, today, look, polarisation)
        low += road * look.power(_ASPHALT, polarisation)
        sea = water * look.power(_CALM_WATER, polarisation) * 10.0 ** (_WIND_DB[polarisation] * today.wind / 10.0)
        trees = seen.canopy * look.power(_FOREST, polarisation) * (0.85 + 0.15 * state.leaves)
        standing = seen.bright[polarisation] + trees
        result[polarisation] = (seen.lit * low * frost + standing) * seen.grain + sea
    return result


def measured(
    sigma0: Floats, frame: Frame, look: Look, absolute_orbit: int, *, looks: float = LOOKS
) -> NDArray[np.float32]:
    """Add thermal noise and speckle, (polarisation, y, x) float32, linear power.

    Speckle multiplies signal and noise alike and is independent between pixels, polarisations and absolute orbits.
    """
    column, row = int(frame.x[0] // frame.pixel_m), int(-frame.y[0] // frame.pixel_m)
    result = np.empty(sigma0.shape, np.float32)
    for polarisation in (0, 1):
        grain = noise.speckle(
            column,
            row,
            (sigma0.shape[1], sigma0.shape[2]),
            looks=looks,
            keys=frame.keys(_LAYER, polarisation, absolute_orbit),
        )
        result[polarisation] = (sigma0[polarisation] + look.floor) * grain
    return result


def noise_floor(incidence_deg: Floats) -> Floats:
    """Return the noise equivalent sigma0, linear: -25 dB in the middle of each of the three subswaths, -22 dB at their edges."""
    middle = np.array([32.9, 38.9, 43.9])
    off = np.min(np.abs(np.asarray(incidence_deg)[..., None] - middle), axis=-1)
    return np.asarray(10.0 ** ((-25.0 + 3.0 * np.clip(off / 3.0, 0.0, 1.0) ** 2) / 10.0))


def _low_cover(land: LandCover, state: Vegetation, today: Weather, look: Look, polarisation: int) -> Floats:
    """Return sigma0 of fields, grass, bare soil and yards, (y, x): plants above soil they attenuate (a water cloud model)."""
    parcels, at = land.ground.parcels, land.ground.parcel
    roughness = noise.normal(_LAYER, 10, parcels.id, land.year)
    soil_db = _MOISTURE_DB[polarisation] * today.soil_moisture + 1.3 * roughness
    plants = np.select(
        [(land.use == Use.CROP) & (state.crop == kind) for kind in Crop],
        [_CROPS[kind].linear(polarisation) for kind in Crop],
        _GRASS.linear(polarisation),
    )
    cover = np.clip(state.green + 0.6 * state.dry, 0.0, 1.0)
    through = np.exp(-2.2 * cover)
    volume = (plants * (1.0 - through)).astype(np.float32)[at] * look.falls[_GRASS.slope_db_per_deg]
    soil = (through * 10.0 ** (soil_db / 10.0)).astype(np.float32)[at] * look.power(_DRY_SOIL, polarisation)
    yard = np.isin(land.use, (Use.PERIMETER, Use.HALLS, Use.TOWERS))[at]
    return np.where(yard, look.power(_YARD, polarisation), volume + soil)


def _walls(land: LandCover, look: Look) -> Floats:
    """Return tens of metres of wall that rise above what stands in front of each building pixel, (y, x)."""
    row, column = look.steps(-1.0)
    roof_height = np.where(land.built > 0.4, land.height_m, 0.0)
    in_front = looked_up(roof_height, row=row, column=column)
    return np.clip(roof_height - in_front, 0.0, None) / 10.0


def _squareness(land: LandCover, look: Look, polarisation: int) -> Floats:
    """Return how squarely walls face the sensor, (y, x) 0..1: near 1 within some degrees, then a floor (higher in VH)."""
    azimuth = np.pi / 2 - land.ground.parcels.angle_rad
    turned = (np.degrees(azimuth) - look.azimuth_deg + 45.0) % 90.0 - 45.0
    floor = (0.10, 0.35)[polarisation]
    return np.asarray(
        (floor + (1 - floor) * np.exp(-((turned / _SQUARE_WIDTH_DEG) ** 2))).astype(np.float32)[land.ground.parcel]
    )


def _shadow(height: Floats, look: Look, cotangent: float, pixel: float) -> Floats:
    """Return the part of each pixel in radar shadow, (y, x) 0..1, by walking towards the sensor."""
    shaded = np.zeros(height.shape, np.float32)
    for step in range(1, math.ceil(float(height.max()) / cotangent / pixel) + 1):
        row, column = look.steps(-step)
        above = looked_up(height, row=row, column=column) - height - step * pixel * cotangent
        shaded = np.maximum(shaded, np.clip(above / (pixel * cotangent) + 0.5, 0.0, 1.0))
    return np.where(height > 0.0, 0.0, shaded)
