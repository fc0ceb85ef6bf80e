"""What a check of a source finds: one finding for each thing that a build relies on."""

from dataclasses import dataclass
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
