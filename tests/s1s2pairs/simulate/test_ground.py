"""The ground: the same wherever it is rendered from, other for another seed, changing between years."""

import dataclasses

import numpy as np
import pytest

from s1s2pairs.simulate import noise
from s1s2pairs.simulate.ground import Ground, make_ground
from s1s2pairs.simulate.landcover import BUILT_USES, Cover, Use, changed, land_cover

from .conftest import frame


def test_overlapping_frames_agree_on_the_ground_they_share() -> None:
    first = land_cover(make_ground(frame(503_000.0, 5_415_000.0, 120)), 2019)
    second = land_cover(make_ground(frame(503_400.0, 5_414_700.0, 120)), 2019)
    inner = 3  # slopes at a frame's border are one-sided
    for name in ("cover", "built", "height_m", "road"):
        a = getattr(first, name)[30 + inner : -inner, 40 + inner : -inner]
        b = getattr(second, name)[inner : -30 - inner, inner : -40 - inner]
        assert np.array_equal(a, b), name


def test_another_seed_is_another_world() -> None:
    covers = [land_cover(make_ground(frame(503_000.0, 5_415_000.0, 100, seed=seed)), 2019).cover for seed in (0, 1)]
    assert (covers[0] != covers[1]).mean() > 0.3


def test_every_cover_occurs(town: Ground) -> None:
    found = set(np.unique(land_cover(town, 2019).cover))
    assert {Cover.WATER, Cover.FOREST, Cover.GRASS, Cover.BARE, Cover.ROAD, Cover.BUILDING} <= found


def test_buildings_stand_on_land_and_differ_in_height(town: Ground) -> None:
    land = land_cover(town, 2019)
    buildings = land.built > 0.4
    assert not (buildings & (town.shore_m < 0)).any()
    heights = land.height_m[buildings]
    assert heights.min() >= 6.0
    assert heights.max() > 30.0
    assert np.unique(heights).size > 20


def test_parcels_are_built_up_and_cleared_between_years(town: Ground) -> None:
    years = {year: land_cover(town, year) for year in (2019, 2021)}
    before, after = years[2019].use, years[2021].use
    built_up = np.isin(after, BUILT_USES) & ~np.isin(before, BUILT_USES)
    assert built_up.any()
    assert (before != after).mean() < 0.3
    mask = changed(years[2019], years[2021])
    assert 0.01 < mask.mean() < 0.2
    assert np.array_equal(mask, changed(years[2021], years[2019]))
    # Where no parcel changed, the land cover did not either.
    assert np.array_equal(years[2019].cover[~mask], years[2021].cover[~mask])


def test_a_parcel_is_a_building_site_in_the_year_it_changes(town: Ground) -> None:
    uses = np.stack([land_cover(town, year).use for year in range(2014, 2029)])
    moving = np.nonzero(uses[0] != uses[-1])[0]
    assert moving.size > 10
    for parcel in moving:
        assert (uses[:, parcel] == Use.BARE).sum() >= 1
        assert len({int(use) for use in uses[:, parcel]} - {int(Use.BARE)}) <= 2


def test_noise_has_unit_variance_and_needs_no_grid() -> None:
    x, y = np.arange(600) * 37.0, np.arange(600) * -41.0
    field = noise.rough(x, y, scale_m=300.0, octaves=4, keys=(5,))
    assert field.std() == pytest.approx(1.0, abs=0.03)
    assert abs(field.mean()) < 0.05
    points = noise.rough_at(*np.meshgrid(x[:40], y[:40]), scale_m=300.0, octaves=4, keys=(5,))
    assert np.allclose(points, field[:40, :40], atol=1e-12)


def test_hashes_are_uniform_and_depend_on_every_key() -> None:
    drawn = noise.uniform(3, np.arange(100_000))
    counts = np.histogram(drawn, bins=20, range=(0, 1))[0]
    assert ((counts - 5000) ** 2 / 5000).sum() < 45  # chi squared, 19 degrees of freedom, p = 0.0007
    assert noise.hashed(1, 2) != noise.hashed(2, 1)
    assert noise.hashed(-1) != noise.hashed(1)


def test_frames_are_values() -> None:
    place = frame(500_000.0, 5_400_000.0, 10)
    with pytest.raises(dataclasses.FrozenInstanceError):
        place.seed = 4
