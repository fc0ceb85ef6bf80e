"""What Sentinel-2 sees: surface reflectance in ten bands, clouds, shadows, cirrus, snow, and the scene classification."""

import datetime as dt
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from . import noise
from .landcover import BUILT_USES, LandCover, Use
from .noise import Floats
from .season import Vegetation, Weather, vegetation, weather
from .sky import LAYER as _LAYER
from .sky import Sky, cirrus, cloud_and_shadow

BANDS_10M: Final = ("B2", "B3", "B4", "B8")
BANDS_20M: Final = ("B5", "B6", "B7", "B8A", "B11", "B12")
_ORDER: Final = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
# Reflectance of what pixels are mixed from, in the order above: round numbers in the range of published spectra.
_SPECTRA: Final = {
    "water": (0.040, 0.045, 0.030, 0.025, 0.018, 0.016, 0.014, 0.012, 0.006, 0.004),
    "broadleaf": (0.022, 0.048, 0.026, 0.080, 0.240, 0.310, 0.340, 0.355, 0.170, 0.075),
    "needles": (0.018, 0.032, 0.020, 0.050, 0.130, 0.165, 0.180, 0.190, 0.090, 0.040),
    "twigs": (0.045, 0.060, 0.075, 0.100, 0.130, 0.150, 0.170, 0.185, 0.220, 0.140),
    "green": (0.030, 0.070, 0.035, 0.110, 0.330, 0.430, 0.460, 0.475, 0.210, 0.100),
    "flower": (0.050, 0.150, 0.135, 0.190, 0.340, 0.400, 0.430, 0.445, 0.220, 0.110),
    "dry": (0.075, 0.110, 0.145, 0.180, 0.215, 0.240, 0.270, 0.290, 0.360, 0.250),
    "soil_dry": (0.085, 0.120, 0.165, 0.190, 0.210, 0.230, 0.255, 0.275, 0.350, 0.300),
    "soil_wet": (0.050, 0.070, 0.095, 0.110, 0.125, 0.135, 0.150, 0.160, 0.170, 0.120),
    "asphalt": (0.085, 0.095, 0.105, 0.110, 0.115, 0.120, 0.130, 0.135, 0.150, 0.140),
    "tiles": (0.065, 0.085, 0.160, 0.190, 0.205, 0.215, 0.230, 0.240, 0.300, 0.260),
    "slate": (0.070, 0.080, 0.085, 0.090, 0.095, 0.100, 0.105, 0.110, 0.120, 0.110),
    "concrete": (0.170, 0.200, 0.225, 0.235, 0.240, 0.250, 0.265, 0.270, 0.300, 0.280),
    "metal": (0.330, 0.350, 0.360, 0.365, 0.365, 0.370, 0.380, 0.380, 0.350, 0.310),
    "snow": (0.860, 0.850, 0.840, 0.820, 0.800, 0.780, 0.760, 0.740, 0.110, 0.080),
}
_CLOUD: Final = (0.62, 0.61, 0.60, 0.61, 0.62, 0.63, 0.64, 0.64, 0.48, 0.36)
_CIRRUS: Final = (0.060, 0.055, 0.050, 0.050, 0.050, 0.050, 0.050, 0.050, 0.030, 0.020)
_SHADOW_LEFT: Final = (0.60, 0.55, 0.50, 0.47, 0.45, 0.44, 0.43, 0.43, 0.40, 0.38)
"""Part of the light that remains in a deep shadow (sky light is blue)."""
_REPROCESSED_GAIN: Final = 1.004
"""What the newer processing of a scene multiplies reflectance by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpticalImage:
    """What one overflight of Sentinel-2 shows of a frame."""

    reflectance_10m: dict[str, Floats]
    """Band name -> (y, x) float32 reflectance on the frame's grid."""
    reflectance_20m: dict[str, Floats]
    """Band name -> (y, x) float32 reflectance on the grid of twice the pixel size."""
    scl: NDArray[np.uint8]
    """(y, x) scene classification on the grid of twice the pixel size; 0 is not used here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Air:
    """What lies between the ground and the sensor, (y, x) fields of 0..1."""

    cloud: Floats
    """Opacity."""
    shade: Floats
    """Depth of cloud shadow."""
    cirrus: Floats
    """Thickness."""


def observe(land: LandCover, lat: float, at: dt.datetime, above: Sky) -> OpticalImage:
    """Render one overflight."""
    today = weather(land.ground.frame, lat, at.date())
    state = vegetation(land.ground.parcels, land.use, lat, at.date())
    parts = _mixture(land, state, today)
    light = _light(land, above, at)
    cloud, shade = cloud_and_shadow(land.ground.frame, above)
    thin = cirrus(land.ground.frame, above)
    spectra = np.array([_SPECTRA[name] for name in parts])
    fine, coarse = np.stack(list(parts.values())), np.stack([_halved(part) for part in parts.values()])
    air = _Air(cloud=cloud, shade=shade, cirrus=thin)
    air_20m = _Air(cloud=_halved(cloud), shade=_halved(shade), cirrus=_halved(thin))
    light_20m = _halved(light)
    ten = {band: _image(_mixed(fine, spectra, band) * light, band, air) for band in BANDS_10M}
    twenty = {band: _image(_mixed(coarse, spectra, band) * light_20m, band, air_20m) for band in BANDS_20M}
    return OpticalImage(reflectance_10m=ten, reflectance_20m=twenty, scl=_classify(ten, twenty, air_20m))


def reprocessed(reflectance: Floats) -> Floats:
    """Return what a newer processing baseline makes of the same scene: slightly brighter."""
    return np.asarray(reflectance * _REPROCESSED_GAIN)


def _mixture(land: LandCover, state: Vegetation, today: Weather) -> dict[str, Floats]:
    """Return the part of each pixel, (y, x) 0..1, that each spectrum of the table covers; they add up to 1."""
    ground, at = land.ground, land.ground.parcel
    water = shore_water(land, today)
    free = 1.0 - water
    roof, road = land.built * free, land.road * free
    forest = land.forest * free * (1 - land.built) * (1 - land.road)
    rest = np.clip(free - roof - road - forest, 0.0, 1.0)
    paved = rest * (np.isin(land.use, (Use.PERIMETER, Use.HALLS, Use.TOWERS)) * np.float32(0.75))[at]
    open_ground = rest - paved
    beach = np.clip(1.0 - ground.shore_m / 12.0, 0.0, 1.0)
    grown = 1.0 - beach
    patchy = np.clip(1.0 + 0.10 * ground.texture, 0.6, 1.3)
    flower = 0.7 * state.flower[at] * grown
    green = np.clip(state.green[at] * grown * patchy - flower, 0.0, 1.0)
    dry = np.clip(state.dry[at] * grown, 0.0, np.maximum(1.0 - green - flower, 0.0))
    soil = np.clip(1.0 - green - dry - flower, 0.0, 1.0)
    wet = np.clip(today.soil_moisture + 0.7 * beach + 0.15 * ground.texture, 0.0, 1.0)
    needles = np.clip(0.5 + 1.2 * ground.wood, 0.0, 1.0) * 0.7
    leafy = forest * (1 - needles) * state.leaves
    roofs = _roofs(land, roof)
    parts = {
        "water": water,
        "broadleaf": leafy,
        "needles": forest * needles,
        "twigs": forest * (1 - needles) - leafy,
        "green": open_ground * green,
        "flower": open_ground * flower,
        "dry": open_ground * dry,
        "soil_dry": open_ground * soil * (1 - wet),
        "soil_wet": open_ground * soil * wet,
        "asphalt": road + paved,
        **roofs,
    }
    if today.snow > 0.0:
        patches = np.clip(today.snow * (1.3 + 0.4 * ground.texture) - 0.15, 0.0, 1.0)
        hold = np.clip(1.0 - water - 0.65 * forest - 0.6 * road, 0.0, 1.0) * patches
        parts = {name: part * (1.0 - hold) for name, part in parts.items()}
        parts["snow"] = hold
    return parts


def shore_water(land: LandCover, today: Weather) -> Floats:
    """Return the part of each pixel under water, (y, x) 0..1, at a date's water level; main roads cross on bridges."""
    level = 14.0 * today.water_level
    wet = np.clip((level - land.ground.shore_m) / land.ground.frame.pixel_m + 0.5, 0.0, 1.0)
    return np.asarray(wet * (1.0 - land.road) * (1.0 - land.built))


