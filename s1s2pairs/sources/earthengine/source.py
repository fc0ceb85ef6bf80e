"""The Earth Engine source: the four questions of the seam, asked of Google's servers."""

import datetime as dt
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import ee
import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ...acquisition import Backscatter, OpticalAcquisition, OpticalScene, SarAcquisition, group_optical, group_sar
from ...bands import S2_CLEAR_BAND
from ...errors import RecipeError, SourceError
from ...grid import inside
from .. import CompositeMethod, Needed, OpticalComposite, Place, SarMean, SceneIds, Span
from . import expressions, tables
from .limits import MAX_REQUESTS, MAX_TILE_SCALE, Window, optical_bytes, sar_bytes, windows
from .patience import Gate, Patience, TooLarge
from .pixels import Composite
from .session import is_open, open_session
from .tables import ClassCounts

T = TypeVar("T")


class EarthEngineSource:
    """Scenes of Google Earth Engine; implements `Source`.

    The client is one per process: opening a second source ends the first.
    """

    name = "earthengine"

    def __init__(self, project: str | None = None, requests: int = 24, *, patience: Patience | None = None) -> None:
        """Sign in.

        Args:
            project: Google Cloud project; else from EARTHENGINE_PROJECT or GOOGLE_CLOUD_PROJECT, else the credentials' own.
            requests: Most requests in flight at once, 1 to 40.
            patience: How long failures are put up with.

        Raises:
            RecipeError: `requests` is out of range.
            NotAuthenticated: Credentials or project are missing, or were refused.
            SourceError: Earth Engine cannot be reached.
        """
        if not 1 <= requests <= MAX_REQUESTS:
            raise RecipeError(f"{requests} requests at once: Earth Engine allows a project 1 to {MAX_REQUESTS}")
        patience = patience or Patience()
        self.requests = requests
        self._transport = open_session(
            project=project,
            connections=requests,
            deadline_s=patience.deadline_s,
            client_retries=patience.client_retries,
        )
        self._gate = Gate(requests, patience)
        self._windows = ThreadPoolExecutor(requests, thread_name_prefix="earthengine")

    def backscatter(self) -> Backscatter:
        """Say which backscatter coefficient the radar scenes hold."""
        return "sigma0"

    def find_sar(
        self, place: Place, spans: Sequence[Span], *, polarisations: tuple[str, ...]
    ) -> tuple[SarAcquisition, ...]:
        """List the IW acquisitions with all wanted polarisations that touch the ROI within any of the spans: one request.

        Raises:
            SourceError: Earth Engine cannot answer.
        """

        def ask(within: Sequence[Span]) -> Any:
            return expressions.sar_table(place, within, polarisations)

        found = self._table(ask, spans, place, what=f"the radar scenes of ROI {place.name}")
        return group_sar((scene for table in found for scene in tables.sar_scenes(table, place)), roi=place.polygon)

    def find_optical(self, place: Place, spans: Sequence[Span]) -> tuple[OpticalAcquisition, ...]:
        """List the L2A acquisitions that touch the ROI within any of the spans, with their fractions over the ROI.

        One request; a second one only where a datatake is held in several processings, of which just the newest counts.

        Raises:
            SourceError: Earth Engine cannot answer.
        """

        def ask(within: Sequence[Span]) -> Any:
            return expressions.optical_table(place, within)

        what = f"the optical scenes of ROI {place.name}"
        scenes: list[OpticalScene] = []
        counts: dict[frozenset[str], ClassCounts] = {}
        for table in self._table(ask, spans, place, what=what):
            found, measured = tables.optical_tables(table)
            scenes += found
            counts |= {one.scene_ids: one for one in measured}
        groups = group_optical(scenes)
        rest = [tables.ids_of(group) for group in groups if frozenset(tables.ids_of(group)) not in counts]
        counts |= {one.scene_ids: one for one in self._counted(place, rest, what=what)}
        missing = [group[0].id for group in groups if frozenset(tables.ids_of(group)) not in counts]
        if missing:
            raise SourceError(f"Earth Engine gave no class counts for the datatake of {missing[0]} over {what}")
        roi_pixels = int(inside(place.polygon, place.analysis_grid).sum())
        return tuple(
            tables.optical_acquisition(group, counts[frozenset(tables.ids_of(group))], roi_pixels=roi_pixels)
            for group in groups
        )

    def unreadable(self, needed: Needed) -> frozenset[str]:  # noqa: ARG002 - what Earth Engine lists, it holds
        """Name none."""
        return frozenset()

    def mean_sar(self, acquisitions: Sequence[SceneIds], *, polarisations: tuple[str, ...], grid: GeoBox) -> SarMean:
        """Average acquisitions in linear power on `grid`, on Earth Engine's servers.

        Raises:
            SourceError: A scene is missing, or Earth Engine cannot answer.
        """
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
            SourceError: A scene is missing, or Earth Engine cannot answer.
        """
        if method == "least_cloudy" and len(acquisitions) != 1:
            raise ValueError(f"least_cloudy takes one acquisition, not {len(acquisitions)}")
        composite = Composite(
            label=f"the optical composite from {acquisitions[0][0]} on",
            expression=expressions.optical_composite(acquisitions, bands),
            bands=(*bands, S2_CLEAR_BAND),
            dtype=np.dtype(np.uint16),
        )
        pixels = self._pixels(composite, grid, bytes_per_pixel=optical_bytes(len(bands)))
        return OpticalComposite(reflectance=pixels[:-1], clear=pixels[-1].astype(np.uint8))

    def _table(
        self, ask: Callable[[Sequence[Span]], Any], spans: Sequence[Span], place: Place, *, what: str
    ) -> list[Any]:
        """Get a table, in parts where it is too much for one request."""
        try:
            return [self._value(ask(spans), what=what)]
        except TooLarge as error:
            parts = halves(spans, longitude=place.polygon.centroid.x)
            if parts is None:
                raise SourceError(f"Earth Engine cannot list {what}, even for a single day ({error})") from error
        return [table for part in parts for table in self._table(ask, part, place, what=what)]

    def _value(self, expression: Any, *, what: str) -> Any:
        return self._request(lambda: ee.data.computeValue(expression), what=what)

    def _request(self, send: Callable[[], T], *, what: str) -> T:
        if not is_open(self._transport):
            raise SourceError("this Earth Engine source was ended by opening another one in the same process")
        return self._gate.request(send, what=what)

    def _counted(
        self, place: Place, acquisitions: Sequence[SceneIds], *, what: str, tile_scale: int = 1
    ) -> list[ClassCounts]:
        """Count classes in acquisitions put together by us, in parts or smaller steps where it is too much at once."""
        if not acquisitions:
            return []
        ask = expressions.class_counts(place, acquisitions, tile_scale=tile_scale)
        try:
            return tables.class_counts(self._value(ask, what=what))
        except TooLarge as error:
            if len(acquisitions) == 1 and tile_scale >= MAX_TILE_SCALE:
                raise SourceError(
                    f"Earth Engine cannot measure {what}, not even one acquisition ({error}): cut the ROI in two"
                ) from error
        if len(acquisitions) == 1:
            return self._counted(place, acquisitions, what=what, tile_scale=2 * tile_scale)
        half = len(acquisitions) // 2
        parts = (acquisitions[:half], acquisitions[half:])
        return [one for part in parts for one in self._counted(place, part, what=what, tile_scale=tile_scale)]

    def _pixels(self, composite: Composite, grid: GeoBox, *, bytes_per_pixel: int) -> NDArray[Any]:
        """Compute a composite on a grid, in as few requests as the limits allow: (band, y, x) of its type."""
        out = np.empty((len(composite.bands), *grid.shape), composite.dtype)

        def fetch(window: Window) -> None:
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


def halves(spans: Sequence[Span], *, longitude: float) -> tuple[list[Span], list[Span]] | None:
    """Part stretches of time in two of about the same length, None when they make up no more than a day.

    The cut lies at local solar midnight, when neither satellite passes: no overflight is cut in two.
    """
    total = sum(((span.end - span.start) for span in spans), dt.timedelta())
    if total <= dt.timedelta(days=1):
        return None
    early: list[Span] = []
    late: list[Span] = []
    passed = dt.timedelta()
    for span in sorted(spans, key=lambda span: span.start):
        length = span.end - span.start
        if passed + length <= total / 2:
            early.append(span)
        elif passed >= total / 2:
            late.append(span)
        else:
            cut = _solar_midnight(span.start + (total / 2 - passed), longitude)
            early += [Span(start=span.start, end=min(cut, span.end))] if cut > span.start else []
            late += [Span(start=max(cut, span.start), end=span.end)] if cut < span.end else []
        passed += length
    return (early, late) if early and late else None


def _solar_midnight(time: dt.datetime, longitude: float) -> dt.datetime:
    """Return the local solar midnight nearest to a time, to the second."""
    ahead = dt.timedelta(seconds=round(longitude * 240))
    noon = time + ahead + dt.timedelta(hours=12)
    return noon.replace(hour=0, minute=0, second=0, microsecond=0) - ahead
