"""The map: ROIs, footprints and composites are on it, made without a network, and nothing foreign is executed."""

import errno
import importlib.util
import io
import json
import os
import re
import sys
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from PIL import Image
from rasterio.warp import transform

from s1s2pairs.dataset.rasters import encode
from s1s2pairs.dataset.storage import Storage
from s1s2pairs.errors import DatasetError, RecipeError, S1S2Error
from s1s2pairs.report.overlays import overlays
from s1s2pairs.report.web_map import make_map
from s1s2pairs.sensors import s1_layout
from tests.refusals import refuses
from tests.s1s2pairs.handmade import make_dataset

ROOT = Path(__file__).parents[3]
HOSTILE = "`${alert(1)}` <script>alert(2)</script> \\u0041"
needs_geemap = pytest.mark.skipif(
    importlib.util.find_spec("geemap") is None, reason="geemap is not installed: pip install 's1s2pairs[maps]'"
)


def features(page: str) -> list[shapely.Geometry]:
    """Return the shapes on a page."""
    data = re.findall(r"geo_json_\w+_add\((\{.*\})\);", page)
    collections = [json.loads(text) for text in data]
    return [shapely.geometry.shape(f["geometry"]) for c in collections for f in c.get("features", [c])]


@needs_geemap
def test_dataset_with_all_layers(tmp_path: Path) -> None:
    plan = make_dataset(tmp_path, failure=f"no luck {HOSTILE}")
    out = tmp_path / "map.html"
    assert make_map(tmp_path, out) == out
    page = out.read_text(encoding="utf-8")
    for name in ("gent", "lier", "brugge"):
        assert page.count(f"<b>{name}</b>") == 1
    shapes = features(page)
    expected = [roi.roi.polygon for roi in plan.rois]
    chosen = [period for roi in plan.rois if roi.choices for period in roi.choices.periods]
    expected += [shapely.from_wkt(a.footprint_wkt) for p in chosen for a in (*p.sar, *p.optical)]
    for shape in expected:
        assert any(shape.equals(other) for other in shapes)
    # The four optical acquisitions have two outlines, the twelve radar ones share one.
    assert len(shapes) == 3 + 2 + 1
    assert "S1_lier_2021_+12" in page
    assert "orbit 161 ascending, 41.25° (raster)" in page
    assert page.count("data:image/webp;base64,") == 2 * 2 * 2
    for layer in ("Sentinel-1 2019", "Sentinel-1 2021", "Sentinel-2 2019", "Sentinel-2 2021", "ROIs: train"):
        assert json.dumps(layer) in page or f'"{layer}"' in page


