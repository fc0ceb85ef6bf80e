"""A plan's composites as layers of a web map: which bands are shown, and from what to what."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ..grid import footprint_lonlat
from ..plan.choices import Choices, Plan
from ..recipe.settings import Settings
from ..sources.drawing import Drawing
from .colours import CO_DB, CROSS_DB, RATIO_DB, polarisation_pair, single_range, true_colour_bands

BRIGHTEST: Final = 3000.0
"""Reflectance x 10000 shown as white."""


def drawings(plan: Plan) -> Mapping[str, Sequence[Drawing]]:
    """Return a layer for each sensor and period, all ROIs in one: name -> drawings."""
    layers: dict[str, list[Drawing]] = {}
    for roi in plan.rois:
        for name, drawing in _of_roi(roi.choices, roi.roi.settings) if roi.choices else ():
            layers.setdefault(name, []).append(drawing)
    return layers


def _of_roi(choices: Choices, settings: Settings) -> Iterator[tuple[str, Drawing]]:
    outline = footprint_lonlat(choices.grid)
    colours = true_colour_bands(settings.s2_bands)
    pair = polarisation_pair(settings.s1_polarisations)
    single = settings.s1_polarisations[0]
    for period in choices.periods:
        optical = Drawing(
            outline=outline,
            sensor="s2",
            scenes=tuple(a.scene_ids for a in period.optical),
            bands=settings.s2_bands,
            shown=tuple(colours),
            ranges=((0.0, BRIGHTEST),) * len(colours),
        )
        radar = Drawing(
            outline=outline,
            sensor="s1",
            scenes=tuple(a.scene_ids for a in period.sar),
            bands=settings.s1_polarisations,
            shown=pair or (single,),
            ranges=(CO_DB, CROSS_DB, RATIO_DB) if pair else (single_range(single),),
        )
        yield f"Sentinel-2 {period.label} (Earth Engine)", optical
        yield f"Sentinel-1 {period.label} (Earth Engine)", radar