def _roofs(land: LandCover, roof: Floats) -> dict[str, Floats]:
    """Return roof parts by material: houses carry tiles or slate, halls metal, the rest concrete and slate."""
    parcels, at = land.ground.parcels, land.ground.parcel
    draw = noise.uniform(_LAYER, 30, parcels.id)
    material = np.select(
        [
            land.use == Use.HOUSES,
            land.use == Use.HALLS,
            land.use == Use.PERIMETER,
        ],
        [np.where(draw < 0.6, 0, 1), np.where(draw < 0.55, 3, 2), np.where(draw < 0.45, 1, np.where(draw < 0.7, 0, 2))],
        np.where(draw < 0.5, 2, 1),
    )[at]
    return {name: roof * (material == i) for i, name in enumerate(("tiles", "slate", "concrete", "metal"))}


def _light(land: LandCover, above: Sky, at: dt.datetime) -> Floats:
    """Return the brightness of each pixel, (y, x) about 1: parcel and pixel texture, haze of the day, shadows of buildings."""
    ground, frame = land.ground, land.ground.frame
    spread = np.where(land.use == Use.FOREST, 0.03, 0.07)
    tone = 1.0 + spread * noise.normal(_LAYER, 40, ground.parcels.id, at.year)
    parcel = tone.astype(np.float32)[ground.parcel]
    parcel = np.where(ground.shore_m < 0.0, 1.0, parcel)
    built = np.isin(land.use, BUILT_USES)[ground.parcel]
    grain = noise.white(frame.x, frame.y, pixel_m=frame.pixel_m, keys=frame.keys(_LAYER, 41)).astype(np.float32)
    grain = 1.0 + (0.03 + 0.05 * built + 0.05 * land.forest) * grain + 0.035 * ground.texture
    day = 1.0 + 0.02 * float(noise.normal(*frame.keys(_LAYER, 42, at.toordinal())))
    return np.asarray(np.clip(parcel * grain, 0.6, 1.5) * day * (1.0 - 0.5 * _building_shadow(land, above)))


