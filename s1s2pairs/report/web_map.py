"""An interactive HTML map of a recipe, a plan or a dataset: the ROIs, the footprints chosen, and the composites.

The only module that touches geemap, and that inside one function: it takes seconds to load and is an extra.
"""

import datetime as dt
import html
import os
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import shapely

from ..acquisitions import OpticalAcquisition, SarAcquisition
from ..dataset.dataset import locked_plan, open_dataset
from ..dataset.layout import LOCK_FILE
from ..dataset.storage import Storage
from ..errors import DatasetError, RecipeError, S1S2Error
from ..files import write_whole
from ..plan import lock
from ..plan.choices import Plan, RoiPlan, rois_of
from ..recipe.settings import Roi
from ..sources.registry import Access, kind_of
from ..untrusted import parse_json
from .layers import drawings
from .overlays import overlays

EARTH_ENGINE: Final = "Google Earth Engine, contains modified Copernicus Sentinel data"
SPLIT_COLOURS: Final = {"train": "#0b66c3", "val": "#b7791f", "test": "#c2410c"}
FOOTPRINT_COLOURS: Final = {"Sentinel-1": "#7c3aed", "Sentinel-2": "#1a7f45"}


def make_map(path: str | Path, out: Path, *, source_layers: bool = False, project: str | None = None) -> Path:
    """Write an interactive map of a recipe, a locked recipe, or a dataset.

    Generating it needs no network; viewing it fetches the map library and the base map.

    Args:
        path: Recipe, locked recipe, or dataset (folder or fsspec URL).
        out: HTML file to write.
        source_layers: Whether to let Earth Engine draw the composites as layers; the plan must be made from it.
        project: Google Cloud project, for those layers.

    Returns:
        `out`.

    Raises:
        RecipeError: The recipe is wrong.
        DatasetError: The dataset is damaged, or `out` cannot be written.
        SourceError: Earth Engine cannot draw the layers.
        S1S2Error: geemap is not installed.
    """
    rois, plan, dataset = read_subject(path)
    foliumap = _load_geemap()
    layers = _source_layers(path, plan, project) if source_layers else {}
    bounds = shapely.union_all([roi.polygon.envelope for roi in rois]).bounds
    canvas = foliumap.Map(
        ee_initialize=False,
        plugin_Draw=False,
        plugin_Fullscreen=False,
        search_control=False,
        height="100vh",
        attribution_control=True,
    )
    _add_source_layers(canvas, foliumap, layers)
    if dataset is not None and plan is not None:
        _add_overlays(canvas, foliumap, plan, dataset)
    if plan is not None:
        _add_footprints(canvas, foliumap, plan)
    _add_rois(canvas, foliumap, rois, plan)
    west, south, east, north = bounds
    canvas.fit_bounds([[south, west], [north, east]], max_zoom=14)
    foliumap.folium.LayerControl(collapsed=False).add_to(canvas)
    canvas.get_root().title = _safe(f"{plan.name if plan else Path(path).stem} · map")
    write_whole(out, canvas.get_root().render().encode())
    return out


def read_subject(path: str | Path) -> tuple[tuple[Roi, ...], Plan | None, Storage | None]:
    """Read what a map is to be made of.

    Returns:
        The ROIs; the plan, where choices have been made; the dataset, where there is one.

    Raises:
        RecipeError: The recipe is wrong or cannot be read.
        DatasetError: The folder holds no dataset.
    """
    storage = Storage(str(path))
    if not storage.is_local or storage.local_root.is_dir():
        plan = locked_plan(storage)
        if plan is None:
            raise DatasetError(f"{path}: no dataset here (it has no {LOCK_FILE})")
        return rois_of(plan), plan, storage
    # A recipe may leave its years to the command line; a map needs none, so any year will do.
    subject = lock.load(path, default_years=(dt.datetime.now(dt.UTC).year - 1,))
    if isinstance(subject, Plan):
        return rois_of(subject), subject, None
    rois = (
        roi if listed else replace(roi, settings=replace(roi.settings, periods=()))
        for roi, listed in zip(subject.rois, _lists_periods(Path(path)), strict=True)
    )
    return tuple(rois), None, None


