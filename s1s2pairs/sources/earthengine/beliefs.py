"""Does the real Earth Engine behave as this program believes? Each belief, tried alone on a field whose scenes are known.

A belief is a function that takes a `Probe`, looks, and returns whether it holds and what it saw. Where it cannot look because the
service refuses, or because something it builds on is not there, the belief is not testable.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import ee
import numpy as np
import shapely

from ...acquisition import OpticalScene, SarScene
from ...bands import SCL_CLOUD, SCL_NO_DATA, SCL_SNOW
from ...compositing import median_of_present
from ...errors import NotAuthenticated, S1S2Error, SourceError, SourceUnreachable
from ...findings import Finding, State
from ...geometry import incidence_deg
from ...grid import WGS84, incidence_points, inside, to_crs
from .. import Span
from . import expressions, known, tables
from .limits import MAX_PIXELS_BYTES, Window
from .patience import TooLarge
from .probe import Probe, Unseen

Seen = tuple[bool, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Belief:
    """Something a build takes for granted about Earth Engine."""

    name: str
    says: str
    breaks: str
    look: Callable[[Probe], Seen]
    needed: bool = True


def try_all(probe: Probe) -> tuple[Finding, ...]:
    """Try every belief.

    Raises:
        NotAuthenticated: The credentials were refused.
        SourceUnreachable: No connection can be made.
    """
    return tuple(_try(belief, probe) for belief in BELIEFS)


def _try(belief: Belief, probe: Probe) -> Finding:
    state: State
    try:
        holds, detail = belief.look(probe)
        state = "holds" if holds else "does not hold"
    except (NotAuthenticated, SourceUnreachable):
        raise
    except (S1S2Error, TooLarge, Unseen) as error:
        state, detail = "not testable", str(error)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        state, detail = "not testable", f"the reply is of another kind than expected ({error!r})"
    return Finding(
        name=belief.name, says=belief.says, state=state, detail=detail, breaks=belief.breaks, needed=belief.needed
    )


# --- What a listing says ------------------------------------------------------------------------------------------------


def _columns(probe: Probe) -> Seen:
    features = probe.listing["features"]
    lacking = [f for f in features if not {"sensor", "scene", "time_ms"} <= set(f["properties"])]
    return bool(features) and not lacking, f"{len(features)} rows, {len(lacking)} of them without our columns"


def _merge(probe: Probe) -> Seen:
    rows = probe.rows
    sensors = [row["sensor"] for row in rows]
    counts = f"{sensors.count('sar')} radar and {sensors.count('optical')} optical scenes"
    return set(sensors) == {"sar", "optical"}, f"{counts} in one reply"


def _scene_names(probe: Probe) -> Seen:
    names = [str(row["scene"]) for row in probe.rows]
    wrong = [name for name in names if name[:2] not in ("S1", "S2", "20")]
    try:
        probe.value(expressions.incidence_angles(probe.place, [probe.sar[0].id]))
    except SourceError as error:
        return False, f"{probe.sar[0].id} cannot be loaded by that name: {error}"
    return not wrong, f"{len(names)} names, such as {names[0]}; one was loaded by its name"


def _times(probe: Probe) -> Seen:
    seen = {_key(scene): scene.acquired_at for scene in probe.sar}
    wanted = {(k.platform, k.absolute_orbit): k.acquired_at for k in known.PASSES}
    off = [abs(seen[key] - wanted[key]) for key in seen if key in wanted]
    if not off:
        raise Unseen("none of the known passes was listed")
    return max(off) <= known.TIME_TOLERANCE, f"{len(off)} passes, at most {max(off)} from their known times"


def _sar_passes(probe: Probe) -> Seen:
    seen = {(*_key(scene), scene.relative_orbit, scene.orbit_pass) for scene in probe.sar}
    wanted = {(k.platform, k.absolute_orbit, k.relative_orbit, k.orbit_pass) for k in known.PASSES}
    missing, more = sorted(wanted - seen), sorted(seen - wanted)
    detail = f"{len(wanted & seen)} of {len(wanted)} known passes listed"
    detail += f"; missing {missing}" if missing else ""
    return not missing, detail + (f"; also there {more}" if more else "")


def _key(scene: SarScene) -> tuple[str, int | None]:
    return scene.platform, scene.absolute_orbit


def _optical_cycle(probe: Probe) -> Seen:
    if not probe.optical:
        raise Unseen("no optical scene was listed")
    off = [known.off_the_cycle(s.platform, s.relative_orbit, s.acquired_at) for s in probe.optical if s.relative_orbit]
    platforms = {scene.platform for scene in probe.optical}
    holds = len(off) == len(probe.optical) and max(off) <= known.OPTICAL_TOLERANCE
    return (
        holds and platforms <= {"sentinel-2a", "sentinel-2b"},
        f"{len(probe.optical)} scenes of {', '.join(sorted(platforms))}, at most {max(off)} off their orbits",
    )


def _datatakes(probe: Probe) -> Seen:
    told = [s for s in probe.optical if s.datatake_id and s.tile and s.strip and s.processed > "00.00"]
    return len(told) == len(probe.optical) > 0, f"{len(told)} of {len(probe.optical)} scenes say all four"


def _bounds(probe: Probe) -> Seen:
    scenes: list[SarScene | OpticalScene] = [*probe.sar, *probe.optical]
    away = [scene.id for scene in scenes if not scene.footprint.buffer(0.01).intersects(probe.place.polygon)]
    return bool(scenes) and not away, f"{len(scenes)} footprints, {len(away)} of them away from the field"


def _date_end(probe: Probe) -> Seen:
    first = min(probe.sar, key=lambda scene: (scene.acquired_at, scene.id))
    span = Span(start=known.SPANS[0].start, end=first.acquired_at)
    table = probe.value(expressions.listing(known.FIELD, sar=[span], optical=()))
    listed = [feature["properties"]["scene"] for feature in table["features"]]
    return first.id not in listed, f"{len(listed)} scenes up to the very time of {first.id}"


# --- What a reduction gives ---------------------------------------------------------------------------------------------


def _region_pixels(probe: Probe) -> Seen:
    grid = probe.place.analysis_grid
    region = expressions.region_of(probe.place.polygon, grid)
    counted = probe.value(expressions.over(ee.Image.constant(1), ee.Reducer.count(), region, grid))
    wanted = int(inside(probe.place.polygon, grid).sum())
    return list(counted.values()) == [wanted], f"{counted} pixels, by our count {wanted}"


def _nothing(probe: Probe) -> Seen:
    grid = probe.place.analysis_grid
    nothing = ee.Image.constant(1).updateMask(ee.Image.constant(0)).rename("n0")
    reducer = ee.Reducer.mean().combine(ee.Reducer.count(), "", True)
    seen = probe.value(expressions.over(nothing, reducer, expressions.region_of(probe.place.polygon, grid), grid))
    return seen.get("n0_count") == 0 and seen.get("n0_mean") is None, f"a masked image gives {seen}"


def _mosaic(probe: Probe) -> Seen:
    grid = probe.place.analysis_grid
    image = ee.ImageCollection([ee.Image.constant(one).rename("n0") for one in (1, 2)]).mosaic()
    seen = probe.value(
        expressions.over(image, ee.Reducer.mean(), expressions.region_of(probe.place.polygon, grid), grid)
    )
    return seen == {"n0": 2}, f"of 1 and, after it, 2 the mosaic shows {seen}"


def _list_order(probe: Probe) -> Seen:
    grid = probe.place.analysis_grid
    region = expressions.region_of(probe.place.polygon, grid)
    images = [ee.Image.constant(number).rename("n0") for number in (3, 1, 2)]
    seen = probe.value(ee.List([expressions.over(image, ee.Reducer.mean(), region, grid) for image in images]))
    return seen == [{"n0": 3}, {"n0": 1}, {"n0": 2}], f"3, 1 and 2 come back as {seen}"


def _angles(probe: Probe) -> Seen:
    scenes = probe.one_of_each_orbit()
    reply = probe.value(expressions.incidence_angles(probe.place, [scene.id for scene in scenes]))
    seen = tables.incidence(reply, scenes, probe.place)
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


def _class_counts(probe: Probe) -> Seen:
    id_ = probe.optical_pair[0]
    counted = tables.class_counts(probe.value(expressions.class_counts(probe.place, [(id_,)])), 1)[0]
    classes = probe.classes(id_)[inside(probe.place.polygon, probe.place.analysis_grid)]
    covered = int((classes != SCL_NO_DATA).sum())
    cloud = int(np.isin(classes, SCL_CLOUD).sum())
    snow = int((classes == SCL_SNOW).sum())
    wanted = tables.ClassCounts(covered=covered, cloud=cloud, snow=snow)
    return counted == wanted and classes.max() <= 11, f"{id_}: {counted}, in its pixels {wanted}"


# --- What pixels come down ----------------------------------------------------------------------------------------------


def _grid(probe: Probe) -> Seen:
    lonlat = probe.pixels(ee.Image.pixelLonLat(), ("longitude", "latitude"), np.float64)
    grid = probe.place.grid
    rows, columns = np.mgrid[0 : grid.height, 0 : grid.width] + 0.5
    x, y = grid.transform.c + columns * grid.transform.a, grid.transform.f + rows * grid.transform.e
    points = np.column_stack([lonlat[0].ravel(), lonlat[1].ravel()])
    seen = shapely.get_coordinates(to_crs(shapely.MultiPoint(points), str(grid.crs), source=WGS84))
    off_m = float(np.hypot(seen[:, 0] - x.ravel(), seen[:, 1] - y.ravel()).max())
    return off_m < 0.5, f"pixel centres are at most {off_m:.3f} m from where they are asked for"


def _windows(probe: Probe) -> Seen:
    whole = probe.radar_mean(probe.sar_pair)
    part = probe.radar_mean(probe.sar_pair, Window(row=20, column=10, height=30, width=40))
    same = np.array_equal(whole[:, 20:50, 10:50], part)
    return (
        same,
        "a window of 40 x 30 pixels is the same asked for alone" if same else "a window asked for alone differs",
    )


def _linear(probe: Probe) -> Seen:
    id_ = probe.sar_pair[0]
    linear = probe.radar_mean([id_])[0]
    db = probe.pixels(ee.Image(f"COPERNICUS/S1_GRD/{id_}").select(["VV"]).unmask(-999, False), ("VV",), np.float32)[0]
    both = (linear > 0) & (db > -999)
    if not both.any():
        raise Unseen(f"{id_} has no valid pixel here")
    off = float(np.abs(10 * np.log10(linear[both]) - db[both]).max())
    return off < 0.01, f"{id_}: at most {off:.4f} dB between S1_GRD_FLOAT and S1_GRD, {int(both.sum())} pixels"


def _sar_mean(probe: Probe) -> Seen:
    both = probe.radar_mean(probe.sar_pair)
    singles = np.stack([probe.radar_mean([id_]) for id_ in probe.sar_pair]).astype(np.float64)
    count = singles[:, -1].sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        wanted = np.where(count > 0, singles[:, :-1].sum(axis=0) / count, 0.0)
    off = float(np.abs(both[:-1] / np.where(wanted > 0, wanted, 1) - (wanted > 0)).max())
    holds = np.array_equal(both[-1], count) and off < 1e-5
    return holds, f"mean of two passes: at most {off:.1e} of its value from ours; counts up to {int(both[-1].max())}"


def _optical_median(probe: Probe) -> Seen:
    both = probe.optical_median(probe.optical_pair)
    singles = np.stack([probe.optical_median([id_]) for id_ in probe.optical_pair])
    values, clear = np.ascontiguousarray(singles[:, :-1]), (singles[:, -1] > 0).sum(axis=0).astype(np.uint8)
    wanted = median_of_present(values, clear)
    if not (clear == 2).any():
        raise Unseen("no pixel of the field is clear on both dates")
    holds = np.array_equal(both[:-1], wanted) and np.array_equal(both[-1], clear)
    return holds, f"median of two dates: {int((both[:-1] != wanted).sum())} values differ from ours, of {wanted.size}"


def _beyond(probe: Probe) -> Seen:
    far = probe.radar_mean(probe.sar_pair, far=True)
    return not far.any(), f"1000 km away there are {int(np.count_nonzero(far))} values that are not 0"


def _too_large(probe: Probe) -> Seen:
    side = 1 + int((MAX_PIXELS_BYTES // 12) ** 0.5)
    try:
        probe.radar_mean(probe.sar_pair, side=side)
    except TooLarge as error:
        return True, str(error)
    except SourceError as error:
        return False, f"it is refused otherwise: {error}"
    return False, f"{side} x {side} pixels in three bands of 4 bytes came down"


def _geometry(probe: Probe) -> Seen:
    kinds = sorted({f["geometry"]["type"] for f in probe.listing["features"]})
    flags = sorted({str(f["geometry"].get("geodesic", "absent")) for f in probe.listing["features"]})
    return "LinearRing" in kinds, f"{', '.join(kinds)}; the flag `geodesic` is {', '.join(flags)}"


def _from_images(probe: Probe) -> Seen:
    images = ee.ImageCollection([ee.Image(f"{expressions.SAR_COLLECTION}/{id_}") for id_ in probe.sar_pair])
    seen = probe.value(images.aggregate_array("system:index"))
    return seen == probe.sar_pair, f"two images put in a collection are called {seen}"


BELIEFS: Final = (
    Belief(
        name="columns",
        says="a row carries the values under the names they were sent under",
        breaks="every search: no scene has a name",
        look=_columns,
    ),
    Belief(
        name="merge",
        says="two listings merged come back as one, whole",
        breaks="every search: one sensor's scenes are missing",
        look=_merge,
    ),
    Belief(
        name="scene-names",
        says="`system:index` is the name under which a scene can be loaded",
        breaks="measuring and fetching: scenes are not found",
        look=_scene_names,
    ),
    Belief(
        name="times",
        says="`system:time_start` is the time of acquisition in milliseconds",
        breaks="which scenes lie in a window, and the order of dates",
        look=_times,
    ),
    Belief(
        name="radar-passes",
        says="IW scenes are listed with orbit numbers, pass and platform",
        breaks="the choice of the orbit",
        look=_sar_passes,
    ),
    Belief(
        name="optical-orbits",
        says="optical scenes carry platform, orbit and time as Sentinel-2 flies",
        breaks="the choice of optical dates",
        look=_optical_cycle,
    ),
    Belief(
        name="datatakes",
        says="optical scenes say datatake, datastrip, tile and processing",
        breaks="putting the scenes of an overflight together, and leaving duplicates out",
        look=_datatakes,
    ),
    Belief(
        name="bounds",
        says="only scenes that touch the place are listed, with their footprints",
        breaks="the number of scenes looked at, and coverage by radar",
        look=_bounds,
    ),
    Belief(
        name="date-end",
        says="a filter by date leaves out its end",
        breaks="scenes on the edge of a window",
        look=_date_end,
    ),
    Belief(
        name="list-order",
        says="several results asked for together come back in that order",
        breaks="measurements are ascribed to other scenes",
        look=_list_order,
    ),
    Belief(
        name="region-pixels",
        says="a count over a region takes the pixels whose centres lie in it",
        breaks="coverage, cloud and snow fractions",
        look=_region_pixels,
    ),
    Belief(
        name="nothing",
        says="over nothing a count is 0 and a mean is null, under the names band_count and band_mean",
        breaks="reading angles and fractions of scenes that miss the place",
        look=_nothing,
    ),
    Belief(
        name="mosaic",
        says="a mosaic shows the last image on top",
        breaks="which of two overlapping scenes gives a pixel",
        look=_mosaic,
    ),
    Belief(
        name="angles",
        says="the incidence angle is in degrees from the ellipsoid normal, interpolated",
        breaks="the choice of the orbit",
        look=_angles,
    ),
    Belief(
        name="class-counts",
        says="counts of scene classes are those of the pixels, and class 0 is masked or 0",
        breaks="the choice of clear dates",
        look=_class_counts,
    ),
    Belief(
        name="grid",
        says="pixels are computed at the centres asked for",
        breaks="co-registration: everything is shifted",
        look=_grid,
    ),
    Belief(
        name="windows",
        says="a window asked for alone equals the same part of the whole",
        breaks="large places: seams",
        look=_windows,
    ),
    Belief(
        name="linear",
        says="S1_GRD_FLOAT is linear power, S1_GRD the same in dB",
        breaks="all radar pixels",
        look=_linear,
    ),
    Belief(
        name="radar-mean",
        says="the mean of passes is taken over their valid pixels, and the count says of how many",
        breaks="all radar pixels",
        look=_sar_mean,
    ),
    Belief(
        name="optical-median",
        says="the median of two dates is the mean of both, half-way values rounded up",
        breaks="all composites of an even number of dates",
        look=_optical_median,
    ),
    Belief(
        name="beyond-footprint",
        says="where there is no scene, 0 comes back",
        breaks="missing pixels look like values",
        look=_beyond,
    ),
    Belief(
        name="too-large",
        says="a request of more than 48 MB is refused in words we know",
        breaks="large places: they fail instead of being cut in parts",
        look=_too_large,
    ),
    Belief(
        name="footprint-rings",
        says="footprints of radar scenes come as rings",
        breaks="nothing: rings and polygons are both read",
        look=_geometry,
        needed=False,
    ),
    Belief(
        name="kept-names",
        says="images put into a collection keep their names",
        breaks="nothing: no name is asked for after that",
        look=_from_images,
        needed=False,
    ),
)
"""Everything tried, in order. What only shows under load (aggregations at once, memory, time) is not: docs/earthengine.md."""
