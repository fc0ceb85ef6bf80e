"""What a check of a source finds: one verdict for each thing that a build relies on."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

State = Literal["holds", "does not hold", "not testable"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One assumption about a source, tried."""

    name: str
    says: str
    """What is assumed."""
    state: State
    detail: str
    """What was seen, or why it could not be tried."""
    breaks: str
    """What would go wrong in a build if it did not hold."""
    needed: bool = True
    """Whether a build relies on it; the others are good to know."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckReport:
    """Everything found about one source."""

    source: str
    findings: tuple[Finding, ...]
    requests: int | None
    """How many were sent; None where nobody counts."""
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether everything that a build relies on holds; what could not be tried does not count against it."""
        return not any(one.needed and one.state == "does not hold" for one in self.findings)


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
