"""`s1s2` as a process of its own: with the source `fake:FOLDER` and the network `toy` to choose, and smaller simulations."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from odc.geo.geobox import GeoBox

import cli
from s1s2pairs.acquisitions import CompositeMethod, SceneIds
from s1s2pairs.sources import OpticalComposite, SarMean, registry
from tests.s1s2pairs.fake_source import FakeSource

FETCH_S = 0.02
"""How long the pixels of one raster take to come."""


class NotingSource(FakeSource):
    """Notes when the pixels of a raster are asked for and when they have come, by ROI, period and sensor."""

    def mean_sar(self, acquisitions: Sequence[SceneIds], *, polarisations: tuple[str, ...], grid: GeoBox) -> SarMean:
        self._fetch(acquisitions[0][0].split("/")[3][:4], acquisitions[0][0].split("/")[1], "s1")
        return super().mean_sar(acquisitions, polarisations=polarisations, grid=grid)

    def composite_optical(
        self, acquisitions: Sequence[SceneIds], *, bands: tuple[str, ...], method: CompositeMethod, grid: GeoBox
    ) -> OpticalComposite:
        self._fetch(acquisitions[0][0].split("/")[2][:4], acquisitions[0][0].split("/")[1], "s2")
        return super().composite_optical(acquisitions, bands=bands, method=method, grid=grid)

    def _fetch(self, year: str, roi: str, sensor: str) -> None:
        self._note(f"fetch rasters/{roi}/{year}/{sensor}.tif")
        time.sleep(FETCH_S)


def _no_cost(*_: object) -> object:
    raise NotImplementedError


if __name__ == "__main__":
    fake = registry.SourceKind(
        fits=lambda name: name.startswith("fake:"),
        open=lambda name, _: NotingSource(Path(name.removeprefix("fake:"))),
        cost=_no_cost,  # type: ignore[arg-type]
        check=_no_cost,  # type: ignore[arg-type]
    )
    registry.SOURCES = (fake, *registry.SOURCES)  # type: ignore[assignment]
    if sys.argv[1] in {"train", "evaluate", "translate"}:
        import torch

        from models import networks

        torch.set_num_threads(1)
        networks.__path__.append(str(Path(__file__).parents[1] / "models" / "toy"))
    if sys.argv[1] == "simulate":
        from s1s2pairs.simulate import world

        small = world.Options(orbits_per_pass=1, optical_margin_months=0, sar_margin_days=3, pixel_m=20)
        world.Options = lambda: small  # type: ignore[assignment, misc]
    cli.main()
