"""What the stand-in does where nobody has seen the real Earth Engine do it: switches, each with its values.

The first value of each is the default. The suite runs under all of them, and the client must serve under all of them.
"""

import contextvars
import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """One Earth Engine that there might be."""

    from_images: Literal["keep", "renumber"] = "keep"
    """Whether `ImageCollection.fromImages` keeps the images' `system:index` or numbers them anew. No recording shows it."""
    dark_pixels: Literal["zero", "masked"] = "zero"
    """What becomes of values up to 1000 in S2_SR_HARMONIZED where 1000 is taken off. No recording shows it."""
    angle: Literal["nearest", "bilinear"] = "nearest"
    """How the angle band is read unless an expression says how. Documented is nearest for all images."""
    null_properties: Literal["dropped", "null"] = "dropped"
    """Whether a property without value is left out of a feature in a reply. No recording shows one."""
    footprint: Literal["ring", "polygon"] = "ring"
    """How the geometry of a radar image comes back: recorded is a LinearRing in properties, and both in geometries."""
    geodesic_flag: Literal["absent", "true"] = "absent"
    """Whether a geometry in a reply says that its edges are geodesics."""
    masked_npy: Literal["zero", "largest"] = "zero"
    """What stands in NPY where a pixel is masked in the end. Not defined; nobody may rely on it."""
    bilinear_edge: Literal["renormalised", "masked"] = "renormalised"
    """What interpolation gives beside a missing pixel: the mean of the others, or nothing."""

    @classmethod
    def from_json(cls, text: str) -> "Assumptions":
        value: dict[str, Any] = json.loads(text or "{}")
        allowed = switches()
        for name, chosen in value.items():
            if chosen not in allowed.get(name, ()):
                raise ValueError(f"no such assumption: {name}={chosen!r}; there are {allowed}")
        return cls(**value)


def switches() -> dict[str, tuple[str, ...]]:
    """Return the values that each switch can take."""
    return {field.name: get_args(field.type) for field in dataclasses.fields(Assumptions)}


def others() -> Iterator[dict[str, str]]:
    """Yield each change of one switch away from its default."""
    for name, (_, *values) in switches().items():
        yield from ({name: value} for value in values)


@dataclass
class Request:
    """One request while it is answered: what holds, and what it has used up."""

    assumptions: Assumptions = dataclasses.field(default_factory=Assumptions)
    broken: frozenset[str] = frozenset()
    """Documented behaviours that this Earth Engine does not show, by the names of `s1s2 check`."""
    max_aggregations: int = 0
    max_elements: int = 0
    aggregations: int = 0
    elements: int = 0
    """Of the largest collection."""


REQUEST: contextvars.ContextVar[Request] = contextvars.ContextVar("request")


def assumed() -> Assumptions:
    """What holds for the request being answered."""
    return REQUEST.get().assumptions


def is_broken(name: str) -> bool:
    """Tell whether a documented behaviour fails in the request being answered."""
    return name in REQUEST.get().broken
