"""The command line as a user meets it: what it prints, and how it exits."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from s1s2pairs.terminal import spread
from tests.command import s1s2
from tests.conftest import square
from tests.refusals import assert_names

ROOT = Path(__file__).parents[1]


def files(folder: Path) -> dict[str, bytes]:
    """Everything a build wrote, hidden folders aside."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {name: path.read_bytes() for path in found if not (name := str(path.relative_to(folder))).startswith(".")}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("build r --years 2019 2021 --plan", "build r --years 2019 --years 2021 --plan"),
        ("build --years 2017 2019 2021 r", "build --years 2017 --years 2019 --years 2021 r"),
        ("build --years 2019 --years 2021 r", "build --years 2019 --years 2021 r"),
        ("train tsgan --set a=1 b=x=y --out o", "train tsgan --set a=1 --set b=x=y --out o"),
        ("build r --workers 2", "build r --workers 2"),
    ],
)
def test_options_with_several_values(typed: str, meant: str) -> None:
    assert spread(typed.split()) == meant.split()


def test_a_built_dataset_verifies(tiny_built: Path) -> None:
    done = s1s2("verify", tiny_built, "--json", cwd=tiny_built.parent)
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout)
    assert verdict["ok"]
    assert verdict["rasters"] == 12


def test_a_damaged_file_is_named(tiny_built: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_built, tmp_path / "copy"))
    victim = next(copy.glob("patches/test/valencia/*/2021_s1.tif"))
    victim.write_bytes(victim.read_bytes()[:-7])
    done = s1s2("verify", copy, cwd=tmp_path)
    assert done.returncode == 1
    assert str(victim.relative_to(copy)) in done.stdout


