"""Radar images: speckle statistics, the side layover and shadow fall to, and what each cover returns."""

import datetime as dt

import numpy as np
import pytest
from numpy.typing import NDArray

from s1s2pairs.simulate.ground import Ground, Parcels
from s1s2pairs.simulate.landcover import Cover, LandCover, Use, land_cover
from s1s2pairs.simulate.sentinel1 import backscatter, make_look, measured, noise_floor, structure
from tests.s1s2pairs.simulate.conftest import frame

ASCENDING_DEG, DESCENDING_DEG = 80.0, 280.0


def _acquisitions(count: int, looks: float = 4.4) -> NDArray[np.float32]:
    """Return acquisitions of perfectly homogeneous ground of sigma0 0.1, (acquisition, polarisation, y, x)."""
    place = frame(500_000.0, 5_400_000.0, 300)
    look = make_look(np.full((300, 300), 40.0), ASCENDING_DEG)
    flat = np.full((2, 300, 300), 0.1, np.float32)
    return np.stack([measured(flat, place, look, 20_000 + i * 175, looks=looks) for i in range(count)])


def _looks(power: NDArray[np.float32]) -> float:
    power = power.astype(np.float64)
    return float(power.mean() ** 2 / power.var())


def test_averaging_n_acquisitions_gives_n_times_the_looks() -> None:
    images = _acquisitions(9)
    # 90,000 pixels: the estimate of the looks scatters by about sqrt(2 / 90,000) = 0.5 %.
    for polarisation in (0, 1):
        one = _looks(images[0, polarisation])
        assert one == pytest.approx(4.4, rel=0.02)
        for count in (2, 4, 9):
            assert _looks(images[:count, polarisation].mean(axis=0)) == pytest.approx(count * 4.4, rel=0.025)


def test_mean_is_the_signal_plus_the_noise_floor() -> None:
    mean = float(_acquisitions(4).mean(dtype=np.float64))
    assert mean == pytest.approx(0.1 + float(noise_floor(np.array(40.0))), rel=0.002)


def test_averaging_decibels_would_be_biased_low() -> None:
    images = _acquisitions(4)[:, 0].astype(np.float64)
    right = 10 * np.log10(images.mean(axis=0))
    wrong = (10 * np.log10(images)).mean(axis=0)
    assert float((wrong - right).mean()) == pytest.approx(-0.38, abs=0.01)


def test_speckle_is_independent_between_dates_polarisations_and_pixels() -> None:
    images = _acquisitions(2)
    flat = images.reshape(2, 2, -1)
    pairs = [
        (flat[0, 0], flat[1, 0]),
        (flat[0, 0], flat[0, 1]),
        (images[0, 0, :, 1:].ravel(), images[0, 0, :, :-1].ravel()),
    ]
    for a, b in pairs:
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.012  # 3.5 / sqrt(90,000)


def _one_tower(size: int = 61, height_m: float = 50.0) -> LandCover:
    """Return grass with a single square tower, 3 pixels wide, in the middle; its walls face the compass points."""
    place = frame(500_000.0, 5_400_000.0, size)
    zero, one = np.zeros((size, size), np.float32), np.ones((size, size), np.float32)
    parcels = Parcels(
        id=np.array([7]),
        centre_x=np.array([0.0]),
        centre_y=np.array([0.0]),
        angle_rad=np.array([0.0]),
        town=np.array([False]),
        urbanity=np.array([0.0]),
    )
    ground = Ground(
        frame=place,
        parcels=parcels,
        parcel=np.zeros((size, size), np.int32),
        edge_along_m=one * 100,
        edge_across_m=one * 100,
        length_m=one * 200,
        width_m=one * 200,
        main_road_m=one * 1000,
        shore_m=one * 1000,
        wood=zero,
        texture=zero,
    )
    middle = size // 2
    built = zero.copy()
    built[middle - 1 : middle + 2, middle - 1 : middle + 2] = 1.0
    return LandCover(
        year=2019,
        ground=ground,
        use=np.array([Use.GRASS], np.int8),
        built=built,
        road=zero,
        forest=zero,
        height_m=built * height_m,
        cover=np.where(built > 0, Cover.BUILDING, Cover.GRASS).astype(np.uint8),
    )


