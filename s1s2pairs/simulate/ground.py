"""The ground that never changes: relief of water and towns, districts, parcels and the buildings a parcel could carry.

Districts are warped Voronoi cells about 1.4 km across; their borders are main roads. Each is laid out at an angle of its own
in rows of parcels (fields, woods) or, in towns, of city blocks. Everything is a function of UTM coordinates and the seed.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from . import noise
from .noise import Floats

DISTRICT_M: Final = 1400.0
_TOWN: Final = 0.35
"""Districts whose town noise exceeds this are laid out as towns."""
_LAYER_WARP, _LAYER_SEED, _LAYER_TOWN, _LAYER_WOOD, _LAYER_RIVER, _LAYER_LAKE, _LAYER_PARCEL = range(7)


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """Where a piece of world lies: pixel centres on the UTM grid, the same for every layer."""

    zone: int
    """EPSG code of the UTM zone; part of every hash, so zones have worlds of their own."""
    x: Floats
    """(x,) eastings of pixel centres, metres."""
    y: Floats
    """(y,) northings of pixel centres, metres, falling."""
    pixel_m: float
    seed: int

    def keys(self, *names: int) -> tuple[int, ...]:
        """Return hash keys of a layer of this world."""
        return (self.seed, self.zone, *names)


@dataclass(frozen=True, kw_only=True, slots=True)
class Parcels:
    """Attributes of the parcels in a frame, one entry each."""

    id: NDArray[np.int64]
    """Hash that names the parcel, wherever it is met."""
    centre_x: Floats
    centre_y: Floats
    angle_rad: Floats
    """Direction of the parcel's long side, counter-clockwise from east; its walls stand along and across it."""
    town: NDArray[np.bool_]
    """In a district laid out as a town."""
    urbanity: Floats
    """How central the district is, about -2..2."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """What a frame contains before any year or date is named."""

    frame: Frame
    parcels: Parcels
    parcel: NDArray[np.int32]
    """(y, x) row of `parcels`."""
    edge_along_m: Floats
    """(y, x) distance from the parcel's west edge in its own axes, metres."""
    edge_across_m: Floats
    """(y, x) distance from the parcel's south edge in its own axes, metres."""
    length_m: Floats
    """(y, x) size of the parcel along its long side, metres."""
    width_m: Floats
    """(y, x) size of the parcel across it, metres."""
    main_road_m: Floats
    """(y, x) distance from the middle of the nearest main road, metres."""
    shore_m: Floats
    """(y, x) distance from the mean water line, metres, negative in the water."""
    wood: Floats
    """(y, x) unit variance noise: where woods with natural borders stand."""
    texture: Floats
    """(y, x) unit variance noise of small scale, shared by both sensors."""


def make_ground(frame: Frame) -> Ground:
    """Lay out the ground of a frame."""
    x, y = _warped(frame)
    district, main_road = _districts(frame, x, y)
    attributes = _district_attributes(frame, district)
    return _parcels(frame, x, y, attributes, main_road)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Districts:
    """One entry per district of a frame, and which district every pixel is in."""

    index: NDArray[np.int64]
    """(y, x) row of the other arrays."""
    x: Floats
    y: Floats
    angle: Floats
    urbanity: Floats
    town: NDArray[np.bool_]
    id: NDArray[np.int64]


def _warped(frame: Frame) -> tuple[Floats, Floats]:
    """Return coordinates (y, x) bent by up to some 100 m, so that roads and field borders are not straight."""
    bend = [
        noise.rough(frame.x, frame.y, scale_m=1500.0, octaves=2, keys=frame.keys(_LAYER_WARP, axis)) * 60.0
        for axis in (0, 1)
    ]
    return frame.x[None, :] + bend[0], frame.y[:, None] + bend[1]