def test_a_damaged_dataset_is_repaired(tiny_built: Path, tiny_world: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_built, tmp_path / "copy"))
    raster = next(copy.glob("rasters/valencia/2021/s1.tif"))
    raster.write_bytes(raster.read_bytes()[:-7])
    without = s1s2("verify", copy, "--source", tiny_world, cwd=tmp_path)
    assert (without.returncode, without.stdout) == (2, "")
    assert_names(without.stderr, "--source", "--repair")
    lost = s1s2("verify", copy, "--repair", cwd=tmp_path)
    assert lost.returncode == 2
    assert_names(lost.stderr, "s1s2-simulated", "--source", but_not=("--radar-source",))
    done = s1s2("verify", copy, "--repair", "--source", tiny_world, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{raster.relative_to(copy)}: fetched" in done.stdout
    assert files(copy) == files(tiny_built)
    (copy / "recipe.lock.geojson").write_text("{")
    done = s1s2("verify", copy, "--repair", "--json", cwd=tmp_path)
    verdict = json.loads(done.stdout)
    assert (done.returncode, verdict["ok"], verdict["repaired"]) == (1, False, {})
    assert [problem["path"] for problem in verdict["problems"]] == ["recipe.lock.geojson"]


def test_the_lock_gives_the_same_bytes(tiny_built: Path, tiny_world: Path, tmp_path: Path) -> None:
    lock = tiny_built / "recipe.lock.geojson"
    done = s1s2("build", lock, "--source", tiny_world, "--workers", 1, "--out", tmp_path / "again", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert files(tmp_path / "again") == files(tiny_built)


def test_a_lock_from_a_disk_needs_its_place(tiny_built: Path, tmp_path: Path) -> None:
    done = s1s2("build", tiny_built / "recipe.lock.geojson", cwd=tmp_path)
    assert done.returncode == 2
    assert_names(done.stderr, "s1s2-simulated", "--source", but_not=("--radar-source",))
    assert list(tmp_path.iterdir()) == []


def test_plan_fetches_nothing(tiny_recipe: Path, tiny_world: Path, tmp_path: Path) -> None:
    words = ("build", tiny_recipe, "--years", 2019, 2021, "--source", tiny_world, "--plan")
    done = s1s2(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rennes (train): " in done.stdout
    assert "2019 radar: mean of " in done.stdout
    assert not list(tmp_path.rglob("*.tif"))
    plan = json.loads(s1s2(*words, "--json", cwd=tmp_path).stdout)
    for period in (period for roi in plan["rois"] for period in roi["periods"]):
        assert f"lag {period['lag_days']:+.1f} days: {' '.join(period['sar_dates'])}\n" in done.stdout
    assert [roi["roi"] for roi in plan["rois"]] == ["rennes", "kortrijk", "valencia"]
    assert all(roi["cost"]["requests"] > 0 and roi["cost"]["bytes"] > 0 for roi in plan["rois"])


def test_a_failing_roi_leaves_the_others(tiny_recipe: Path, tiny_world: Path, tmp_path: Path) -> None:
    recipe = json.loads(tiny_recipe.read_text(encoding="utf-8"))
    recipe["features"][0]["properties"]["s1_orbit"] = 1
    (tmp_path / "r.geojson").write_text(json.dumps(recipe), encoding="utf-8")
    done = s1s2(
        "build", "r.geojson", "--years", 2019, 2021, "--source", tiny_world, "--out", "d", "--quiet", cwd=tmp_path
    )
    assert done.returncode == 1
    assert_names(done.stderr, "rennes", "orbit 1", "s1_orbit")
    assert "Traceback" not in done.stderr
    assert {path.name for path in (tmp_path / "d" / "rasters").iterdir()} == {"kortrijk", "valencia"}


WRONG = {
    "no such recipe": (("build", "nowhere.geojson", "--years", 2019), 2, ("nowhere.geojson",)),
    "no such catalogue": (
        ("build", "RECIPE", "--years", 2019, "--source", "/nowhere"),
        3,
        ("/nowhere", "catalog.json"),
    ),
    "an address without stac:": (
        ("build", "RECIPE", "--years", 2019, "--source", "https://example.org/v1"),
        3,
        ("stac:https://example.org/v1",),
    ),
    "future": (("build", "RECIPE", "--years", 2099, "--source", "WORLD"), 2, ("--years 2099", 2015)),
    "no years": (("build", "RECIPE", "--source", "WORLD"), 2, ("small.geojson", "periods", "--years")),
    "folder in use": (("simulate", "TAKEN", "--recipe", "RECIPE"), 2, ("small.geojson",)),
    "no dataset": (("verify", "nowhere"), 2, ("nowhere", "recipe.lock.geojson", "s1s2 build")),
    "no dataset to report": (("report", "nowhere"), 2, ("nowhere", "index.parquet", "s1s2 build")),
    "no network": (("train", "tsgam", "--data", "nowhere"), 2, ("tsgam", "tsgan")),
    "no data": (("train", "tsgan"), 2, ("data/", "s1s2 build", "--data")),
    "no run": (("evaluate", "nowhere", "--data", "nowhere"), 2, ("nowhere", "s1s2 train")),
    "set": (("train", "tsgan", "--data", "x", "--set", "epochs"), 2, ("epochs", "key=value")),
    "unknown option": (("build", "RECIPE", "--yeers", 2019), 2, ("--yeers",)),
    "unknown command": (("biuld",), 2, ("biuld",)),
}


NEEDS_TORCH = ("no data", "no run")


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_gets_one_clear_message(case: str, tiny_recipe: Path, tiny_world: Path, tmp_path: Path) -> None:
    if case in NEEDS_TORCH:
        pytest.importorskip("torch")
    words, code, named = WRONG[case]
    places = {"RECIPE": tiny_recipe, "WORLD": tiny_world, "TAKEN": tiny_recipe.parent}
    done = s1s2(*(places.get(word, word) for word in words), cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert_names(done.stderr, *named)
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.tif"))


@pytest.mark.parametrize("years", [("--years", 2021, 2019), ("--years", "2019,2021"), ("--years=2021,2019",)])
def test_years_in_any_order_and_with_commas(
    years: tuple[object, ...], tiny_recipe: Path, tiny_world: Path, tmp_path: Path
) -> None:
    done = s1s2("build", tiny_recipe, *years, "--source", tiny_world, "--plan", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    labels = [[period["label"] for period in roi["periods"]] for roi in json.loads(done.stdout)["rois"]]
    assert labels == [["2019", "2021"]] * 3


def test_a_byte_order_mark_is_no_fault(tiny_recipe: Path, tiny_world: Path, tmp_path: Path) -> None:
    (tmp_path / "small.geojson").write_bytes(b"\xef\xbb\xbf" + tiny_recipe.read_bytes())
    done = s1s2("build", "small.geojson", "--years", 2019, "--source", tiny_world, "--plan", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_polar_place_and_one_in_the_sea_are_named_and_leave_the_others(
    tiny_recipe: Path, tiny_world: Path, tmp_path: Path
) -> None:
    recipe = json.loads(tiny_recipe.read_text(encoding="utf-8"))
    recipe["features"][0]["geometry"] = square(10.0, 86.0, 1.4)
    recipe["features"][1]["geometry"] = square(-30.0, 40.0, 1.4)
    (tmp_path / "r.geojson").write_text(json.dumps(recipe), encoding="utf-8")
    done = s1s2("build", "r.geojson", "--years", 2019, "--source", tiny_world, "--plan", cwd=tmp_path)
    assert done.returncode == 1
    polar, sea = (
        next(line for line in done.stderr.splitlines() if f"{name} failed" in line) for name in ("rennes", "kortrijk")
    )
    assert "86.000" in polar
    assert "lon -30.000 lat 40.000" in sea
    assert "max_shift_months" not in sea


def test_a_place_smaller_than_a_patch_is_remarked_on(tiny_recipe: Path, tiny_world: Path, tmp_path: Path) -> None:
    recipe = json.loads(tiny_recipe.read_text(encoding="utf-8"))
    recipe["s1s2"]["patch"]["size"] = 256
    (tmp_path / "r.geojson").write_text(json.dumps(recipe), encoding="utf-8")
    done = s1s2("build", "r.geojson", "--years", 2019, "--source", tiny_world, "--plan", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for word in ("warning", "kortrijk", " x ", "256"):
        assert word in done.stderr


def test_foreign_text_does_nothing_to_the_terminal(tiny_recipe: Path, tiny_world: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_world, tmp_path / "copy"))
    item = next(path for path in (copy / "sentinel-2-l2a").rglob("*.json") if '"Feature"' in path.read_text())
    value = json.loads(item.read_text())
    value["id"] += "\u001b]0;owned\u0007\u001b[2J"
    value["properties"]["datetime"] = "\u001b[31m"
    item.write_text(json.dumps(value))
    done = s1s2("build", tiny_recipe, "--years", 2019, "--source", copy, "--plan", cwd=tmp_path)
    assert done.returncode == 1
    assert "\\x1b]0;owned\\x07" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.partition(".")[0] == "models"]:
        monkeypatch.delitem(sys.modules, name)
    done = s1s2("train", "tsgan", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "s1s2: this needs torch, which is not installed: pip install 's1s2pairs[train]'\n"


def test_earth_engine_without_credentials(tiny_recipe: Path, tmp_path: Path) -> None:
    done = s1s2("build", tiny_recipe, "--years", 2019, 2021, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "earthengine authenticate" in done.stderr
    assert "s1s2 simulate" in done.stderr
    assert not (tmp_path / "data").exists()


def test_check_of_a_catalogue_and_of_earth_engine_without_credentials(tiny_world: Path, tmp_path: Path) -> None:
    done = s1s2("check", "--source", tiny_world, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "        holds  radar-pixels: " in done.stdout
    assert_names(done.stdout, "11 hold", "0 do not")
    told = json.loads(s1s2("check", "--source", tiny_world, "--json", cwd=tmp_path).stdout)
    assert {one["state"] for one in told["findings"]} == {"holds"}
    done = s1s2("check", cwd=tmp_path)
    assert done.returncode == 3
    assert "earthengine authenticate" in done.stderr


def test_a_check_that_fails_exits_with_3(tiny_world: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_world, tmp_path / "copy", ignore=shutil.ignore_patterns("sentinel-1-grd")))
    catalog = json.loads((copy / "catalog.json").read_text(encoding="utf-8"))
    links = [link for link in catalog["links"] if "sentinel-1-grd" not in link["href"]]
    (copy / "catalog.json").write_text(json.dumps({**catalog, "links": links}), encoding="utf-8")
    done = s1s2("check", "--source", copy, cwd=tmp_path)
    assert done.returncode == 3
    assert "does not hold  radar-collection: " in done.stdout
    assert_names(done.stdout, "--radar-source")


def test_as_a_program_it_ends_with_code_and_message_or_with_the_traceback_asked_for(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "import sys, cli; cli.main(sys.argv[1:])", "report", "nowhere"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    plain = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (plain.returncode, plain.stderr.count("\n")) == (2, 1)
    assert plain.stderr.startswith("s1s2: ")
    assert_names(plain.stderr, "nowhere", "index.parquet", "s1s2 build")
    debug = subprocess.run(
        [*program, "--debug"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert debug.returncode != 0
    assert "Traceback" in debug.stderr
