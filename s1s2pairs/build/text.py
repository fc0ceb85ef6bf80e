"""What `s1s2 build` prints in the end."""

from collections.abc import Iterator
from dataclasses import asdict

from .build import BuildReport


def build_lines(report: BuildReport) -> Iterator[str]:
    """Yield what a build did, totals last."""
    for roi in report.rois:
        if roi.failure is None:
            short = f", {roi.left_out} left out for want of valid pixels" if roi.left_out else ""
            yield f"{roi.roi}: {roi.fetched} rasters made, {roi.kept} kept, {roi.patches} pairs of patches{short}"
    built = len(report.rois) - len(report.failed)
    patches = sum(roi.patches for roi in report.rois)
    yield f"{report.out}: {built} ROIs, {patches} pairs of patches, {len(report.failed)} ROIs failed"


def build_json(report: BuildReport) -> dict[str, object]:
    """Return what a build did as plain JSON."""
    return {"out": report.out, **report.plan.sources_json(), "rois": [asdict(roi) for roi in report.rois]}