@pytest.mark.parametrize(("azimuth", "sensor_side"), [(ASCENDING_DEG, -1), (DESCENDING_DEG, 1)])
def test_layover_falls_towards_the_sensor_and_shadow_away(azimuth: float, sensor_side: int) -> None:
    tower = _one_tower()
    look = make_look(np.full((61, 61), 40.0), azimuth)
    image = backscatter(tower, structure(tower, look), 50.0, dt.date(2019, 6, 10))[0]
    grass = float(np.median(image))
    row = image[28:33].mean(axis=0)
    bright, dark = np.nonzero(row > 2 * grass)[0] - 30, np.nonzero(row < 0.5 * grass)[0] - 30
    # Ascending passes look east from the west: the sensor's side is west (negative columns).
    assert np.mean(bright) * sensor_side > 2
    assert np.mean(dark) * sensor_side < -1
    # The roof appears 50 m / tan 40 = 60 m nearer; the shadow is 50 m * tan 40 = 42 m long.
    assert 5 <= np.max(bright * sensor_side) <= 8
    assert 4 <= np.max(-dark * sensor_side) <= 7


def test_walls_that_face_the_sensor_return_most() -> None:
    tower = _one_tower()
    returns = []
    for azimuth in (90.0, 75.0, 60.0, 45.0):
        look = make_look(np.full((61, 61), 40.0), azimuth)
        returns.append(float(structure(tower, look).bright[0].sum()))
    assert returns[0] > 1.5 * max(returns[1:])


def test_covers_keep_their_order(town: Ground) -> None:
    land = land_cover(town, 2019)
    look = make_look(np.full(land.cover.shape, 40.0), ASCENDING_DEG)
    sigma0 = backscatter(land, structure(land, look), 48.8, dt.date(2019, 6, 10))
    db = {
        cover: [float(10 * np.log10(sigma0[i][land.cover == cover].mean())) for i in (0, 1)]
        for cover in (Cover.WATER, Cover.FOREST, Cover.BUILDING)
    }
    assert db[Cover.WATER][0] < db[Cover.FOREST][0] - 3 < db[Cover.BUILDING][0] - 3
    assert db[Cover.WATER][1] < -20 < db[Cover.FOREST][1] < -12
    assert all(vh < vv for vv, vh in db.values())


def test_backscatter_falls_with_the_angle(town: Ground) -> None:
    land = land_cover(town, 2019)
    fields = np.isin(land.use, (Use.CROP, Use.GRASS))[town.parcel] & (land.built + land.road + land.forest == 0)
    near, far = (
        backscatter(
            land,
            structure(land, make_look(np.full(land.cover.shape, angle), ASCENDING_DEG)),
            48.8,
            dt.date(2019, 6, 10),
        )
        for angle in (31.0, 45.0)
    )
    assert np.all(far[0][land.cover == Cover.WATER].mean() < near[0][land.cover == Cover.WATER].mean())
    assert far[0][fields].mean() < 0.95 * near[0][fields].mean()


def test_noise_floor_is_that_of_the_instrument() -> None:
    floor = 10 * np.log10(noise_floor(np.linspace(29.1, 46.0, 200)))
    assert floor.min() == pytest.approx(-25.0, abs=0.1)
    assert -22.5 < floor.max() <= -22.0


def test_a_date_in_wet_weather_is_brighter_on_bare_soil(town: Ground) -> None:
    land = land_cover(town, 2019)
    look = make_look(np.full(land.cover.shape, 40.0), ASCENDING_DEG)
    seen = structure(land, look)
    days = [dt.date(2019, 6, 1) + dt.timedelta(days=i) for i in range(0, 30, 3)]
    bare = (land.use == Use.BARE)[town.parcel] & (land.built + land.road + land.forest == 0)
    values = [10 * np.log10(backscatter(land, seen, 48.8, day)[0][bare].mean()) for day in days]
    assert max(values) - min(values) > 1.0


def test_overlapping_frames_agree_on_their_speckle() -> None:
    look = make_look(np.full((80, 80), 40.0), ASCENDING_DEG)
    flat = np.ones((2, 80, 80), np.float32)
    first = measured(flat, frame(500_000.0, 5_400_000.0, 80), look, 20_000)
    second = measured(flat, frame(500_300.0, 5_399_800.0, 80), look, 20_000)
    assert np.array_equal(first[:, 20:, 30:], second[:, :-20, :-30])
