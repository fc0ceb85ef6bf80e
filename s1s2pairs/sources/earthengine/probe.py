"""A few small requests about a field whose scenes are known, each sent once."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import ee
import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ...acquisitions import OpticalScene, SarScene
from ...sensors import S2_CLEAR_BAND
from . import answers, expressions, known
from .limits import Block
from .pixels import Composite
from .retry import RequestLimiter

POLARISATIONS: Final = ("VV", "VH")
OPTICAL_BANDS: Final = ("B4", "B8", "B11")
_FAR_M: Final = 1_000_000.0


class NotTestable(Exception):
    """What an assumption is about is not there to be tried; says why."""


class Probe:
    """What Earth Engine says about the field."""

    def __init__(self, limiter: RequestLimiter) -> None:
        self.place = known.field()
        self.requests = 0
        self._limiter = limiter

    def value(self, expression: Any) -> Any:
        """Compute a value.

        Raises:
            SourceError: Earth Engine refuses.
        """
        self.requests += 1
        return self._limiter.request(lambda: ee.data.computeValue(expression), what="a check")

    def pixels(
        self, image: Any, bands: Sequence[str], dtype: Any, *, grid: GeoBox | None = None, window: Block | None = None
    ) -> NDArray[Any]:
        """Compute pixels of an image on a grid, the field's own unless another is given: (band, y, x) of `dtype`.

        Raises:
            TooLarge: It is too much for one request.
            SourceError: Earth Engine refuses.
        """
        grid = self.place.grid if grid is None else grid
        part = window or Block(row=0, column=0, height=grid.height, width=grid.width)
        composite = Composite(label="a check", expression=image, bands=tuple(bands), dtype=np.dtype(dtype))
        self.requests += 1
        return self._limiter.request(lambda: composite.compute(grid, part), what="a check")

    @cached_property
    def listing(self) -> Any:
        """The reply to a listing of both sensors' scenes."""
        return self.value(expressions.listing(known.FIELD, sar=known.SPANS, optical=known.SPANS))

    @property
    def rows(self) -> list[Mapping[str, Any]]:
        """The rows of the listing."""
        return [feature["properties"] for feature in self.listing["features"]]

    @cached_property
    def _scenes(self) -> tuple[list[SarScene], list[OpticalScene]]:
        return answers.scenes(self.listing)

    @property
    def sar(self) -> list[SarScene]:
        """The radar scenes listed.

        Raises:
            NotTestable: There is none.
        """
        if not self._scenes[0]:
            raise NotTestable("no radar scene was listed")
        return self._scenes[0]

    @property
    def optical(self) -> list[OpticalScene]:
        """The optical scenes listed."""
        return self._scenes[1]

    def one_of_each_orbit(self) -> list[SarScene]:
        """Return the first scene of each relative orbit that covers the field.

        Raises:
            NotTestable: There is none.
        """
        first: dict[int, SarScene] = {}
        for scene in sorted(self.sar, key=lambda scene: (scene.acquired_at, scene.id)):
            if scene.footprint.contains(self.place.polygon):
                first.setdefault(scene.relative_orbit, scene)
        if not first:
            raise NotTestable("no radar scene covers the field")
        return list(first.values())

    @cached_property
    def sar_pair(self) -> list[str]:
        """Two scenes of one orbit that cover the field.

        Raises:
            NotTestable: There are none.
        """
        for orbit in {scene.relative_orbit: None for scene in self.one_of_each_orbit()}:
            both = [s.id for s in self.sar if s.relative_orbit == orbit and s.footprint.contains(self.place.polygon)]
            if len(both) >= 2:
                return sorted(both)[:2]
        raise NotTestable("no two radar scenes of one orbit cover the field")

    @cached_property
    def optical_pair(self) -> list[str]:
        """The two clearest optical scenes that cover the field.

        Raises:
            NotTestable: There are none.
        """
        covering = [s.id for s in self.optical if s.footprint.contains(self.place.polygon)]
        if len(covering) < 2:
            raise NotTestable(f"{len(covering)} optical scenes cover the field, two are wanted")
        reply = self.value(expressions.class_counts(self.place, [(id_,) for id_ in covering]))
        counts = answers.class_counts(reply, len(covering))
        ranked = sorted(zip(counts, covering, strict=True), key=lambda pair: (-pair[0].covered, pair[0].cloud, pair[1]))
        return [id_ for _, id_ in ranked[:2]]

    def classes(self, id_: str) -> NDArray[Any]:
        """Return the scene classes of an optical scene on the analysis grid: (y, x) uint16, 0 where missing."""
        image = ee.Image(f"{expressions.OPTICAL_COLLECTION}/{id_}").select(["SCL"]).unmask(0, False).toUint16()
        classes: NDArray[Any] = self.pixels(image, ("SCL",), np.uint16, grid=self.place.analysis_grid)[0]
        return classes

    def radar_mean(
        self, ids: Sequence[str], window: Block | None = None, *, far: bool = False, side: int | None = None
    ) -> NDArray[Any]:
        """Return the mean of passes as a build asks for it: (VV, VH, count; y, x) float32.

        Args:
            ids: A scene each.
            window: Part of the field's grid.
            far: Of a field 1000 km to the east instead.
            side: Of a field of so many pixels a side instead.
        """
        grid = self.place.grid
        if far:
            grid = GeoBox(grid.shape, Affine.translation(_FAR_M, 0) @ grid.transform, grid.crs)
        if side is not None:
            grid = GeoBox((side, side), grid.transform, grid.crs)
        image = expressions.sar_mean([(id_,) for id_ in ids], POLARISATIONS)
        return self.pixels(image, (*POLARISATIONS, expressions.COUNT_BAND), np.float32, grid=grid, window=window)

    def optical_median(self, ids: Sequence[str]) -> NDArray[Any]:
        """Return the median of datatakes as a build asks for it: (band and clear; y, x) uint16."""
        image = expressions.optical_composite([(id_,) for id_ in ids], OPTICAL_BANDS)
        return self.pixels(image, (*OPTICAL_BANDS, S2_CLEAR_BAND), np.uint16)
