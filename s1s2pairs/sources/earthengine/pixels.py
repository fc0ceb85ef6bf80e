"""A composite computed on Earth Engine, asked for window by window."""

import io
from dataclasses import dataclass
from tokenize import TokenError
from typing import Any

import ee
import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from .limits import Block
from .retry import DamagedReply


@dataclass(frozen=True, kw_only=True, slots=True)
class Composite:
    """An image to compute, and how it arrives."""

    label: str
    """For messages."""
    expression: Any
    """An `ee.Image` without masked pixels, every band of `dtype`."""
    bands: tuple[str, ...]
    dtype: np.dtype[Any]

    def compute(self, grid: GeoBox, window: Block) -> NDArray[Any]:
        """Compute a window of `grid`: one request.

        Returns:
            (band, y, x) of `dtype`.

        Raises:
            DamagedReply: The reply was cut short, or is something else.
        """
        affine = grid[window.slices].transform
        reply = ee.data.computePixels(
            {
                "expression": self.expression,
                "fileFormat": "NPY",
                "bandIds": list(self.bands),
                "grid": {
                    "dimensions": {"width": window.width, "height": window.height},
                    "affineTransform": {
                        "scaleX": affine.a,
                        "shearX": affine.b,
                        "translateX": affine.c,
                        "shearY": affine.d,
                        "scaleY": affine.e,
                        "translateY": affine.f,
                    },
                    "crsCode": str(grid.crs),
                },
            }
        )
        return self._decode(reply, (window.height, window.width))

    def _decode(self, reply: bytes, shape: tuple[int, int]) -> NDArray[Any]:
        """Read an NPY reply, a structured array with a field per band."""
        try:
            table = np.lib.format.read_array(io.BytesIO(reply), allow_pickle=False)
            pixels = np.stack([table[band].astype(self.dtype, copy=False) for band in self.bands])
        except (ValueError, EOFError, OSError, IndexError, TypeError, MemoryError, TokenError) as error:
            raise DamagedReply(f"a reply of {len(reply)} bytes is no image") from error
        if pixels.shape[1:] != shape:
            raise DamagedReply(f"the reply holds an image of shape {pixels.shape[1:]}, not {shape}")
        return pixels
