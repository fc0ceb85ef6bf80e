"""The sources there are, by how their names begin. A third one is one more entry in `SOURCES`, and its own folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from odc.geo.geobox import GeoBox

from ..acquisitions import Needed
from ..errors import RecipeError
from ..sensors import SENSORS, Sensor
from . import Cost, Source
from .drawing import Drawing
from .findings import CheckReport


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """How a source may be used; what concerns another kind of source is ignored."""

    project: str | None = None
    """Google Cloud project, for Earth Engine."""
    requests: int = 24
    """Most requests in flight at once, for Earth Engine."""
    allow_hosts: tuple[str, ...] = ()
    """Hosts, buckets and folders from which a STAC catalogue's files may be read, beside its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceKind:
    """One kind of source. Its libraries are loaded when it is used."""

    fits: Callable[[str], bool]
    """Whether a source is of this kind, by the name the user typed or by `Source.name`."""
    open: Callable[[str, Access], Source]
    cost: Callable[[Needed, GeoBox, int, Sequence[Sensor]], Cost]
    """Of one ROI: its scenes, its grid, the number of its periods, and the sensors counted."""
    check: Callable[[str, Access, Path | None], CheckReport]
    """`s1s2 check`; the path is that of a recording, for a source that makes one."""
    counts_requests: bool = False
    """Whether it does the work elsewhere and limits the requests in flight, of all processes together."""
    draw: Callable[[Mapping[str, Sequence[Drawing]], Access], Mapping[str, str]] | None = None
    """Draws layers of a web map; None where it cannot."""


def _open_earthengine(_: str, access: Access) -> Source:
    from .earthengine import EarthEngineSource

    return EarthEngineSource(project=access.project, requests=access.requests)


def _cost_earthengine(needed: Needed, grid: GeoBox, periods: int, sensors: Sequence[Sensor]) -> Cost:
    from .earthengine import cost

    return cost(needed, grid, periods=periods, sensors=sensors)


def _check_earthengine(_: str, access: Access, save: Path | None) -> CheckReport:
    from .earthengine.check import check_earthengine

    return check_earthengine(project=access.project, save=save)


def _draw_earthengine(layers: Mapping[str, Sequence[Drawing]], access: Access) -> Mapping[str, str]:
    from .earthengine.map_tiles import layer_urls

    return layer_urls(layers, project=access.project)


def _open_stac(name: str, access: Access) -> Source:
    from .stac.source import StacSource

    return StacSource(name, allowed=access.allow_hosts)


def _cost_stac(needed: Needed, grid: GeoBox, _: int, sensors: Sequence[Sensor]) -> Cost:
    from .stac.cost import cost

    return cost(needed, grid, sensors=sensors)


def _check_stac(name: str, access: Access, save: Path | None) -> CheckReport:
    if save is not None:
        raise RecipeError("--save records replies of Earth Engine only; leave it out, or use --source earthengine")
    from .stac.check import check_stac

    return check_stac(name, allowed=access.allow_hosts)


SOURCES = (
    SourceKind(
        fits=lambda name: name == "earthengine",
        open=_open_earthengine,
        cost=_cost_earthengine,
        check=_check_earthengine,
        counts_requests=True,
        draw=_draw_earthengine,
    ),
    SourceKind(fits=lambda _: True, open=_open_stac, cost=_cost_stac, check=_check_stac),
)
"""The first that fits a name is meant: a STAC API (`stac:URL`) or the path of a catalogue is whatever nothing else is."""


def kind_of(name: str) -> SourceKind:
    """Return the kind of a source by its name."""
    return next(kind for kind in SOURCES if kind.fits(name))


def open_source(name: str, *, radar: str | None = None, access: Access | None = None) -> Source:
    """Open a source by what the user typed: `earthengine`, `stac:URL`, or the path of a catalogue on disk.

    Args:
        name: The source.
        radar: Another one for the radar images.
        access: How it may be used.

    Raises:
        NotAuthenticated: The source has no usable credentials.
        SourceError: There is no such source, or it cannot be read.
    """
    access = access or Access()
    optical = kind_of(name).open(name, access)
    if radar is None or radar == name:
        return optical
    from .paired import PairedSource

    return PairedSource(optical, kind_of(radar).open(radar, access))


def cost_of(name: str, radar_name: str | None, needed: Needed, grid: GeoBox, *, periods: int) -> Cost:
    """Estimate what fetching the pixels of a ROI takes.

    Args:
        name: `Source.name`.
        radar_name: `Source.radar_name`.
        needed: The scenes of the ROI.
        grid: Its pixels.
        periods: How many it has.
    """
    if radar_name is None:
        return kind_of(name).cost(needed, grid, periods, SENSORS)
    halves: tuple[tuple[str, Sensor], ...] = ((name, "s2"), (radar_name, "s1"))
    return Cost.total([kind_of(source).cost(needed, grid, periods, (sensor,)) for source, sensor in halves])
