"""What `s1s2 build` prints in the end."""

from collections.abc import Iterator
from dataclasses import asdict

from .build import BuildReport
from .repair import RepairReport


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


def repair_lines(report: RepairReport) -> Iterator[str]:
    """Yield what a repair did, and what it had to leave."""
    for path, remedy in report.repaired.items():
        yield f"{path}: {remedy}"
    for path, why in report.given_up.items():
        yield f"{path}: not repaired: {why}"
    if report.repaired or report.given_up:
        yield f"{report.after.dataset}: {len(report.repaired)} files repaired, {len(report.given_up)} not"


def repair_json(report: RepairReport) -> dict[str, object]:
    """Return what a repair did as plain JSON."""
    return {"repaired": dict(report.repaired), "given_up": dict(report.given_up)}
