"""What a repair has done so far, and what it had to leave."""

from dataclasses import dataclass, field
from typing import Final, Literal

from ..dataset.layout import LOCK_FILE
from ..dataset.storage import Storage

BUILD_AGAIN: Final = f"build again from {LOCK_FILE} into the same folder to renew it"
"""Advice for what a repair cannot make."""

Remedy = Literal["fetched", "cut", "written", "removed"]
"""A raster from its source; a patch from its raster; card, index and the like from plan and files; a file that belongs to
nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Repairs:
    """What a repair has done so far, and what it had to leave."""

    storage: Storage
    repaired: dict[str, Remedy] = field(default_factory=dict)
    """File -> what was done."""
    given_up: dict[str, str] = field(default_factory=dict)
    """File -> why it could not be repaired, and what to do."""

    def write(self, path: str, content: bytes, remedy: Remedy) -> None:
        """Write a file, unless it has these bytes already."""
        if self.storage.read_if_there(path) != content:
            self.storage.write(path, content)
            self.repaired[path] = remedy
