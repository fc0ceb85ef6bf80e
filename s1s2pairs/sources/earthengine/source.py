"""The Earth Engine source: what `Source` promises, computed on Google's servers."""

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import ee
import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ...acquisitions import CompositeMethod, Needed, OpticalAcquisition, RoiGrids, SarAcquisition, SceneIds, Span
from ...errors import RecipeError, SourceError
from ...sensors import S2_CLEAR_BAND, Backscatter
from .. import OpticalComposite, SarMean
from ..compositing import check_countable
from . import expressions
from .limits import MAX_REQUESTS, MEASURING_AT_ONCE, Block, optical_bytes, sar_bytes, windows
from .pixels import Composite
from .retry import RequestLimiter, RetryPolicy, TooLarge
from .session import is_open, open_session
from .survey import Survey

T = TypeVar("T")
_SURVEYS_KEPT = MAX_REQUESTS
"""As many as places are searched at once; one that was dropped too early would only be asked for again."""


class EarthEngineSource:
    """Scenes of Google Earth Engine; implements `Source`.

    The client is one per process: opening a second source ends the first.
    """

    name = "earthengine"
    radar_name: str | None = None

    def __init__(
        self, project: str | None = None, requests: int = 24, *, retry_policy: RetryPolicy | None = None
    ) -> None:
        """Sign in.

        Args:
            project: Google Cloud project; else from EARTHENGINE_PROJECT or GOOGLE_CLOUD_PROJECT, else the credentials' own.
            requests: Most requests in flight at once, 1 to 40.
            retry_policy: How long failures are put up with.

        Raises:
            RecipeError: `requests` is out of range.
            NotAuthenticated: Credentials or project are missing, or were refused.
            SourceUnreachable: Earth Engine cannot be reached.
        """
        if not 1 <= requests <= MAX_REQUESTS:
            raise RecipeError(f"{requests} requests at once: Earth Engine allows a project 1 to {MAX_REQUESTS}")
        retry_policy = retry_policy or RetryPolicy()
        self.requests = requests
        self._transport = open_session(project=project, connections=requests, deadline_s=retry_policy.deadline_s)
        self._limiter = RequestLimiter(requests, retry_policy)
        self._measuring = threading.BoundedSemaphore(MEASURING_AT_ONCE)
        self._surveys: dict[RoiGrids, Survey] = {}
        self._lock = threading.Lock()
        self._windows = ThreadPoolExecutor(requests, thread_name_prefix="earthengine")

    def backscatter(self) -> Backscatter:
        """Say which backscatter coefficient the radar scenes hold."""
        return "sigma0"

    def find_sar(
        self, place: RoiGrids, spans: Sequence[Span], *, polarisations: tuple[str, ...]
    ) -> tuple[SarAcquisition, ...]:
        """List the IW acquisitions with all wanted polarisations that touch the ROI within any of the spans.

        Raises:
            SourceError: Earth Engine cannot answer.
        """
        return self._survey(place).sar(spans, polarisations)

    def find_optical(self, place: RoiGrids, spans: Sequence[Span]) -> tuple[OpticalAcquisition, ...]:
        """List the L2A acquisitions that touch the ROI within any of the spans, with their fractions over the ROI.

        Raises:
            SourceError: Earth Engine cannot answer.
        """
        return self._survey(place).optical(spans)

    def unreadable(self, needed: Needed) -> frozenset[str]:  # noqa: ARG002 - what Earth Engine lists, it holds
        """Name none."""
        return frozenset()

    def versions(self, needed: Needed) -> Mapping[str, str]:  # noqa: ARG002 - Earth Engine does not say when an image changed
        """Tell of none."""
        return {}

    def mean_sar(self, acquisitions: Sequence[SceneIds], *, polarisations: tuple[str, ...], grid: GeoBox) -> SarMean:
        """Average acquisitions in linear power on `grid`, on Earth Engine's servers.

        Raises:
            SourceError: A scene is missing, there are too many, or Earth Engine cannot answer.
        """
        check_countable(acquisitions)
        composite = Composite(
            label=f"the radar mean from {acquisitions[0][0]} on",
            expression=expressions.sar_mean(acquisitions, polarisations),
            bands=(*polarisations, expressions.COUNT_BAND),
            dtype=np.dtype(np.float32),
        )
        pixels = self._pixels(composite, grid, bytes_per_pixel=sar_bytes(len(polarisations)))
        count = pixels[-1].astype(np.uint8)
        linear = np.where(count > 0, pixels[:-1], np.float32(np.nan))
        return SarMean(linear=linear, count=count)

    def composite_optical(
        self, acquisitions: Sequence[SceneIds], *, bands: tuple[str, ...], method: CompositeMethod, grid: GeoBox
    ) -> OpticalComposite:
        """Composite acquisitions on `grid`, on Earth Engine's servers, cloudy pixels left out.

        Raises:
            SourceError: A scene is missing, there are too many, or Earth Engine cannot answer.
        """
        if method == "least_cloudy" and len(acquisitions) != 1:
            raise ValueError(f"least_cloudy takes one acquisition, not {len(acquisitions)}")
        check_countable(acquisitions)
        composite = Composite(
            label=f"the optical composite from {acquisitions[0][0]} on",
            expression=expressions.optical_composite(acquisitions, bands),
            bands=(*bands, S2_CLEAR_BAND),
            dtype=np.dtype(np.uint16),
        )
        pixels = self._pixels(composite, grid, bytes_per_pixel=optical_bytes(len(bands)))
        return OpticalComposite(reflectance=pixels[:-1], clear=pixels[-1].astype(np.uint8))

    def _survey(self, place: RoiGrids) -> Survey:
        """Return what is known of a place; what few of the latest searches found is kept, and no more."""
        with self._lock:
            survey = self._surveys.pop(place, None) or Survey(place, self._compute)
            self._surveys[place] = survey
            while len(self._surveys) > _SURVEYS_KEPT:
                del self._surveys[next(iter(self._surveys))]
        return survey

    def _compute(self, expression: Any, *, what: str, smaller: int, reduces: bool) -> Any:
        with self._measuring if reduces else contextlib.nullcontext():
            return self._request(lambda: ee.data.computeValue(expression), what=what, smaller=smaller)

    def _request(self, send: Callable[[], T], *, what: str, smaller: int = 0) -> T:
        if not is_open(self._transport):
            raise SourceError("this Earth Engine source was ended by opening another one in the same process")
        return self._limiter.request(send, what=what, smaller=smaller)

    def _pixels(self, composite: Composite, grid: GeoBox, *, bytes_per_pixel: int) -> NDArray[Any]:
        """Compute a composite on a grid, in as few requests as the limits allow: (band, y, x) of its type."""
        out = np.empty((len(composite.bands), *grid.shape), composite.dtype)

        def fetch(window: Block) -> None:
            try:
                out[:, *window.slices] = self._request(lambda: composite.compute(grid, window), what=composite.label)
            except TooLarge as error:
                parts = window.halves()
                if parts is None:
                    raise SourceError(
                        f"Earth Engine cannot compute even one pixel of {composite.label} ({error})"
                    ) from error
                for part in parts:
                    fetch(part)

        first, *others = windows(grid, bytes_per_pixel=bytes_per_pixel)
        running = [self._windows.submit(fetch, window) for window in others]
        try:
            fetch(first)
            for future in running:
                future.result()
        finally:
            for future in running:
                future.cancel()
        return out
