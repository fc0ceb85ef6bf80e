"""From the name of a source to the source, and to what fetching from it costs: the one place that knows them all."""

from ..plan import RoiPlan
from . import Cost, Source


def open_source(name: str, *, project: str | None = None, requests: int = 24) -> Source:
    """Open a source by what the user typed: `earthengine`, `stac:URL`, or the path of a catalogue on disk.

    Args:
        name: The source.
        project: Google Cloud project, for Earth Engine only.
        requests: Most requests in flight at once, for Earth Engine only.

    Raises:
        NotAuthenticated: Earth Engine has no usable credentials.
        SourceError: There is no such catalogue, or it cannot be read.
    """
    if name == "earthengine":
        from .earthengine import EarthEngineSource

        return EarthEngineSource(project=project, requests=requests)
    from .stac import StacSource

    return StacSource(name)


def cost_of(name: str, plan: RoiPlan) -> Cost:
    """Estimate what fetching the pixels of a planned ROI takes; nothing for a ROI without choices.

    Args:
        name: `Source.name`.
        plan: The ROI's plan.
    """
    if name == "earthengine":
        from .earthengine import cost

        return cost(plan)
    from .stac_cost import cost as stac_cost

    return stac_cost(plan)
