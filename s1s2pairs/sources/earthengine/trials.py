"""How each assumption about Earth Engine is tried: ask a little, and say whether it holds and what was seen."""

import ee
import numpy as np
import shapely

from ...acquisitions import OpticalScene, SarScene, Span
from ...errors import SourceError
from ...grid import WGS84, incidence_points, inside, to_crs
from ...s1_orbits import incidence_deg
from ...sensors import SCL_CLOUD, SCL_NO_DATA, SCL_SNOW
from ..compositing import median_of_present
from . import answers, expressions, known
from .limits import MAX_PIXELS_BYTES, Block
from .probe import NotTestable, Probe
from .retry import TooLarge

Outcome = tuple[bool, str]
"""Whether it holds, and what was seen."""


# --- What a listing says ------------------------------------------------------------------------------------------------


def columns(probe: Probe) -> Outcome:
    """Try our names among a row's properties."""
    features = probe.listing["features"]
    lacking = [f for f in features if not {"sensor", "scene", "time_ms"} <= set(f["properties"])]
    return bool(features) and not lacking, f"{len(features)} rows, {len(lacking)} of them without our columns"


def merge(probe: Probe) -> Outcome:
    """Try both sensors in one reply."""
    rows = probe.rows
    sensors = [row["sensor"] for row in rows]
    counts = f"{sensors.count('sar')} radar and {sensors.count('optical')} optical scenes"
    return set(sensors) == {"sar", "optical"}, f"{counts} in one reply"


def scene_names(probe: Probe) -> Outcome:
    """Try that a scene can be loaded by the name it is listed under."""
    names = [str(row["scene"]) for row in probe.rows]
    wrong = [name for name in names if name[:2] not in ("S1", "S2", "20")]
    try:
        probe.value(expressions.incidence_angles(probe.place, [probe.sar[0].id]))
    except SourceError as error:
        return False, f"{probe.sar[0].id} cannot be loaded by that name: {error}"
    return not wrong, f"{len(names)} names, such as {names[0]}; one was loaded by its name"


def times(probe: Probe) -> Outcome:
    """Try the times of known passes."""
    seen = {_key(scene): scene.acquired_at for scene in probe.sar}
    wanted = {(k.platform, k.absolute_orbit): k.acquired_at for k in known.PASSES}
    off = [abs(seen[key] - wanted[key]) for key in seen if key in wanted]
    if not off:
        raise NotTestable("none of the known passes was listed")
    return max(off) <= known.TIME_TOLERANCE, f"{len(off)} passes, at most {max(off)} from their known times"


def sar_passes(probe: Probe) -> Outcome:
    """Try the known passes."""
    seen = {(*_key(scene), scene.relative_orbit, scene.orbit_pass) for scene in probe.sar}
    wanted = {(k.platform, k.absolute_orbit, k.relative_orbit, k.orbit_pass) for k in known.PASSES}
    missing, more = sorted(wanted - seen), sorted(seen - wanted)
    detail = f"{len(wanted & seen)} of {len(wanted)} known passes listed"
    detail += f"; missing {missing}" if missing else ""
    return not missing, detail + (f"; also there {more}" if more else "")


def _key(scene: SarScene) -> tuple[str, int | None]:
    return scene.platform, scene.absolute_orbit


def optical_cycle(probe: Probe) -> Outcome:
    """Try that optical scenes fit the cycle of their satellites."""
    if not probe.optical:
        raise NotTestable("no optical scene was listed")
    off = [known.off_the_cycle(s.platform, s.relative_orbit, s.acquired_at) for s in probe.optical if s.relative_orbit]
    platforms = {scene.platform for scene in probe.optical}
    holds = len(off) == len(probe.optical) and max(off) <= known.OPTICAL_TOLERANCE
    return (
        holds and platforms <= {"sentinel-2a", "sentinel-2b"},
        f"{len(probe.optical)} scenes of {', '.join(sorted(platforms))}, at most {max(off)} off their orbits",
    )


def datatakes(probe: Probe) -> Outcome:
    """Try what puts scenes together."""
    told = [s for s in probe.optical if s.datatake_id and s.tile and s.strip and s.processed > "00.00"]
    return len(told) == len(probe.optical) > 0, f"{len(told)} of {len(probe.optical)} scenes say all four"


def bounds(probe: Probe) -> Outcome:
    """Try that footprints touch the place."""
    scenes: list[SarScene | OpticalScene] = [*probe.sar, *probe.optical]
    away = [scene.id for scene in scenes if not scene.footprint.buffer(0.01).intersects(probe.place.polygon)]
    return bool(scenes) and not away, f"{len(scenes)} footprints, {len(away)} of them away from the field"


