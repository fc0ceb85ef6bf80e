"""The report: everything chosen is on the page, nothing on it is executed, and poorer datasets work too."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from PIL import Image

from s1s2pairs.dataset.storage import Storage
from s1s2pairs.errors import DatasetError
from s1s2pairs.report.charts import draw_histogram
from s1s2pairs.report.colours import halve, halve_db, stretch_of
from s1s2pairs.report.overview import draw_maps
from s1s2pairs.report.page import PICTURES_BYTES, picture_side, report
from s1s2pairs.report.thumbnails import optical_picture, radar_change
from tests.refusals import refuses
from tests.s1s2pairs.handmade import make_dataset

HOSTILE = '<script>alert("x")</script><img src=http://example.org/a.png onerror=alert(1)>'
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """What stands on a page; complains about tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def images(self) -> list[str]:
        return [attrs["src"] or "" for tag, attrs in self.tags if tag == "img"]


def made(root: Path) -> Page:
    file = report(root)
    assert file == str(root / "report.html")
    return Page(Path(file).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    make_dataset(root, failure=f"no clear optical acquisition {HOSTILE}", attribution=f"Contains {HOSTILE}")
    return root


def test_shows_what_was_chosen_and_why(whole: Path) -> None:
    text = " ".join(made(whole).text.split())
    for expected in (
        "cloud 0.530 > 0.01",
        "coverage 0.400 < 0.99",
        "snow 0.200 > 0.05",
        "clear; a less cloudy one, or one nearer the middle, is used",
        "too few acquisitions within 60 days: 1 in 2019, 1 in 2021; 2 wanted",
        "used: the highest mean incidence angle of those eligible",
        "eligible, but at a lower angle",
        "covers 0.610 of the ROI at best, 0.99 wanted",
        "S2_gent_2019_12",
        "S1_lier_2021_+12",
        "catalogue:made-up",
        "Sentinel-2 change, 2019 to 2021",
        "NDVI later − earlier",
        "nothing could be chosen",
    ):
        assert expected in text


def test_is_self_contained_and_runs_nothing(whole: Path) -> None:
    page = made(whole)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "iframe", "object", "embed"}
    assert len(page.images()) == 2 * 6
    assert all(src.startswith("data:image/") for src in page.images())
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    hrefs = [attrs["href"] or "" for _, attrs in page.tags if "href" in attrs]
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert hrefs
    assert all(href.removeprefix("#") in ids for href in hrefs)


def test_hostile_text_is_shown_not_run(whole: Path) -> None:
    page = made(whole)
    assert page.text.count(HOSTILE) == 3  # in the list of failures, at the ROI, in the attribution
    assert "http://example.org/a.png" not in page.images()


def test_overwrites_whole_and_leaves_nothing_else(whole: Path) -> None:
    before = {p.name for p in whole.iterdir()} | {"report.html"}
    first = Path(report(whole)).read_bytes()
    assert Path(report(whole)).read_bytes() == first
    assert {p.name for p in whole.iterdir()} == before


def test_a_dataset_in_an_object_store_gets_the_same_page(whole: Path) -> None:
    store = Storage("memory://report-page")
    for file in (path for path in whole.rglob("*") if path.is_file() and path.name != "report.html"):
        store.write(file.relative_to(whole).as_posix(), file.read_bytes())
    assert report(store.url) == "memory://report-page/report.html"
    assert store.read("report.html") == Path(report(whole)).read_bytes()


def test_one_period_one_polarisation_no_true_colour(tmp_path: Path) -> None:
    make_dataset(tmp_path, years=(2021,), s2_bands=("B8", "B11"), polarisations=("VH",))
    page = made(tmp_path)
    assert len(page.images()) == 2 * 2
    assert "B4, B3, B2" in page.text
    assert "the only polarisation" in page.text
    assert not re.search(r"\d{4} to \d{4}", page.text), "a change needs two periods"


def test_three_periods_without_red_change_in_mean_reflectance(tmp_path: Path) -> None:
    make_dataset(tmp_path, years=(2019, 2020, 2021), s2_bands=("B2", "B8"))
    page = made(tmp_path)
    assert len(page.images()) == 2 * (3 + 3 + 2 + 2)
    assert "NDVI" in page.text
    assert "B4 or B8" in page.text