def _lists_periods(path: Path) -> list[bool]:
    """Tell of each ROI whether the recipe lists its periods."""
    collection = parse_json(path.read_bytes())  # a recipe that has been read without fault
    shared = collection.get("s1s2", {})
    own = [feature.get("properties") or {} for feature in collection["features"]]
    return [bool({**shared, **properties}.get("periods")) for properties in own]


def _load_geemap() -> ModuleType:
    """Import geemap's folium backend.

    Raises:
        S1S2Error: It is not installed, or was loaded before with its other backend.
    """
    if "geemap" in sys.modules and "geemap.foliumap" not in sys.modules:
        raise S1S2Error("geemap was loaded before with its notebook backend: set USE_FOLIUM=1 before importing it")
    try:
        with _folium_backend(), warnings.catch_warnings():
            # geemap's own dependencies use deprecated calls on import; nothing here can change that.
            warnings.simplefilter("ignore")
            import geemap.foliumap as loaded  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise S1S2Error(
            f"maps need geemap, and {error.name} is not installed: pip install 's1s2pairs[maps]'"
        ) from error
    module: ModuleType = loaded
    return module


@contextmanager
def _folium_backend() -> Iterator[None]:
    # geemap 0.37 chooses its backend by this variable; without it `import geemap.foliumap` itself fails.
    before = os.environ.get("USE_FOLIUM")
    os.environ["USE_FOLIUM"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["USE_FOLIUM"]
        else:
            os.environ["USE_FOLIUM"] = before


def _add_rois(canvas: Any, foliumap: ModuleType, rois: Sequence[Roi], plan: Plan | None) -> None:
    planned = {roi.roi.name: roi for roi in plan.rois} if plan else {}
    for split in dict.fromkeys(roi.split for roi in rois):
        group = foliumap.folium.FeatureGroup(name=f"ROIs: {split}")
        for roi in (r for r in rois if r.split == split):
            _shape(foliumap, roi.polygon, SPLIT_COLOURS[split], roi.name, _describe(roi, planned.get(roi.name))).add_to(
                group
            )
        group.add_to(canvas)


def _add_footprints(canvas: Any, foliumap: ModuleType, plan: Plan) -> None:
    for sensor, colour in FOOTPRINT_COLOURS.items():
        outlines: dict[str, list[str]] = defaultdict(list)
        for roi in plan.rois:
            for label, acquisition in _chosen(roi, sensor):
                outlines[acquisition.footprint_wkt].append(
                    f"{roi.roi.name}, {label}: {acquisition.acquired_at:%Y-%m-%d %H:%M} UTC, {acquisition.platform}, "
                    + ", ".join(acquisition.scene_ids)
                )
        group = foliumap.folium.FeatureGroup(name=f"{sensor} footprints", show=False)
        for wkt, used in outlines.items():
            popup = f"<b>{sensor}</b>" + _list(used)
            _shape(foliumap, shapely.from_wkt(wkt), colour, f"{sensor}: {len(used)} used", popup).add_to(group)
        group.add_to(canvas)


def _chosen(roi: RoiPlan, sensor: str) -> Iterator[tuple[str, OpticalAcquisition | SarAcquisition]]:
    for period in roi.choices.periods if roi.choices else ():
        for acquisition in period.sar if sensor == "Sentinel-1" else period.optical:
            yield period.label, acquisition


def _shape(foliumap: ModuleType, polygon: Any, colour: str, tooltip: str, popup: str) -> Any:
    folium = foliumap.folium
    return folium.GeoJson(
        shapely.geometry.mapping(polygon),
        style_function=lambda _: {"color": colour, "weight": 2, "fillOpacity": 0.06},
        tooltip=folium.Tooltip(_safe(tooltip)),
        popup=folium.Popup(popup, max_width=420, max_height=360),
    )


def _safe(text: str) -> str:
    """Escape text for HTML inside a JavaScript template literal, where folium puts it."""
    escaped = html.escape(text)
    return escaped.replace("\\", "&#92;").replace("`", "&#96;").replace("$", "&#36;").replace("{", "&#123;")


def _list(lines: Iterable[str]) -> str:
    return (
        "<ul style='margin:4px 0;padding-left:18px'>" + "".join(f"<li>{_safe(line)}</li>" for line in lines) + "</ul>"
    )


def _describe(roi: Roi, plan: RoiPlan | None) -> str:
    title = f"<b>{_safe(roi.name)}</b> ({roi.split})"
    if plan is None:
        return title + _list(_wishes(roi))
    if plan.choices is None:
        return f"{title}<br>failed: {_safe(plan.failure or 'no reason given')}"
    choices = plan.choices
    lines = [
        f"grid {choices.grid.shape[1]} × {choices.grid.shape[0]} px, {choices.grid.crs}",
        f"orbit {choices.relative_orbit} {choices.orbit_pass}, {choices.incidence_deg:.2f}° ({choices.incidence_source})",
    ]
    for period in choices.periods:
        optical = ", ".join(f"{a.acquired_at:%Y-%m-%d}" for a in period.optical)
        shift = f", window moved {period.month_shift:+d} months" if period.month_shift else ""
        lines.append(f"{period.label}: Sentinel-2 {optical} ({period.composite.replace('_', ' ')}{shift})")
        radar = ", ".join(f"{a.acquired_at:%Y-%m-%d}" for a in period.sar)
        lines.append(f"{period.label}: Sentinel-1 {radar} (mean; lag {period.lag_days:+.2f} days)")
    return title + _list(lines)


def _wishes(roi: Roi) -> list[str]:
    settings = roi.settings
    when = [f"{period.label}: {period.start} to {period.end}" for period in settings.periods]
    return [
        *(when or [f"season {settings.season[0]} to {settings.season[1]} of the years asked for"]),
        f"Sentinel-2 {' '.join(settings.s2_bands)}, cloud at most {settings.max_cloud_fraction:g}",
        f"Sentinel-1 {' '.join(settings.s1_polarisations)}, pass {settings.s1_pass}, orbit {settings.s1_orbit}",
        "nothing chosen yet: s1s2 build --plan",
    ]


def _source_layers(path: str | Path, plan: Plan | None, project: str | None) -> Mapping[str, str]:
    draw = None if plan is None else kind_of(plan.source).draw
    if plan is None or draw is None:
        made = "nothing is chosen yet" if plan is None else f"the plan was made from {plan.source}"
        raise RecipeError(f"{path}: no Earth Engine layers, {made}; give a plan or dataset made from earthengine")
    return draw(drawings(plan), Access(project=project))


def _add_source_layers(canvas: Any, foliumap: ModuleType, layers: Mapping[str, str]) -> None:
    for name, url in layers.items():
        foliumap.folium.TileLayer(tiles=url, attr=EARTH_ENGINE, name=_safe(name), overlay=True, show=False).add_to(
            canvas
        )


def _add_overlays(canvas: Any, foliumap: ModuleType, plan: Plan, storage: Storage) -> None:
    groups: dict[str, Any] = {}
    built = set(open_dataset(storage.url).index["roi"])
    for roi in (roi for roi in plan.rois if roi.roi.name in built):
        for overlay in overlays(roi, storage):
            if overlay.layer not in groups:
                # One layer is shown at first: the pictures lie on one another.
                groups[overlay.layer] = foliumap.folium.FeatureGroup(name=_safe(overlay.layer), show=not groups)
            west, south, east, north = overlay.bounds
            # Already in Web Mercator, so folium must not stretch it again (`mercator_project` is off by default).
            foliumap.folium.raster_layers.ImageOverlay(overlay.uri, [[south, west], [north, east]]).add_to(
                groups[overlay.layer]
            )
    for _, group in sorted(groups.items()):
        group.add_to(canvas)
