"""Does the real Earth Engine behave as this program believes? Each belief, tried alone on a field whose scenes are known.

Where a look fails because the service refuses, or because something it builds on is not there, the belief is not testable.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ...errors import NotAuthenticated, S1S2Error, SourceUnreachable
from ..findings import Finding, State
from . import looks
from .looks import Seen
from .probe import Probe, Unseen
from .retry import TooLarge


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


BELIEFS: Final = (
    Belief(
        name="columns",
        says="a row carries the values under the names they were sent under",
        breaks="every search: no scene has a name",
        look=looks.columns,
    ),
    Belief(
        name="merge",
        says="two listings merged come back as one, whole",
        breaks="every search: one sensor's scenes are missing",
        look=looks.merge,
    ),
    Belief(
        name="scene-names",
        says="`system:index` is the name under which a scene can be loaded",
        breaks="measuring and fetching: scenes are not found",
        look=looks.scene_names,
    ),
    Belief(
        name="times",
        says="`system:time_start` is the time of acquisition in milliseconds",
        breaks="which scenes lie in a window, and the order of dates",
        look=looks.times,
    ),
    Belief(
        name="radar-passes",
        says="IW scenes are listed with orbit numbers, pass and platform",
        breaks="the choice of the orbit",
        look=looks.sar_passes,
    ),
    Belief(
        name="optical-orbits",
        says="optical scenes carry platform, orbit and time as Sentinel-2 flies",
        breaks="the choice of optical dates",
        look=looks.optical_cycle,
    ),
    Belief(
        name="datatakes",
        says="optical scenes say datatake, datastrip, tile and processing",
        breaks="putting the scenes of an overflight together, and leaving duplicates out",
        look=looks.datatakes,
    ),
    Belief(
        name="bounds",
        says="only scenes that touch the place are listed, with their footprints",
        breaks="the number of scenes looked at, and coverage by radar",
        look=looks.bounds,
    ),
    Belief(
        name="date-end",
        says="a filter by date leaves out its end",
        breaks="scenes on the edge of a window",
        look=looks.date_end,
    ),
    Belief(
        name="list-order",
        says="several results asked for together come back in that order",
        breaks="measurements are ascribed to other scenes",
        look=looks.list_order,
    ),
    Belief(
        name="region-pixels",
        says="a count over a region takes the pixels whose centres lie in it",
        breaks="coverage, cloud and snow fractions",
        look=looks.region_pixels,
    ),
    Belief(
        name="nothing",
        says="over nothing a count is 0 and a mean is null, under the names band_count and band_mean",
        breaks="reading angles and fractions of scenes that miss the place",
        look=looks.nothing,
    ),
    Belief(
        name="mosaic",
        says="a mosaic shows the last image on top",
        breaks="which of two overlapping scenes gives a pixel",
        look=looks.mosaic,
    ),
    Belief(
        name="angles",
        says="the incidence angle is in degrees from the ellipsoid normal, interpolated",
        breaks="the choice of the orbit",
        look=looks.angles,
    ),
    Belief(
        name="class-counts",
        says="counts of scene classes are those of the pixels, and class 0 is masked or 0",
        breaks="the choice of clear dates",
        look=looks.class_counts,
    ),
    Belief(
        name="grid",
        says="pixels are computed at the centres asked for",
        breaks="co-registration: everything is shifted",
        look=looks.grid,
    ),
    Belief(
        name="windows",
        says="a window asked for alone equals the same part of the whole",
        breaks="large places: seams",
        look=looks.windows,
    ),
    Belief(
        name="linear",
        says="S1_GRD_FLOAT is linear power, S1_GRD the same in dB",
        breaks="all radar pixels",
        look=looks.linear,
    ),
    Belief(
        name="radar-mean",
        says="the mean of passes is taken over their valid pixels, and the count says of how many",
        breaks="all radar pixels",
        look=looks.sar_mean,
    ),
    Belief(
        name="optical-median",
        says="the median of two dates is the mean of both, half-way values rounded up",
        breaks="all composites of an even number of dates",
        look=looks.optical_median,
    ),
    Belief(
        name="beyond-footprint",
        says="where there is no scene, 0 comes back",
        breaks="missing pixels look like values",
        look=looks.beyond,
    ),
    Belief(
        name="too-large",
        says="a request of more than 48 MB is refused in words we know",
        breaks="large places: they fail instead of being cut in parts",
        look=looks.too_large,
    ),
    Belief(
        name="footprint-rings",
        says="footprints of radar scenes come as rings",
        breaks="nothing: rings and polygons are both read",
        look=looks.geometry,
        needed=False,
    ),
    Belief(
        name="kept-names",
        says="images put into a collection keep their names",
        breaks="nothing: no name is asked for after that",
        look=looks.from_images,
        needed=False,
    ),
)
"""Everything tried, in order. What only shows under load (aggregations at once, memory, time) is not: docs/earthengine.md."""