def test_planned_but_not_built(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    card = tmp_path / "dataset.json"
    card.write_text('{"s1s2:failures": [{"roi": "lier", "reason": "scene S1_x: truncated"}]}')
    index = gpd.read_parquet(tmp_path / "index.parquet")
    index[index["roi"] == "gent"].to_parquet(tmp_path / "index.parquet", index=False)
    shutil.rmtree(tmp_path / "rasters" / "lier")
    page = made(tmp_path)
    assert len(page.images()) == 6
    assert "scene S1_x: truncated" in page.text


def test_missing_raster_is_named(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    (tmp_path / "rasters" / "lier" / "2021" / "s2.tif").unlink()
    with refuses(DatasetError, "lier/2021/s2.tif", "s1s2 verify"):
        report(tmp_path)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("failures", [[1], 3, None, {"a": 1}, [{"roi": "lier"}], [{"roi": [1], "reason": "x"}]])
def test_a_card_with_damaged_failures_is_named(tmp_path: Path, failures: object) -> None:
    make_dataset(tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps({"s1s2:failures": failures}))
    index = gpd.read_parquet(tmp_path / "index.parquet")
    index[index["roi"] == "gent"].to_parquet(tmp_path / "index.parquet", index=False)
    with refuses(DatasetError, tmp_path / "dataset.json", "s1s2:failures", "s1s2 verify"):
        report(tmp_path)


def test_no_dataset(tmp_path: Path) -> None:
    with refuses(DatasetError, tmp_path, "index.parquet", f"s1s2 build RECIPE --out {tmp_path}"):
        report(tmp_path)


def test_unwritable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_dataset(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(Path, "replace", full)
    with refuses(DatasetError, tmp_path / "report.html", "No space left on device"):
        report(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_halving_averages_power_not_decibels() -> None:
    linear = np.array([[[1.0, 100.0, 5.0], [np.nan, 1.0, 5.0]]], dtype=np.float32)
    assert halve(linear) == pytest.approx(np.array([[[34.0]]]))
    decibels = (10 * np.log10(linear)).astype(np.float32)
    assert halve_db(decibels) == pytest.approx(10 * np.log10(34.0))
    assert np.isnan(halve(np.full((1, 2, 2), np.nan, dtype=np.float32))).all()


def test_change_is_later_less_earlier() -> None:
    before = np.full((2, 4, 4), -12.0, dtype=np.float32)
    after = before.copy()
    after[1, 0, 0] = -6.0
    picture = radar_change(before, after, polarisations=("VH", "VV"))
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.uri.split(",")[1]))), dtype=int)
    red, _, blue = pixels[0, 0]
    assert red > blue + 50  # more backscatter later: the red end
    assert pixels[3, 3].min() > 240  # no change: white
    assert picture.bar is not None
    assert picture.bar.high == "+6 dB"


def test_stretch_is_shared_by_the_periods() -> None:
    dark = np.full((1, 10, 10), 100.0, dtype=np.float32)
    bright = np.full((1, 10, 10), 900.0, dtype=np.float32)
    dark[0, 0, 0] = np.nan
    assert stretch_of([dark, bright]) == ((100.0, 900.0),)


def test_histogram_holds_all_values() -> None:
    edges = np.linspace(0.0, 1.0, 11)
    counts = np.zeros(10, dtype=np.int64)
    counts[[2, 3]] = 50
    drawn = draw_histogram("B4", [("2019", counts)], edges=edges, unit="reflectance")
    assert drawn is not None
    assert drawn.curves[0].median == pytest.approx(0.3)
    assert drawn.low <= 0.2
    assert drawn.high >= 0.4
    assert draw_histogram("B4", [("2019", np.zeros(10, dtype=np.int64))], edges=edges, unit="") is None


@pytest.mark.parametrize("lon", [-179.9, 0.0, 179.9])
@pytest.mark.parametrize("lat", [-79.0, 10.0, 83.0])
def test_every_mark_lies_on_its_map(lon: float, lat: float) -> None:
    near = shapely.box(lon - 0.05, lat - 0.05, lon + 0.05, lat + 0.05)
    far = shapely.box(1.0, 45.0, 1.1, 45.1)
    for rois in ([("a", "train", near)], [("a", "train", near), ("b", "test", far)]):
        views = draw_maps(rois)  # type: ignore[arg-type]
        assert [view.title for view in views] == (["Overview", "Close-up"] if len(rois) == 1 else ["Overview"])
        for view in views:
            assert 250 < view.height < 1000
            assert all(0 <= mark.x <= 1000 and 0 <= mark.y <= view.height for mark in view.marks)
            assert all(not re.search("nan|inf", mark.outline) for mark in view.marks)


def test_pictures_keep_their_budget() -> None:
    # 46 ROIs with two periods, and the hardest pictures there are: noise takes thrice the bytes of a landscape.
    side = picture_side(46 * 6)
    noise = np.random.default_rng(0).integers(1, 4000, (3, side, side)).astype(np.float32)
    picture = optical_picture(noise, names=("B4", "B3", "B2"), stretch=((1, 4000),) * 3)
    assert side >= 200
    assert len(picture.uri) * 46 * 6 < 3 * PICTURES_BYTES