def date_end(probe: Probe) -> Outcome:
    """Try the end of a filter by date."""
    first = min(probe.sar, key=lambda scene: (scene.acquired_at, scene.id))
    span = Span(start=known.SPANS[0].start, end=first.acquired_at)
    table = probe.value(expressions.listing(known.FIELD, sar=[span], optical=()))
    listed = [feature["properties"]["scene"] for feature in table["features"]]
    return first.id not in listed, f"{len(listed)} scenes up to the very time of {first.id}"


# --- What a reduction gives ---------------------------------------------------------------------------------------------


def region_pixels(probe: Probe) -> Outcome:
    """Try how many pixels a region has."""
    grid = probe.place.analysis_grid
    region = expressions.region_of(probe.place.polygon, grid)
    counted = probe.value(expressions.over(ee.Image.constant(1), ee.Reducer.count(), region, grid))
    wanted = int(inside(probe.place.polygon, grid).sum())
    return list(counted.values()) == [wanted], f"{counted} pixels, by our count {wanted}"


def nothing(probe: Probe) -> Outcome:
    """Try reductions over nothing."""
    grid = probe.place.analysis_grid
    nothing = ee.Image.constant(1).updateMask(ee.Image.constant(0)).rename("n0")
    reducer = ee.Reducer.mean().combine(ee.Reducer.count(), "", True)
    seen = probe.value(expressions.over(nothing, reducer, expressions.region_of(probe.place.polygon, grid), grid))
    return seen.get("n0_count") == 0 and seen.get("n0_mean") is None, f"a masked image gives {seen}"


def mosaic(probe: Probe) -> Outcome:
    """Try which image lies on top."""
    grid = probe.place.analysis_grid
    image = ee.ImageCollection([ee.Image.constant(one).rename("n0") for one in (1, 2)]).mosaic()
    seen = probe.value(
        expressions.over(image, ee.Reducer.mean(), expressions.region_of(probe.place.polygon, grid), grid)
    )
    return seen == {"n0": 2}, f"of 1 and, after it, 2 the mosaic shows {seen}"


def list_order(probe: Probe) -> Outcome:
    """Try the order of several results."""
    grid = probe.place.analysis_grid
    region = expressions.region_of(probe.place.polygon, grid)
    images = [ee.Image.constant(number).rename("n0") for number in (3, 1, 2)]
    seen = probe.value(ee.List([expressions.over(image, ee.Reducer.mean(), region, grid) for image in images]))
    return seen == [{"n0": 3}, {"n0": 1}, {"n0": 2}], f"3, 1 and 2 come back as {seen}"


def angles(probe: Probe) -> Outcome:
    """Try incidence angles against the orbit model."""
    scenes = probe.one_of_each_orbit()
    reply = probe.value(expressions.incidence_angles(probe.place, [scene.id for scene in scenes]))
    seen = answers.incidence(reply, scenes, probe.place)
    where = incidence_points(probe.place.polygon, probe.place.analysis_grid)
    off = [
        one.mean_deg - float(incidence_deg(scene.relative_orbit, scene.orbit_pass, *where).mean())
        for one, scene in zip(seen, scenes, strict=True)
    ]
    detail = ", ".join(
        f"orbit {scene.relative_orbit}: {one.mean_deg:.2f} ({gap:+.2f} from the orbit model)"
        for scene, one, gap in zip(scenes, seen, off, strict=True)
    )
    return all(one.points for one in seen) and max(map(abs, off)) < 0.5, detail


def class_counts(probe: Probe) -> Outcome:
    """Try counts against the pixels themselves."""
    id_ = probe.optical_pair[0]
    counted = answers.class_counts(probe.value(expressions.class_counts(probe.place, [(id_,)])), 1)[0]
    classes = probe.classes(id_)[inside(probe.place.polygon, probe.place.analysis_grid)]
    covered = int((classes != SCL_NO_DATA).sum())
    cloud = int(np.isin(classes, SCL_CLOUD).sum())
    snow = int((classes == SCL_SNOW).sum())
    wanted = answers.ClassCounts(covered=covered, cloud=cloud, snow=snow)
    return counted == wanted and classes.max() <= 11, f"{id_}: {counted}, in its pixels {wanted}"


# --- What pixels come down ----------------------------------------------------------------------------------------------


