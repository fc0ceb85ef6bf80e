"""The report: one self-contained HTML page that shows what a dataset holds and why."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import jinja2

from ..acquisitions import OpticalAcquisition
from ..dataset.card import CARD_FAILURES_KEY, CARD_VERSION_KEY
from ..dataset.dataset import Dataset, open_dataset
from ..dataset.layout import CARD_FILE, REPORT_FILE, raster_path
from ..dataset.storage import Storage
from ..errors import DatasetError
from ..files import write_whole
from ..plan.choices import Choices, PeriodPlan, Plan, RoiPlan
from ..plan.explain import Explanation, explain_optical, explain_orbit
from ..plan.radar import OrbitCandidate
from ..recipe.settings import Settings
from ..sensors import SENSORS
from .charts import Timeline, ValueCounts, draw_timeline
from .colours import Bands, halve, halve_db, stretch_of, true_colour_bands
from .inline import style_sheet
from .overview import draw_maps
from .thumbnails import Picture, optical_change, optical_picture, radar_change, radar_picture, read_small

LARGEST_PX: Final = 400
"""Longest side of a picture."""
PICTURES_BYTES: Final = 7_000_000
"""What all pictures together may take; of many ROIs they are drawn smaller."""
BYTES_PER_PX: Final = 0.5
"""Of a JPEG of such images, base64 included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PeriodSection:
    """One period of one ROI."""

    plan: PeriodPlan
    timeline: Timeline
    considered: tuple[tuple[OpticalAcquisition, Explanation], ...]
    radar: Picture | None
    optical: Picture | None
    """Both None where the ROI was not built."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeSection:
    """The difference between two periods of one ROI."""

    before: str
    after: str
    radar: Picture
    optical: Picture


@dataclass(frozen=True, kw_only=True, slots=True)
class RoiSection:
    """One ROI."""

    plan: RoiPlan
    problem: str | None
    """Why it is not in the dataset; None where it is."""
    patches: int
    periods: tuple[PeriodSection, ...]
    changes: tuple[ChangeSection, ...]
    orbits: tuple[tuple[OrbitCandidate, Explanation], ...]
    width_km: float = 0.0
    height_km: float = 0.0
    """Extent of its grid on the ground; 0 where nothing could be chosen."""

    @property
    def bar_km(self) -> float:
        """Length of a scale bar: the roundest that takes at most 40 % of the width."""
        most = 0.4 * self.width_km
        power = 10.0 ** math.floor(math.log10(most))
        return next(step * power for step in (5, 2, 1) if step * power <= most * (1 + 1e-9))


def report(dataset: str | Path) -> str:
    """Write `report.html` into a dataset.

    Args:
        dataset: Folder, or fsspec URL.

    Returns:
        Where it was written.

    Raises:
        DatasetError: The dataset is missing, incomplete or damaged, or its folder cannot be written to.
    """
    opened = open_dataset(dataset)
    page = render(opened).encode()
    if opened.storage.is_local:
        write_whole(opened.storage.local_root / REPORT_FILE, page)
    else:
        opened.storage.write(REPORT_FILE, page)
    return opened.storage.where(REPORT_FILE)


def render(dataset: Dataset) -> str:
    """Return the page's text.

    Raises:
        DatasetError: The card, or a raster that the plan names, is missing or damaged.
    """
    plan = dataset.plan
    periods = _period_labels(plan)
    side = picture_side(sum(4 * len(roi.choices.periods) - 2 for roi in plan.rois if roi.choices))
    counts = ValueCounts()
    sections = [_section(roi, dataset, counts, side) for roi in plan.rois]
    common, overrides = _common_settings([roi.roi.settings for roi in plan.rois], [roi.roi.name for roi in plan.rois])
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["minus"] = lambda text: str(text).replace("-", "−")
    template = environment.from_string(files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8"))
    return template.render(
        style=style_sheet(),
        plan=plan,
        attribution=dataset.card.get("creditText"),
        version=dataset.card.get(CARD_VERSION_KEY),
        dataset=dataset,
        periods=periods,
        sections=sections,
        maps=draw_maps([(roi.roi.name, roi.roi.split, roi.roi.polygon) for roi in plan.rois]),
        splits=_split_counts(dataset),
        patches=dataset.index["patch_id"].nunique(),
        backscatters=sorted({roi.choices.backscatter for roi in plan.rois if roi.choices}),
        histograms={kind: counts.histograms(kind, periods) for kind in ("s1", "s2")},
        settings=common,
        overrides=overrides,
    )


def picture_side(pictures: int) -> int:
    """Return the longest side of a picture, pixels, so that all of them keep the page small."""
    return max(16, int(min(LARGEST_PX, math.sqrt(PICTURES_BYTES / (BYTES_PER_PX * max(pictures, 1))))))


def _period_labels(plan: Plan) -> list[str]:
    first = {p.label: p.start for roi in plan.rois for p in reversed(roi.roi.settings.periods)}
    return sorted(first, key=lambda label: (first[label], label))


def _split_counts(dataset: Dataset) -> list[tuple[str, int, int]]:
    groups = dataset.index.groupby("split")
    counts = {str(split): (rows["roi"].nunique(), rows["patch_id"].nunique()) for split, rows in groups}
    return [(split, *counts[split]) for split in ("train", "val", "test") if split in counts]


def _section(roi: RoiPlan, dataset: Dataset, counts: ValueCounts, side: int) -> RoiSection:
    rows = dataset.index[dataset.index["roi"] == roi.roi.name]
    if roi.choices is None:
        return RoiSection(plan=roi, problem=roi.failure, patches=0, periods=(), changes=(), orbits=())
    problem = None if len(rows) else _failure(dataset, roi.roi.name)
    pictures = _pictures(roi, roi.choices, dataset.storage, counts, side) if problem is None else _NO_PICTURES
    settings = roi.roi.settings
    rows_px, columns_px = roi.choices.grid.shape
    periods = tuple(
        PeriodSection(
            plan=period,
            timeline=draw_timeline(period, settings),
            considered=tuple((a, explain_optical(a, period, settings)) for a in period.optical_considered),
            radar=pictures.radar.get(period.label),
            optical=pictures.optical.get(period.label),
        )
        for period in roi.choices.periods
    )
    return RoiSection(
        plan=roi,
        problem=problem,
        patches=rows["patch_id"].nunique(),
        periods=periods,
        changes=pictures.changes,
        orbits=tuple((c, explain_orbit(c, roi.choices, settings)) for c in roi.choices.orbit_candidates),
        width_km=columns_px * settings.pixel_size_m / 1000,
        height_km=rows_px * settings.pixel_size_m / 1000,
    )


def _failure(dataset: Dataset, name: str) -> str:
    try:
        reasons = {failure["roi"]: str(failure["reason"]) for failure in dataset.card.get(CARD_FAILURES_KEY, ())}
    except (TypeError, LookupError) as error:
        file = dataset.storage.where(CARD_FILE)
        raise DatasetError(f"{file}: `{CARD_FAILURES_KEY}` is damaged; run `s1s2 verify`, then build again") from error
    return reasons.get(name, "planned, but not in the index; run `s1s2 build` again to see why")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pictures:
    radar: Mapping[str, Picture]
    optical: Mapping[str, Picture]
    changes: tuple[ChangeSection, ...]


_NO_PICTURES: Final = _Pictures(radar={}, optical={}, changes=())


def _pictures(roi: RoiPlan, choices: Choices, storage: Storage, counts: ValueCounts, side: int) -> _Pictures:
    settings = roi.roi.settings
    polarisations, bands = settings.s1_polarisations, settings.s2_bands
    radar: dict[str, Bands] = {}
    optical: dict[str, Bands] = {}
    # A grid smaller than a picture is shown pixel for pixel; of a larger one, four pixels are averaged into one.
    large = max(choices.grid.shape) > side
    for label in (period.label for period in choices.periods):
        s1, s2 = (raster_path(roi.roi.name, label, sensor) for sensor in SENSORS)
        most_px = 2 * side if large else side
        decibels = read_small(storage, s1, grid=choices.grid, bands=len(polarisations), most_px=most_px)
        reflectance = read_small(storage, s2, grid=choices.grid, bands=len(bands), most_px=most_px)
        counts.add("s1", label, polarisations, decibels)
        counts.add("s2", label, bands, reflectance)
        radar[label] = halve_db(decibels) if large else decibels
        optical[label] = halve(reflectance) if large else reflectance
    names = true_colour_bands(bands)
    shown = {label: image[[bands.index(name) for name in names]] for label, image in optical.items()}
    stretch = stretch_of(list(shown.values()))
    return _Pictures(
        radar={
            label: radar_picture(image, polarisations=polarisations, backscatter=choices.backscatter)
            for label, image in radar.items()
        },
        optical={label: optical_picture(image, names=names, stretch=stretch) for label, image in shown.items()},
        changes=tuple(
            ChangeSection(
                before=before,
                after=after,
                radar=radar_change(radar[before], radar[after], polarisations=polarisations),
                optical=optical_change(optical[before], optical[after], bands=bands),
            )
            for before, after in pairwise(radar)
        ),
    )


def _common_settings(
    settings: Sequence[Settings], names: Sequence[str]
) -> tuple[list[tuple[str, str]], list[tuple[str, str, list[str]]]]:
    """Split settings into what most ROIs have, and who has something else: (key, value), (key, value, ROI names)."""
    common: list[tuple[str, str]] = []
    overrides: list[tuple[str, str, list[str]]] = []
    for key in (field.name for field in fields(Settings)):
        values = [_shown(getattr(s, key)) for s in settings]
        most = Counter(values).most_common(1)[0][0]
        common.append((key, most))
        others: dict[str, list[str]] = defaultdict(list)
        for name, value in zip(names, values, strict=True):
            if value != most:
                others[value].append(name)
        overrides.extend((key, value, who) for value, who in others.items())
    return common, overrides


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(_shown(item) for item in value) or "none"
    if hasattr(value, "start"):
        return f"{value.label} ({value.start} to {value.end})"
    if hasattr(value, "size"):
        steps = f"stride {value.stride}" if value.stride else f"adaptive, overlap at least {value.min_overlap or 0}"
        return f"{value.size} px, {steps}"
    if value is None:
        return "none"
    return json.dumps(value) if isinstance(value, bool) else str(value)