def _building_shadow(land: LandCover, above: Sky) -> Floats:
    """Return the part of each pixel in the shadow of roofs and trees, (y, x) 0..1, by walking towards the sun."""
    pixel = land.ground.frame.pixel_m
    slope = math.tan(math.radians(above.sun_elevation_deg))
    azimuth = math.radians(above.sun_azimuth_deg)
    height = land.height_m
    shaded = np.zeros(height.shape, np.float32)
    for step in range(1, math.ceil(float(height.max()) / slope / pixel) + 1):
        # Rows run south: a step towards the sun is +sin in columns and -cos in rows.
        toward = looked_up(height, row=-round(step * math.cos(azimuth)), column=round(step * math.sin(azimuth)))
        shaded = np.maximum(shaded, np.clip((toward - height - step * pixel * slope) / (pixel * slope) + 0.5, 0.0, 1.0))
    return shaded


def looked_up(field: Floats, *, row: int, column: int) -> Floats:
    """Return the field's value at an offset from every pixel; outside the frame the nearest pixel's."""
    rows = np.clip(np.arange(field.shape[0]) + row, 0, field.shape[0] - 1)
    columns = np.clip(np.arange(field.shape[1]) + column, 0, field.shape[1] - 1)
    return np.asarray(field[rows[:, None], columns[None, :]])


def _halved(field: Floats) -> Floats:
    """Average 2 x 2 pixels."""
    return np.asarray((field[::2, ::2] + field[1::2, ::2] + field[::2, 1::2] + field[1::2, 1::2]) * np.float32(0.25))


def _image(surface: Floats, band: str, air: _Air) -> Floats:
    """Blur a surface by the point spread, then lay shadows, cirrus and clouds over it."""
    at = _ORDER.index(band)
    lit = blurred(surface, 0.18) * (1.0 - air.shade * (1.0 - _SHADOW_LEFT[at]))
    hazy = lit + air.cirrus * _CIRRUS[at]
    bright = _CLOUD[at] * (0.75 + 0.35 * air.cloud)
    return np.asarray(np.clip(hazy * (1.0 - air.cloud) + bright * air.cloud, 0.0005, 1.6))


def _mixed(parts: Floats, spectra: Floats, band: str) -> Floats:
    """Add parts (spectrum, y, x) by their reflectance, in order: a BLAS product would depend on the number of threads."""
    weights = spectra[:, _ORDER.index(band)]
    total = parts[0] * float(weights[0])
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        total = total + part * float(weight)
    return np.asarray(total)


def blurred(image: Floats, side: float) -> Floats:
    """Give `side` of each pixel's light to each neighbour along either axis (a small point spread), edges repeated."""
    padded = np.pad(image, 1, mode="edge")
    tall = side * (padded[:-2] + padded[2:]) + (1 - 2 * side) * padded[1:-1]
    return np.asarray(side * (tall[:, :-2] + tall[:, 2:]) + (1 - 2 * side) * tall[:, 1:-1])


def _classify(ten: dict[str, Floats], twenty: dict[str, Floats], air: _Air) -> NDArray[np.uint8]:
    """Return the scene classification, (y, x) uint8: clouds from their true opacity, the surface from reflectance."""
    blue, green, red, nir = (_halved(ten[band]) for band in BANDS_10M)
    swir = twenty["B11"]
    ndvi = (nir - red) / (nir + red)
    snow_index = (green - swir) / (green + swir)
    return np.select(
        [
            air.cloud > 0.65,
            air.cloud > 0.10,
            air.cloud > 0.03,
            air.shade > 0.25,
            air.cirrus > 0.35,
            (snow_index > 0.4) & (green > 0.30),
            ndvi > 0.40,
            (nir < 0.10) & (swir < 0.09) & (ndvi < 0.20) & (nir <= green * 1.25),
            (nir < 0.11) & (blue < 0.08),
            ndvi < 0.40,
        ],
        [9, 8, 7, 3, 10, 11, 4, 6, 2, 5],
        7,
    ).astype(np.uint8)