@needs_geemap
def test_a_dataset_in_an_object_store_gets_the_same_layers(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    store = Storage("memory://web-map")
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        store.write(file.relative_to(tmp_path).as_posix(), file.read_bytes())
    near, far = (make_map(at, tmp_path / f"{n}.html") for n, at in enumerate((tmp_path, store.url)))
    pictures = [
        re.findall(r"data:image/[a-z]+;base64,[^\"']+", page.read_text(encoding="utf-8")) for page in (near, far)
    ]
    assert pictures[0]
    assert pictures[0] == pictures[1]


def test_foreign_text_is_inert(tmp_path: Path) -> None:
    make_dataset(tmp_path, failure=f"no luck {HOSTILE}")
    page = make_map(tmp_path, tmp_path / "map.html").read_text(encoding="utf-8")
    assert "no luck &#96;&#36;&#123;alert(1)}&#96; &lt;script&gt;alert(2)&lt;/script&gt; &#92;u0041" in page
    assert "alert(2)</script>" not in page


@needs_geemap
@pytest.mark.parametrize("recipe", ["oscd", "small"])
def test_recipe_without_choices(recipe: str, tmp_path: Path) -> None:
    path = ROOT / "rois" / f"{recipe}.geojson"
    names = [f["properties"]["name"] for f in json.loads(path.read_text())["features"]]
    page = make_map(path, tmp_path / "map.html").read_text(encoding="utf-8")
    assert sorted(re.findall(r"<b>([a-z0-9_-]+)</b>", page)) == sorted(names)
    assert page.count("<b>") == len(names)
    assert "nothing chosen yet" in page
    assert "of the years asked for" in page


@needs_geemap
def test_periods_are_shown_where_the_recipe_lists_them(tmp_path: Path) -> None:
    recipe = json.loads((ROOT / "rois" / "small.geojson").read_text())
    first, *_ = (feature["properties"] for feature in recipe["features"])
    recipe["s1s2"] = {**recipe.get("s1s2", {}), "periods": []}
    first["periods"] = [{"label": "summer", "start": "2019-06-01", "end": "2019-07-01"}]
    path = tmp_path / "mixed.geojson"
    path.write_text(json.dumps(recipe))
    page = make_map(path, tmp_path / "map.html").read_text(encoding="utf-8")
    assert page.count("summer: 2019-06-01 to 2019-07-01") == 1
    assert page.count("of the years asked for") == len(recipe["features"]) - 1


@pytest.mark.parametrize("spoil", [{"count": 1}, {"crs": None}, {"transform": rasterio.Affine(0, 0, 0, 0, 0, 0)}])
def test_a_raster_that_is_not_the_plans_is_named(tmp_path: Path, spoil: dict[str, object]) -> None:
    plan = make_dataset(tmp_path)
    path = tmp_path / "rasters" / "gent" / "2019" / "s2.tif"
    with rasterio.open(path) as file:
        profile = {key: file.profile[key] for key in ("width", "height", "count", "dtype", "crs", "transform")}
    with rasterio.open(path, "w", driver="GTiff", **{**profile, **spoil}):
        pass
    gent = next(roi for roi in plan.rois if roi.roi.name == "gent")
    with refuses(DatasetError, path, "s1s2 verify"):
        list(overlays(gent, Storage(str(tmp_path))))


@needs_geemap
def test_lock_file_alone_has_no_composites(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    page = make_map(tmp_path / "recipe.lock.geojson", tmp_path / "map.html").read_text(encoding="utf-8")
    assert "orbit 161" in page
    assert "data:image/webp" not in page


@pytest.mark.parametrize(
    ("content", "named"),
    [("{", ("JSON",)), ('{"type": "FeatureCollection", "features": []}', ("features", "one"))],
)
def test_bad_recipe(content: str, named: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "bad.geojson"
    path.write_text(content)
    with refuses(RecipeError, path, *named):
        make_map(path, tmp_path / "map.html")


def test_nothing_there(tmp_path: Path) -> None:
    with refuses(DatasetError, tmp_path, "recipe.lock.geojson"):
        make_map(tmp_path, tmp_path / "map.html")
    with refuses(RecipeError, tmp_path / "missing.geojson", os.strerror(errno.ENOENT)):
        make_map(tmp_path / "missing.geojson", tmp_path / "map.html")


@needs_geemap
def test_layers_of_a_plan_not_made_from_earth_engine(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    with refuses(RecipeError, tmp_path, "catalogue:made-up", "earthengine"):
        make_map(tmp_path, tmp_path / "map.html", source_layers=True)
    assert not (tmp_path / "map.html").exists()


def test_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_dataset(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "geemap"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Absent(), *sys.meta_path])
    with refuses(S1S2Error, "pip install 's1s2pairs[maps]'"):
        make_map(tmp_path, tmp_path / "map.html")


class _Absent:
    """An import system in which geemap is not installed."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        if name.split(".", maxsplit=1)[0] == "geemap":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_a_pixel_lies_where_it_should(tmp_path: Path) -> None:
    # A bright square in the raster, found again through the overlay's bounds.
    plan = make_dataset(tmp_path, polarisations=("VV",))
    gent = plan.rois[0]
    assert gent.choices
    grid = gent.choices.grid
    values = np.full((2, *grid.shape), -20.0, dtype=np.float32)
    values[0, 10:20, 30:40] = 2.0
    content = encode(values, grid=grid, layout=s1_layout(("VV",), "sigma0"))
    (tmp_path / "rasters" / "gent" / "2021" / "s1.tif").write_bytes(content)
    a, _, c, _, e, f = grid.transform[:6]
    square = ((c + 30 * a, c + 40 * a), (f + 10 * e, f + 20 * e))
    drawn = next(o for o in overlays(gent, Storage(str(tmp_path))) if o.layer == "Sentinel-1 2021")
    image = np.asarray(Image.open(io.BytesIO(b64decode(drawn.uri.split(",")[1]))), dtype=int)
    rows, columns = np.nonzero((image[..., 0] > 128) & (image[..., 3] > 128))
    west, south, east, north = drawn.bounds
    height, width = image.shape[:2]
    lons = west + (east - west) * np.array([columns.min(), columns.max() + 1]) / width
    lats = north + (south - north) * np.array([rows.min(), rows.max() + 1]) / height
    expected_lons, expected_lats = transform(str(grid.crs), "EPSG:4326", *square)
    pixel_deg = 10 / 111_000
    assert lons == pytest.approx(expected_lons, abs=2 * pixel_deg / np.cos(np.radians(51)))
    assert lats == pytest.approx(expected_lats, abs=2 * pixel_deg)