def grid(probe: Probe) -> Outcome:
    """Try where pixel centres are."""
    lonlat = probe.pixels(ee.Image.pixelLonLat(), ("longitude", "latitude"), np.float64)
    grid = probe.place.grid
    rows, columns = np.mgrid[0 : grid.height, 0 : grid.width] + 0.5
    x, y = grid.transform.c + columns * grid.transform.a, grid.transform.f + rows * grid.transform.e
    points = np.column_stack([lonlat[0].ravel(), lonlat[1].ravel()])
    seen = shapely.get_coordinates(to_crs(shapely.MultiPoint(points), str(grid.crs), source=WGS84))
    off_m = float(np.hypot(seen[:, 0] - x.ravel(), seen[:, 1] - y.ravel()).max())
    return off_m < 0.5, f"pixel centres are at most {off_m:.3f} m from where they are asked for"


def windows(probe: Probe) -> Outcome:
    """Try a window against the whole."""
    whole = probe.radar_mean(probe.sar_pair)
    part = probe.radar_mean(probe.sar_pair, Block(row=20, column=10, height=30, width=40))
    same = np.array_equal(whole[:, 20:50, 10:50], part)
    return (
        same,
        "a window of 40 x 30 pixels is the same asked for alone" if same else "a window asked for alone differs",
    )


def linear(probe: Probe) -> Outcome:
    """Try power against dB."""
    id_ = probe.sar_pair[0]
    linear = probe.radar_mean([id_])[0]
    db = probe.pixels(ee.Image(f"COPERNICUS/S1_GRD/{id_}").select(["VV"]).unmask(-999, False), ("VV",), np.float32)[0]
    both = (linear > 0) & (db > -999)
    if not both.any():
        raise NotTestable(f"{id_} has no valid pixel here")
    off = float(np.abs(10 * np.log10(linear[both]) - db[both]).max())
    return off < 0.01, f"{id_}: at most {off:.4f} dB between S1_GRD_FLOAT and S1_GRD, {int(both.sum())} pixels"


def sar_mean(probe: Probe) -> Outcome:
    """Try the mean of two passes against our own."""
    both = probe.radar_mean(probe.sar_pair)
    singles = np.stack([probe.radar_mean([id_]) for id_ in probe.sar_pair]).astype(np.float64)
    count = singles[:, -1].sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        wanted = np.where(count > 0, singles[:, :-1].sum(axis=0) / count, 0.0)
    off = float(np.abs(both[:-1] / np.where(wanted > 0, wanted, 1) - (wanted > 0)).max())
    holds = np.array_equal(both[-1], count) and off < 1e-5
    return holds, f"mean of two passes: at most {off:.1e} of its value from ours; counts up to {int(both[-1].max())}"


def optical_median(probe: Probe) -> Outcome:
    """Try the median of two dates against our own."""
    both = probe.optical_median(probe.optical_pair)
    singles = np.stack([probe.optical_median([id_]) for id_ in probe.optical_pair])
    values, clear = np.ascontiguousarray(singles[:, :-1]), (singles[:, -1] > 0).sum(axis=0).astype(np.uint8)
    wanted = median_of_present(values, clear)
    if not (clear == 2).any():
        raise NotTestable("no pixel of the field is clear on both dates")
    holds = np.array_equal(both[:-1], wanted) and np.array_equal(both[-1], clear)
    return holds, f"median of two dates: {int((both[:-1] != wanted).sum())} values differ from ours, of {wanted.size}"


def beyond(probe: Probe) -> Outcome:
    """Try pixels where no scene is."""
    far = probe.radar_mean(probe.sar_pair, far=True)
    return not far.any(), f"1000 km away there are {int(np.count_nonzero(far))} values that are not 0"


def too_large(probe: Probe) -> Outcome:
    """Try how a request that is too large is refused."""
    side = 1 + int((MAX_PIXELS_BYTES // 12) ** 0.5)
    try:
        probe.radar_mean(probe.sar_pair, side=side)
    except TooLarge as error:
        return True, str(error)
    except SourceError as error:
        return False, f"it is refused otherwise: {error}"
    return False, f"{side} x {side} pixels in three bands of 4 bytes came down"


def geometry(probe: Probe) -> Outcome:
    """Try how footprints come."""
    kinds = sorted({f["geometry"]["type"] for f in probe.listing["features"]})
    flags = sorted({str(f["geometry"].get("geodesic", "absent")) for f in probe.listing["features"]})
    return "LinearRing" in kinds, f"{', '.join(kinds)}; the flag `geodesic` is {', '.join(flags)}"


def from_images(probe: Probe) -> Outcome:
    """Try names of images in a collection."""
    images = ee.ImageCollection([ee.Image(f"{expressions.SAR_COLLECTION}/{id_}") for id_ in probe.sar_pair])
    seen = probe.value(images.aggregate_array("system:index"))
    return seen == probe.sar_pair, f"two images put in a collection are called {seen}"
