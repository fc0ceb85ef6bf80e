"""Google Earth Engine as a source: measuring, averaging and compositing run on its servers, only results come down.

    session      sign in, endpoints, the one HTTP transport
    retry        which failures are tried again, how long, and how many requests run at once
    expressions  the graphs sent: what Earth Engine computes
    answers      the tables that come back, as scenes and measurements
    survey       the search of one ROI, in two or three requests
    limits       what a request may ask for, how a grid is split, what a plan costs
    pixels       the pixels that come back
    source       the questions of the seam
    map_tiles    layers of a web map
    check        does it all hold: `assumptions`, tried by `trials` through a `probe` on what is `known`

Nothing outside this folder imports `ee`.
"""

from ...errors import SourceError

try:
    import ee  # noqa: F401
except ImportError as error:
    raise SourceError(
        "Earth Engine needs the extra `earthengine`: pip install 's1s2pairs[earthengine]'; or name another --source"
    ) from error

from .limits import cost
from .retry import RetryPolicy
from .source import EarthEngineSource

__all__ = ["EarthEngineSource", "RetryPolicy", "cost"]
