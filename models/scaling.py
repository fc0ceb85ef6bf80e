"""Physical values to network values and back, by fixed ranges.

The ranges never depend on the patch. Scaling each patch by its own extremes, as the code published with TSGAN does,
gives unchanged ground different values at the two dates, leaks the target's extremes into the conversion back to dB,
and leaves seams between neighbouring windows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from s1s2pairs.errors import RunError

from .task import Stack

Range = tuple[float, float]


def _default_s1_ranges() -> dict[str, Range]:
    co_polarised, cross_polarised = (-25.0, 10.0), (-32.0, 3.0)
    return {"VV": co_polarised, "VH": cross_polarised, "HH": co_polarised, "HV": cross_polarised}


def change_map(target: Tensor, reference: Tensor) -> Tensor:
    """Return the signed change from the reference to the target date, halved so that it lies in [-1, 1] as both images do.

    The sign is always target date minus reference date, whichever of the two is earlier. (The code published with TSGAN
    keeps the sign of one direction for both.) The paper prints S2T2 - S1T1, a slip for S2T2 - S2T1.

    Args:
        target: (batch, band, y, x) float, [-1, 1].
        reference: Same shape and range.
    """
    return (target - reference) * 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """Linear maps between physical values and [-1, 1]. Values outside a range are clipped to it."""

    s1_ranges_db: Mapping[str, Range] = field(default_factory=_default_s1_ranges)
    """Lowest and highest backscatter per polarisation, dB."""
    s2_range: Range = (0.0, 1.0)
    """Lowest and highest reflectance, the same for all bands. (0, 0.3) spreads dark scenes more."""

    def __post_init__(self) -> None:
        for name, (low, high) in (*self.s1_ranges_db.items(), ("s2", self.s2_range)):
            if not low < high:
                raise RunError(f"scaling range of {name} is ({low}, {high}): the first value must be the lower one")

    def scale(self, values: Tensor, stack: Stack) -> Tensor:
        """Map physical values to [-1, 1].

        Args:
            values: (..., band, y, x) float, dB or reflectance by `stack.unit`. NaN stays NaN.
            stack: Says which band each channel is.
        """
        low, high = self._limits(stack, values)
        return ((values - low) * (2.0 / (high - low)) - 1.0).clamp(-1.0, 1.0)

    def unscale(self, values: Tensor, stack: Stack) -> Tensor:
        """Map network values back to dB or reflectance.

        Args:
            values: (..., band, y, x) float, [-1, 1]. NaN stays NaN.
            stack: Says which band each channel is.
        """
        low, high = self._limits(stack, values)
        return (values + 1.0) * ((high - low) * 0.5) + low

    def span(self, stack: Stack) -> tuple[float, ...]:
        """Return each band's width in physical units; a difference of 2 network units is one span."""
        return tuple(high - low for low, high in self._ranges(stack))

    def _ranges(self, stack: Stack) -> tuple[Range, ...]:
        if stack.sensor == "s2":
            return (self.s2_range,) * len(stack.bands)
        missing = [band for band in stack.bands if band not in self.s1_ranges_db]
        if missing:
            raise RunError(
                f"no scaling range for S1 {', '.join(missing)}; there is one for {', '.join(self.s1_ranges_db)}"
            )
        return tuple(self.s1_ranges_db[band] for band in stack.bands)

    def _limits(self, stack: Stack, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return low and high, each (band, 1, 1), on the device of `values`."""
        if values.ndim < 3 or values.shape[-3] != len(stack.bands):
            raise RunError(f"{stack.key} has bands {', '.join(stack.bands)}, but the array is {tuple(values.shape)}")
        limits = torch.tensor(self._ranges(stack), dtype=values.dtype, device=values.device)
        low, high = limits[:, :, None, None].unbind(dim=1)
        return low, high
