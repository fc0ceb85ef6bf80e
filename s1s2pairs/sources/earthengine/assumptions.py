"""Does the real Earth Engine behave as this program assumes? Each assumption is tried alone on a field whose scenes are known.

Where a trial fails because the service refuses, or because something it builds on is not there, the assumption is not testable.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ...errors import NotAuthenticated, S1S2Error, SourceUnreachable
from ..findings import Finding, State
from . import trials
from .probe import NotTestable, Probe
from .retry import TooLarge
from .trials import Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Assumption:
    """Something a build takes for granted about Earth Engine."""

    name: str
    says: str
    breaks: str
    trial: Callable[[Probe], Outcome]
    needed: bool = True


def try_all(probe: Probe) -> tuple[Finding, ...]:
    """Try every assumption.

    Raises:
        NotAuthenticated: The credentials were refused.
        SourceUnreachable: No connection can be made.
    """
    return tuple(_try(assumption, probe) for assumption in ASSUMPTIONS)


def _try(assumption: Assumption, probe: Probe) -> Finding:
    state: State
    try:
        holds, detail = assumption.trial(probe)
        state = "holds" if holds else "does not hold"
    except (NotAuthenticated, SourceUnreachable):
        raise
    except (S1S2Error, TooLarge, NotTestable) as error:
        state, detail = "not testable", str(error)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        state, detail = "not testable", f"the reply is of another kind than expected ({error!r})"
    return Finding(
        name=assumption.name,
        says=assumption.says,
        state=state,
        detail=detail,
        breaks=assumption.breaks,
        needed=assumption.needed,
    )


ASSUMPTIONS: Final = (
    Assumption(
        name="columns",
        says="a row carries the values under the names they were sent under",
        breaks="every search: no scene has a name",
        trial=trials.columns,
    ),
    Assumption(
        name="merge",
        says="two listings merged come back as one, whole",
        breaks="every search: one sensor's scenes are missing",
        trial=trials.merge,
    ),
    Assumption(
        name="scene-names",
        says="`system:index` is the name under which a scene can be loaded",
        breaks="measuring and fetching: scenes are not found",
        trial=trials.scene_names,
    ),
    Assumption(
        name="times",
        says="`system:time_start` is the time of acquisition in milliseconds",
        breaks="which scenes lie in a window, and the order of dates",
        trial=trials.times,
    ),
    Assumption(
        name="radar-passes",
        says="IW scenes are listed with orbit numbers, pass and platform",
        breaks="the choice of the orbit",
        trial=trials.sar_passes,
    ),
    Assumption(
        name="optical-orbits",
        says="optical scenes carry platform, orbit and time as Sentinel-2 flies",
        breaks="the choice of optical dates",
        trial=trials.optical_cycle,
    ),
    Assumption(
        name="datatakes",
        says="optical scenes say datatake, datastrip, tile and processing",
        breaks="putting the scenes of an overflight together, and leaving duplicates out",
        trial=trials.datatakes,
    ),
    Assumption(
        name="bounds",
        says="only scenes that touch the place are listed, with their footprints",
        breaks="the number of scenes looked at, and coverage by radar",
        trial=trials.bounds,
    ),
    Assumption(
        name="date-end",
        says="a filter by date leaves out its end",
        breaks="scenes on the edge of a window",
        trial=trials.date_end,
    ),
    Assumption(
        name="list-order",
        says="several results asked for together come back in that order",
        breaks="measurements are ascribed to other scenes",
        trial=trials.list_order,
    ),
    Assumption(
        name="region-pixels",
        says="a count over a region takes the pixels whose centres lie in it",
        breaks="coverage, cloud and snow fractions",
        trial=trials.region_pixels,
    ),
    Assumption(
        name="nothing",
        says="over nothing a count is 0 and a mean is null, under the names band_count and band_mean",
        breaks="reading angles and fractions of scenes that miss the place",
        trial=trials.nothing,
    ),
    Assumption(
        name="mosaic",
        says="a mosaic shows the last image on top",
        breaks="which of two overlapping scenes gives a pixel",
        trial=trials.mosaic,
    ),
    Assumption(
        name="angles",
        says="the incidence angle is in degrees from the ellipsoid normal, interpolated",
        breaks="the choice of the orbit",
        trial=trials.angles,
    ),
    Assumption(
        name="class-counts",
        says="counts of scene classes are those of the pixels, and class 0 is masked or 0",
        breaks="the choice of clear dates",
        trial=trials.class_counts,
    ),
    Assumption(
        name="grid",
        says="pixels are computed at the centres asked for",
        breaks="co-registration: everything is shifted",
        trial=trials.grid,
    ),
    Assumption(
        name="windows",
        says="a window asked for alone equals the same part of the whole",
        breaks="large places: seams",
        trial=trials.windows,
    ),
    Assumption(
        name="linear",
        says="S1_GRD_FLOAT is linear power, S1_GRD the same in dB",
        breaks="all radar pixels",
        trial=trials.linear,
    ),
    Assumption(
        name="radar-mean",
        says="the mean of passes is taken over their valid pixels, and the count says of how many",
        breaks="all radar pixels",
        trial=trials.sar_mean,
    ),
    Assumption(
        name="optical-median",
        says="the median of two dates is the mean of both, half-way values rounded up",
        breaks="all composites of an even number of dates",
        trial=trials.optical_median,
    ),
    Assumption(
        name="beyond-footprint",
        says="where there is no scene, 0 comes back",
        breaks="missing pixels look like values",
        trial=trials.beyond,
    ),
    Assumption(
        name="too-large",
        says="a request of more than 48 MB is refused in words we know",
        breaks="large places: they fail instead of being cut in parts",
        trial=trials.too_large,
    ),
    Assumption(
        name="footprint-rings",
        says="footprints of radar scenes come as rings",
        breaks="nothing: rings and polygons are both read",
        trial=trials.geometry,
        needed=False,
    ),
    Assumption(
        name="kept-names",
        says="images put into a collection keep their names",
        breaks="nothing: no name is asked for after that",
        trial=trials.from_images,
        needed=False,
    ),
)
"""Everything tried, in order. What only shows under load (aggregations at once, memory, time) is not: docs/earthengine.md."""
