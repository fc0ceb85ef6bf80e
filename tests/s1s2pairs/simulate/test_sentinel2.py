"""Optical images: the classes agree with the reflectance, shadows lie where the sun throws them, seasons show."""

import dataclasses
import datetime as dt

import numpy as np
import pytest

from s1s2pairs.simulate.ground import Ground
from s1s2pairs.simulate.landcover import Cover, Use, land_cover
from s1s2pairs.simulate.season import sun, weather
from s1s2pairs.simulate.sentinel2 import OpticalImage, observe
from s1s2pairs.simulate.sky import Sky, cloud_and_shadow, sky

LON, LAT = 3.05, 48.8


def _at(day: str) -> dt.datetime:
    return dt.datetime.fromisoformat(f"{day}T10:50:00+00:00")


def _image(town: Ground, day: str, *, cover: float = 0.0, cirrus: bool = False) -> OpticalImage:
    at = _at(day)
    above = dataclasses.replace(sky(town.frame, LON, LAT, at), cover=cover, cirrus=cirrus)
    return observe(land_cover(town, at.year), LAT, at, above)


def _coarse(image: OpticalImage, band: str) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    if band in image.reflectance_20m:
        return image.reflectance_20m[band]
    fine = image.reflectance_10m[band]
    return fine.reshape(fine.shape[0] // 2, 2, -1, 2).mean(axis=(1, 3))


def test_all_ten_bands_are_on_their_grids(town: Ground) -> None:
    image = _image(town, "2019-06-15")
    assert set(image.reflectance_10m) == {"B2", "B3", "B4", "B8"}
    assert set(image.reflectance_20m) == {"B5", "B6", "B7", "B8A", "B11", "B12"}
    assert {band.shape for band in image.reflectance_10m.values()} == {(260, 260)}
    assert {band.shape for band in image.reflectance_20m.values()} == {(130, 130)}
    assert image.scl.shape == (130, 130)
    for band in (*image.reflectance_10m.values(), *image.reflectance_20m.values()):
        assert np.isfinite(band).all()
        assert band.min() > 0
        assert band.max() < 1.7


def test_classes_agree_with_reflectance(town: Ground) -> None:
    image = _image(town, "2019-06-15", cover=0.4)
    blue, red, nir, swir = (_coarse(image, band) for band in ("B2", "B4", "B8", "B11"))
    ndvi, scl = (nir - red) / (nir + red), image.scl
    assert {3, 4, 5, 6, 9} <= set(np.unique(scl))
    assert 0 not in scl
    assert ndvi[scl == 4].min() > 0.4 > ndvi[scl == 5].max()
    assert nir[scl == 6].max() < 0.12
    assert swir[scl == 6].max() < 0.1
    assert blue[scl == 9].min() > 0.3 > blue[scl == 4].max()
    clear = _coarse(_image(town, "2019-06-15"), "B8")
    assert (nir[scl == 3] < 0.9 * clear[scl == 3]).mean() > 0.99
    assert np.allclose(nir[np.isin(scl, (4, 5))], clear[np.isin(scl, (4, 5))], rtol=0.2, atol=0.03)


def test_a_clear_image_has_no_class_that_counts_as_cloud(town: Ground) -> None:
    assert not np.isin(_image(town, "2019-06-15").scl, (3, 7, 8, 9, 10, 11)).any()


def test_cirrus_is_classed_and_bright_in_the_blue(town: Ground) -> None:
    thin, clear = _image(town, "2019-06-15", cirrus=True), _image(town, "2019-06-15")
    assert (thin.scl == 10).any()
    more = _coarse(thin, "B2") - _coarse(clear, "B2")
    assert 0.015 < more[thin.scl == 10].mean() < 0.07


def test_cloud_shadows_lie_away_from_the_sun(town: Ground) -> None:
    # Sun in the south-east, 45 degrees high; clouds at 594 m: shadows 420 m to the north and as much to the west.
    above = Sky(
        cover=0.25, cirrus=False, height_m=420.0 * np.sqrt(2.0), sun_azimuth_deg=135.0, sun_elevation_deg=45.0, key=11
    )
    cloud, shadow = cloud_and_shadow(town.frame, above)
    shift = 42
    assert cloud.max() == 1.0
    assert shadow.max() > 0.9
    # A pixel's shadow is the cloud `shift` pixels south and east of it.
    caster = cloud[shift:, shift:]
    assert np.allclose(shadow[:-shift, :-shift], caster * (1 - cloud[:-shift, :-shift]), atol=1e-4)


def test_sun_is_where_real_products_say() -> None:
    # ViewingGeometry of S2A over Belgium: sun azimuth and elevation as its products state them.
    for day, time, azimuth, elevation in (
        ("2018-06-30", "10:54:40", 152.9, 60.1),
        ("2017-09-23", "10:50:22", 165.4, 37.9),
        ("2017-12-22", "10:54:43", 167.6, 14.7),
    ):
        found = sun(3.02, 50.81, dt.datetime.fromisoformat(f"{day}T{time}+00:00"))
        assert found == pytest.approx((azimuth, elevation), abs=1.5)


def test_crops_green_up_and_are_harvested(town: Ground) -> None:
    fields = (land_cover(town, 2019).use == Use.CROP)[town.parcel][::2, ::2] & (
        land_cover(town, 2019).cover[::2, ::2] == Cover.CROP
    )
    ndvi = []
    for day in ("2019-01-15", "2019-05-25", "2019-10-05"):
        image = _image(town, day)
        red, nir = _coarse(image, "B4"), _coarse(image, "B8")
        ndvi.append(float(((nir - red) / (nir + red))[fields].mean()))
    assert ndvi[1] > ndvi[0] + 0.15
    assert ndvi[1] > ndvi[2] + 0.15


def test_three_dates_of_one_year_differ_and_the_water_falls(town: Ground) -> None:
    images = [_image(town, day) for day in ("2019-04-20", "2019-06-20", "2019-08-20")]
    water = [int((image.scl == 6).sum()) for image in images]
    assert water[0] > water[2] > 0
    for a, b in ((0, 1), (1, 2)):
        difference = np.abs(images[a].reflectance_10m["B8"] - images[b].reflectance_10m["B8"])
        assert difference.mean() > 0.01


def test_some_winters_bring_snow_and_no_summer_does(town: Ground) -> None:
    winters = {
        year: max(weather(town.frame, LAT, dt.date(year, 1, day)).snow for day in range(2, 30))
        for year in range(2016, 2026)
    }
    assert 0.0 in winters.values()
    assert max(winters.values()) > 0.3
    assert all(weather(town.frame, LAT, dt.date(year, 7, day)).snow == 0 for year in winters for day in (1, 15, 30))
    snowy = next(
        dt.date(year, 1, day)
        for year in winters
        for day in range(2, 30)
        if weather(town.frame, LAT, dt.date(year, 1, day)).snow > 0.5
    )
    image = _image(town, snowy.isoformat())
    assert (image.scl == 11).mean() > 0.2
    assert _coarse(image, "B3")[image.scl == 11].min() > 0.3
