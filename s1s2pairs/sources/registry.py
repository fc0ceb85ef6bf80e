"""From the name of a source to the source, and to what fetching from it costs: the one place that knows them all."""

from collections.abc import Sequence

from ..plan.choices import RoiPlan
from ..sensors import Sensor
from . import Cost, Source


def open_source(name: str, *, radar: str | None = None, project: str | None = None, requests: int = 24) -> Source:
    """Open a source by what the user typed: `earthengine`, `stac:URL`, or the path of a catalogue on disk.

    Args:
        name: The source.
        radar: Another one for the radar images.
        project: Google Cloud project, for Earth Engine only.
        requests: Most requests in flight at once, for Earth Engine only.

    Raises:
        NotAuthenticated: Earth Engine has no usable credentials.
        SourceError: There is no such catalogue, or it cannot be read.
    """
    if radar is not None and radar != name:
        from .paired import PairedSource

        optical, other = (open_source(one, project=project, requests=requests) for one in (name, radar))
        return PairedSource(optical, other)
    if name == "earthengine":
        from .earthengine import EarthEngineSource

        return EarthEngineSource(project=project, requests=requests)
    from .stac.source import StacSource

    return StacSource(name)


def cost_of(name: str, radar_name: str | None, plan: RoiPlan) -> Cost:
    """Estimate what fetching the pixels of a planned ROI takes; nothing for a ROI without choices.

    Args:
        name: `Source.name`.
        radar_name: `Source.radar_name`.
        plan: The ROI's plan.
    """
    if radar_name is None:
        return _cost(name, plan, ("s1", "s2"))
    return Cost.total([_cost(name, plan, ("s2",)), _cost(radar_name, plan, ("s1",))])


def _cost(name: str, plan: RoiPlan, sensors: Sequence[Sensor]) -> Cost:
    if name == "earthengine":
        from .earthengine import cost

        return cost(plan, sensors)
    from .stac.cost import cost as stac_cost

    return stac_cost(plan, sensors)
