"""Randomness that depends only on place, time and seed, never on the order or extent of the computation.

Every number is a hash of integers (lattice corner, parcel, day ...), so two scenes that share ground agree on it pixel by
pixel, whatever box each of them was rendered in.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating[Any]]
Hashes = NDArray[np.uint64]

_GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_VALUE_NOISE_STD: Final = 0.7835
"""Standard deviation of interpolated unit normal lattice values (quintic weights, two axes), checked by a test."""
SPECKLE_BLOCK_PX: Final = 64


def hashed(*keys: ArrayLike) -> Hashes:
    """Mix integers (arrays broadcast) into 64 random-looking bits by the splitmix64 finaliser."""
    mixed: Hashes = np.zeros((), np.uint64)
    with np.errstate(over="ignore"):
        for key in keys:
            mixed = (mixed ^ np.asarray(key).astype(np.int64).astype(np.uint64)) + _GAMMA
            mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX[0]
            mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX[1]
            mixed = mixed ^ (mixed >> np.uint64(31))
    return mixed


def uniform(*keys: ArrayLike) -> Floats:
    """Return numbers uniform in [0, 1) from integer keys."""
    return (hashed(*keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(*keys: ArrayLike) -> Floats:
    """Return standard normal numbers from integer keys (Box and Muller)."""
    radius = np.sqrt(-2.0 * np.log(uniform(*keys, 1) + 2.0**-54))
    return np.asarray(radius * np.cos(2.0 * np.pi * uniform(*keys, 2)))


def rough(x: Floats, y: Floats, *, scale_m: float, octaves: int, keys: Sequence[int]) -> Floats:
    """Return fractal noise of unit variance on a grid: octaves of half the scale and 0.55 of the amplitude each.

    Args:
        x: (x,) pixel centre eastings, metres.
        y: (y,) pixel centre northings, metres.
        scale_m: size of the largest features.
        octaves: how many scales.
        keys: integers that name this field.

    Returns:
        (y, x) float64.
    """
    total, power = np.zeros((y.size, x.size)), 0.0
    for octave in range(octaves):
        size, amplitude = scale_m / 2**octave, 0.55**octave
        total += amplitude * _smooth_grid(x, y, size, (*keys, octave))
        power += amplitude**2
    return np.asarray(total / (_VALUE_NOISE_STD * np.sqrt(power)))


def rough_at(x: Floats, y: Floats, *, scale_m: float, octaves: int, keys: Sequence[int]) -> Floats:
    """Return the noise of `rough` at scattered points, in the shape of x and y."""
    total, power = np.zeros(np.shape(x)), 0.0
    for octave in range(octaves):
        size, amplitude = scale_m / 2**octave, 0.55**octave
        (ix, wx), (iy, wy) = _cell(x, size), _cell(y, size)
        names = (*keys, octave)
        low = normal(*names, ix, iy) * (1 - wx) + normal(*names, ix + 1, iy) * wx
        high = normal(*names, ix, iy + 1) * (1 - wx) + normal(*names, ix + 1, iy + 1) * wx
        total += amplitude * (low * (1 - wy) + high * wy)
        power += amplitude**2
    return np.asarray(total / (_VALUE_NOISE_STD * np.sqrt(power)))


def white(x: Floats, y: Floats, *, pixel_m: float, keys: Sequence[int]) -> Floats:
    """Return independent standard normal values per pixel, (y, x)."""
    columns, rows = np.floor(x / pixel_m).astype(np.int64), np.floor(y / pixel_m).astype(np.int64)
    return normal(*keys, columns[None, :], rows[:, None])


def speckle(
    x0_px: int, y0_px: int, shape: tuple[int, int], *, looks: float, keys: Sequence[int]
) -> NDArray[np.float32]:
    """Return multiplicative speckle of mean 1: gamma distributed power of `looks` looks, independent per pixel and key.

    Args:
        x0_px: column of the left pixel, counted in pixels from the projection's origin.
        y0_px: row of the top pixel, counted southward from the projection's origin.
        shape: rows, columns.
        looks: shape parameter of the gamma distribution; mean squared over variance of the power.
        keys: integers that name the acquisition and polarisation.

    Returns:
        (y, x) float32.
    """
    block = SPECKLE_BLOCK_PX
    top, left = y0_px // block, x0_px // block
    rows = range(top, (y0_px + shape[0] - 1) // block + 1)
    columns = range(left, (x0_px + shape[1] - 1) // block + 1)
    drawn = np.empty((len(rows) * block, len(columns) * block), np.float32)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            rng = np.random.Generator(np.random.Philox(key=int(hashed(*keys, row, column))))
            tile = rng.standard_gamma(looks, size=(block, block), dtype=np.float32)
            drawn[i * block : (i + 1) * block, j * block : (j + 1) * block] = tile
    y, x = y0_px - top * block, x0_px - left * block
    return drawn[y : y + shape[0], x : x + shape[1]] / np.float32(looks)


def _cell(position: Floats, size: float) -> tuple[NDArray[np.int64], Floats]:
    """Return the lattice cell and the quintic weight of its far corner."""
    scaled = position / size
    cell = np.floor(scaled)
    t = scaled - cell
    return cell.astype(np.int64), np.asarray(t * t * t * (t * (t * 6 - 15) + 10))


def _smooth_grid(x: Floats, y: Floats, size: float, keys: Sequence[int]) -> Floats:
    (ix, wx), (iy, wy) = _cell(x, size), _cell(y, size)
    columns, rows = np.arange(ix.min(), ix.max() + 2), np.arange(iy.min(), iy.max() + 2)
    lattice = normal(*keys, columns[None, :], rows[:, None])
    across = lattice[:, ix - columns[0]] * (1 - wx) + lattice[:, ix - columns[0] + 1] * wx
    return np.asarray(across[iy - rows[0]] * (1 - wy)[:, None] + across[iy - rows[0] + 1] * wy[:, None])
