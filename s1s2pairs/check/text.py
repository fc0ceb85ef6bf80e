"""What `s1s2 check` prints."""

from collections.abc import Iterator
from dataclasses import asdict

from ..sources.findings import CheckReport


def check_lines(report: CheckReport) -> Iterator[str]:
    """Yield the findings as lines of text, the verdict last."""
    for one in report.findings:
        yield f"{one.state:>13}  {one.name}: {one.says}" + ("" if one.needed else " (good to know)")
        yield f"               {one.detail}"
        if one.state == "does not hold" and one.needed:
            yield f"               this breaks: {one.breaks}"
    states = [one.state for one in report.findings]
    asked = "" if report.requests is None else f", {report.requests} requests"
    yield (
        f"{report.source}: {states.count('holds')} hold, {states.count('does not hold')} do not, "
        f"{states.count('not testable')} not testable{asked}, {report.seconds:.0f} s"
    )


def check_json(report: CheckReport) -> dict[str, object]:
    """Return the findings as plain JSON."""
    return {"ok": report.ok, **asdict(report)}
