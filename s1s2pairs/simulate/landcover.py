"""What the ground carries in a given year: land cover, buildings and their heights, and what changed since another year."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from . import noise
from .ground import Frame, Ground, Parcels
from .noise import Floats

_LAYER: Final = 100
_LAKE_MARGIN_M: Final = 12.0
"""Nothing is built and nothing is sown closer than this to the mean water line."""
TREE_HEIGHT_M: Final = 15.0
"""One height for all trees: an uneven canopy would tear open when a radar image displaces it by whole pixels."""
FIRST_EVENT_YEAR: Final = 2015
EVENT_YEARS: Final = 12
"""A parcel that changes does so once, in a year drawn from 2015 to 2026."""


class Cover(IntEnum):
    """Land cover classes, as stored in the truth rasters."""

    WATER = 1
    FOREST = 2
    CROP = 3
    GRASS = 4
    BARE = 5
    ROAD = 6
    BUILDING = 7


class Use(IntEnum):
    """What a parcel is used for."""

    CROP = 0
    GRASS = 1
    FOREST = 2
    BARE = 3
    HOUSES = 4
    PERIMETER = 5
    """Dense blocks built around a courtyard."""
    HALLS = 6
    """Warehouses: large, low, bright roofs."""
    TOWERS = 7
    """Slabs of 30 to 55 m."""
    PARK = 8


BUILT_USES: Final = (Use.HOUSES, Use.PERIMETER, Use.HALLS, Use.TOWERS)


@dataclass(frozen=True, kw_only=True, slots=True)
class LandCover:
    """The land of a frame in one year, at mean water level."""

    year: int
    ground: Ground
    use: NDArray[np.int8]
    """(parcel,) `Use` of every parcel."""
    built: Floats
    """(y, x) 0..1, part of the pixel under roofs."""
    road: Floats
    """(y, x) 0..1, part of the pixel that is paved road."""
    forest: Floats
    """(y, x) 0..1, part of the pixel under trees."""
    height_m: Floats
    """(y, x) height of roofs and tree tops above the ground, metres."""
    cover: NDArray[np.uint8]
    """(y, x) `Cover`."""


def land_cover(ground: Ground, year: int) -> LandCover:
    """Return the land cover of a year."""
    use = parcel_use(ground.frame, ground.parcels, year)
    here = use[ground.parcel]
    dry = ground.shore_m > _LAKE_MARGIN_M
    road = _roads(ground, here)
    built, height = _buildings(ground, use)
    built = np.where(dry, built * (1 - road), 0.0)
    forest = np.where(dry, _trees(ground, here) * (1 - road), 0.0)
    return LandCover(
        year=year,
        ground=ground,
        use=use,
        built=built,
        road=road,
        forest=forest,
        height_m=np.where(built > 0.4, height, np.where(forest > 0.4, TREE_HEIGHT_M, 0.0)),
        cover=_classes(ground, here, built, road, forest),
    )


def changed(before: LandCover, after: LandCover) -> NDArray[np.bool_]:
    """Tell which pixels belong to parcels whose use changed, (y, x): built up, cleared or rebuilt.

    Water, and roads that are there in both years, are not counted.
    """
    parcels = before.use != after.use
    roads = (before.road >= 0.5) & (after.road >= 0.5)
    return np.asarray(parcels[before.ground.parcel] & (before.ground.shore_m > _LAKE_MARGIN_M) & ~roads)


def parcel_use(frame: Frame, parcels: Parcels, year: int) -> NDArray[np.int8]:
    """Return the use of every parcel in a year.

    A parcel that ever changes is a building site (bare) in its year of change and serves its new use from the next.
    """
    first, last = _first_use(frame, parcels), _last_use(frame, parcels)
    event = FIRST_EVENT_YEAR + np.floor(noise.uniform(_LAYER, 10, parcels.id) * EVENT_YEARS)
    return np.where(
        first == last, first, np.where(year < event, first, np.where(year == event, Use.BARE, last))
    ).astype(np.int8)


def _first_use(frame: Frame, parcels: Parcels) -> NDArray[np.int8]:
    wooded = noise.rough_at(parcels.centre_x, parcels.centre_y, scale_m=3000.0, octaves=2, keys=frame.keys(_LAYER))
    draw = noise.uniform(_LAYER, 1, parcels.id)
    rural = np.select([wooded > 0.55, draw < 0.20, draw < 0.23], [Use.FOREST, Use.GRASS, Use.BARE], Use.CROP)
    return np.where(parcels.town, _town_use(draw, parcels.urbanity), rural).astype(np.int8)


def _town_use(draw: Floats, urbanity: Floats) -> NDArray[np.int64]:
    """Return the use of a city block: towers and courtyards in the middle, houses outside, halls anywhere."""
    central = np.clip((urbanity - 0.5) / 1.0, 0.0, 1.0)
    towers, perimeter = 0.02 + 0.16 * central, 0.05 + 0.45 * central
    shares = np.cumsum(np.stack([towers, perimeter, np.full_like(draw, 0.09), np.full_like(draw, 0.09)]), axis=0)
    return np.select(
        [draw < share for share in (*shares, shares[-1] + 0.04)],
        [Use.TOWERS, Use.PERIMETER, Use.HALLS, Use.PARK, Use.BARE],
        Use.HOUSES,
    )


def _last_use(frame: Frame, parcels: Parcels) -> NDArray[np.int8]:
    """Return what a parcel ends up as: fields near towns are built up, some woods cleared, waste land and halls built over."""
    first = _first_use(frame, parcels)
    draw, kind = noise.uniform(_LAYER, 2, parcels.id), noise.uniform(_LAYER, 3, parcels.id)
    open_land = np.isin(first, (Use.CROP, Use.GRASS, Use.BARE))
    near_town = np.clip(0.55 + 0.4 * parcels.urbanity, 0.2, 0.8)
    new_town = np.select([kind < 0.5, kind < 0.85], [Use.HOUSES, Use.HALLS], Use.TOWERS)
    return np.select(
        [
            open_land & (draw < np.where(parcels.town, 0.9, near_town)),
            (first == Use.FOREST) & (draw < 0.45),
            np.isin(first, (Use.HALLS, Use.PARK)) & (draw < 0.25),
        ],
        [new_town, Use.GRASS, Use.TOWERS],
        first,
    ).astype(np.int8)


def _edge_m(ground: Ground) -> Floats:
    """Return the distance from the nearest edge of the parcel, (y, x), metres."""
    along = np.minimum(ground.edge_along_m, ground.length_m - ground.edge_along_m)
    across = np.minimum(ground.edge_across_m, ground.width_m - ground.edge_across_m)
    return np.asarray(np.minimum(along, across))


def _soft(distance_m: Floats, pixel_m: float) -> Floats:
    """Return the part of a pixel on the positive side of an edge at this signed distance."""
    return np.asarray(np.clip(distance_m / pixel_m + 0.5, 0.0, 1.0))


def _roads(ground: Ground, use: NDArray[np.int8]) -> Floats:
    pixel = ground.frame.pixel_m
    main = _soft(8.0 - ground.main_road_m, pixel)
    street_half = np.where(ground.parcels.town[ground.parcel] | np.isin(use, BUILT_USES), 5.0, -1.5)
    street_half = np.where(use == Use.FOREST, -3.5, street_half)
    street = _soft(street_half - _edge_m(ground), pixel) * (ground.shore_m > _LAKE_MARGIN_M)
    # Main roads cross rivers on bridges; nothing crosses a lake.
    return np.asarray(np.maximum(main * (ground.shore_m > -90.0), street))


def _trees(ground: Ground, use: NDArray[np.int8]) -> Floats:
    pixel = ground.frame.pixel_m
    natural = np.clip((ground.wood - 1.25) * 6.0, 0.0, 1.0) * ~np.isin(use, BUILT_USES) * (use != Use.BARE)
    hedges = 0.5 * _soft(3.0 - _edge_m(ground), pixel) * np.isin(use, (Use.CROP, Use.GRASS)) * (ground.wood > 0.2)
    park = np.where(use == Use.PARK, np.clip(0.3 + 0.5 * ground.texture, 0.0, 1.0), 0.0)
    gardens = np.where(use == Use.HOUSES, np.clip(0.12 + 0.25 * ground.texture, 0.0, 0.6), 0.0)
    return np.asarray(
        np.maximum.reduce([np.where(use == Use.FOREST, 1.0, 0.0), natural, hedges, park, gardens]), np.float32
    )


def _buildings(ground: Ground, use: NDArray[np.int8]) -> tuple[Floats, Floats]:
    """Return the built part and the roof height, (y, x), of the buildings each parcel's use puts on it."""
    here, pixel, edge = use[ground.parcel], ground.frame.pixel_m, _edge_m(ground)
    along, across = ground.edge_along_m, ground.edge_across_m
    inner = _soft(edge - 8.0, pixel)
    footprint = {
        Use.HOUSES: _boxes(along, across, pitch=(24.0, 28.0), size=(14.0, 13.0), pixel=pixel) * inner,
        Use.PERIMETER: np.minimum(_soft(edge - 7.0, pixel), _soft(24.0 - edge, pixel)),
        Use.HALLS: _boxes(along, across, pitch=(80.0, 60.0), size=(62.0, 44.0), pixel=pixel) * inner,
        Use.TOWERS: _boxes(along, across, pitch=(75.0, 50.0), size=(55.0, 17.0), pixel=pixel) * inner,
    }
    stretch = noise.uniform(_LAYER, 4, ground.parcels.id).astype(np.float32)[ground.parcel]
    heights = {Use.HOUSES: (6.0, 3.0), Use.PERIMETER: (13.0, 11.0), Use.HALLS: (8.0, 5.0), Use.TOWERS: (28.0, 27.0)}
    built, height = np.zeros(here.shape, np.float32), np.zeros(here.shape, np.float32)
    for kind in BUILT_USES:
        mine = here == kind
        built = np.where(mine, footprint[kind], built)
        height = np.where(mine, heights[kind][0] + heights[kind][1] * stretch, height)
    return built, height


def _boxes(
    along: Floats, across: Floats, *, pitch: tuple[float, float], size: tuple[float, float], pixel: float
) -> Floats:
    """Return the built part of pixels in a lattice of rectangular buildings."""
    parts = [
        _soft(length / 2 - np.abs(position % step - step / 2), pixel)
        for position, step, length in ((along, pitch[0], size[0]), (across, pitch[1], size[1]))
    ]
    return np.asarray(parts[0] * parts[1])


def _classes(ground: Ground, use: NDArray[np.int8], built: Floats, road: Floats, forest: Floats) -> NDArray[np.uint8]:
    open_cover = np.select(
        [use == Use.CROP, np.isin(use, (Use.BARE, Use.HALLS, Use.TOWERS))], [Cover.CROP, Cover.BARE], Cover.GRASS
    )
    paved = use == Use.PERIMETER
    return np.select(
        [ground.shore_m < 0.0, road >= 0.5, built >= 0.4, forest >= 0.5, ground.shore_m < _LAKE_MARGIN_M, paved],
        [Cover.WATER, Cover.ROAD, Cover.BUILDING, Cover.FOREST, Cover.GRASS, Cover.ROAD],
        open_cover,
    ).astype(np.uint8)