def _districts(frame: Frame, x: Floats, y: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Return the lattice cell (y, x, 2) of the nearest district seed and the distance from the district's border."""
    cell_x, cell_y = np.floor(x / DISTRICT_M).astype(np.int64), np.floor(y / DISTRICT_M).astype(np.int64)
    best, second = np.full(x.shape, np.inf), np.full(x.shape, np.inf)
    owner = np.zeros((*x.shape, 2), np.int64)
    for dx in (-1, 0, 1):
        for dy in (-1, 0, 1):
            ix, iy = cell_x + dx, cell_y + dy
            seed_x, seed_y = _seed_point(frame, ix, iy)
            distance = np.hypot(x - seed_x, y - seed_y)
            nearer = distance < best
            second = np.where(nearer, best, np.minimum(second, distance))
            best = np.where(nearer, distance, best)
            owner[nearer] = np.stack([ix[nearer], iy[nearer]], axis=-1)
    return owner, (second - best) / 2


def _seed_point(frame: Frame, ix: NDArray[np.int64], iy: NDArray[np.int64]) -> tuple[Floats, Floats]:
    jitter = [noise.uniform(*frame.keys(_LAYER_SEED, axis), ix, iy) * 0.7 + 0.15 for axis in (0, 1)]
    return (ix + jitter[0]) * DISTRICT_M, (iy + jitter[1]) * DISTRICT_M


def _district_attributes(frame: Frame, owner: NDArray[np.int64]) -> _Districts:
    packed = (owner[..., 0] << 32) + (owner[..., 1] & 0xFFFFFFFF)
    unique, index = np.unique(packed, return_inverse=True)
    ix, iy = unique >> 32, (unique & 0xFFFFFFFF).astype(np.uint32).astype(np.int32).astype(np.int64)
    x, y = _seed_point(frame, ix, iy)
    urbanity = noise.rough_at(x, y, scale_m=5000.0, octaves=2, keys=frame.keys(_LAYER_TOWN))
    return _Districts(
        index=index.reshape(packed.shape),
        x=x,
        y=y,
        angle=noise.uniform(*frame.keys(_LAYER_SEED, 2), ix, iy) * np.pi / 2,
        urbanity=urbanity,
        town=urbanity > _TOWN,
        id=noise.hashed(*frame.keys(_LAYER_SEED, 3), ix, iy).astype(np.int64),
    )


def _parcels(frame: Frame, x: Floats, y: Floats, districts: _Districts, main_road: Floats) -> Ground:
    """Cut every district into rows, and each row into parcels, in the district's own axes."""
    at = districts.index
    angle, town, name = districts.angle[at], districts.town[at], districts.id[at]
    east, north = x - districts.x[at], y - districts.y[at]
    along = east * np.cos(angle) + north * np.sin(angle)
    across = north * np.cos(angle) - east * np.sin(angle)
    row_height = (
        np.where(town, 75.0, 130.0) + np.where(town, 45.0, 130.0) * noise.uniform(_LAYER_PARCEL, 0, districts.id)[at]
    )
    row = np.floor(across / row_height).astype(np.int64)
    length = np.where(town, 95.0, 150.0) + np.where(town, 70.0, 280.0) * noise.uniform(_LAYER_PARCEL, 1, name, row)
    shifted = along + length * noise.uniform(_LAYER_PARCEL, 2, name, row)
    column = np.floor(shifted / length).astype(np.int64)
    identity = noise.hashed(_LAYER_PARCEL, 3, name, row, column).astype(np.int64)
    unique, first, index = np.unique(identity, return_index=True, return_inverse=True)
    offset_along = (column + 0.5) * length - (shifted - along)
    offset_across = (row + 0.5) * row_height
    centre_x = (districts.x[at] + offset_along * np.cos(angle) - offset_across * np.sin(angle)).ravel()[first]
    centre_y = (districts.y[at] + offset_along * np.sin(angle) + offset_across * np.cos(angle)).ravel()[first]
    parcels = Parcels(
        id=unique,
        centre_x=centre_x,
        centre_y=centre_y,
        angle_rad=angle.ravel()[first],
        town=town.ravel()[first],
        urbanity=districts.urbanity[at].ravel()[first],
    )
    return Ground(
        frame=frame,
        parcels=parcels,
        parcel=index.reshape(x.shape).astype(np.int32),
        edge_along_m=_single(shifted - column * length),
        edge_across_m=_single(across - row * row_height),
        length_m=_single(length),
        width_m=_single(row_height),
        main_road_m=_single(main_road),
        shore_m=_single(_shore(frame)),
        wood=_single(noise.rough(frame.x, frame.y, scale_m=900.0, octaves=4, keys=frame.keys(_LAYER_WOOD))),
        texture=_single(noise.rough(frame.x, frame.y, scale_m=90.0, octaves=3, keys=frame.keys(_LAYER_WOOD, 9))),
    )


def _single(field: Floats) -> Floats:
    """Return a layer as float32: positions need double precision, what lies at them does not."""
    return field.astype(np.float32)


def _shore(frame: Frame) -> Floats:
    """Return the distance from the mean water line: winding rivers and lakes, where noise fields cross their levels.

    Dividing a field by its slope turns it into metres near the crossing.
    """
    river = noise.rough(frame.x, frame.y, scale_m=8000.0, octaves=2, keys=frame.keys(_LAYER_RIVER))
    down, right = np.gradient(river, frame.pixel_m)
    slope = np.hypot(down, right) + 5e-5
    breadth = 45.0 + 25.0 * noise.rough(frame.x, frame.y, scale_m=2500.0, octaves=1, keys=frame.keys(_LAYER_RIVER, 7))
    lake = noise.rough(frame.x, frame.y, scale_m=2600.0, octaves=3, keys=frame.keys(_LAYER_LAKE))
    return np.asarray(np.minimum(np.abs(river) / slope - breadth, (lake + 1.75) / 0.0012))
