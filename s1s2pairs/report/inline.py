"""What stands inside every HTML page instead of beside it: the style sheet, and pictures as data URIs."""

import base64
import io
from importlib.resources import files
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LOSSLESS_PX: Final = 100
"""Pictures with fewer pixels a side are PNG: enlarged on the page, JPEG's blocks would show."""
MISSING_RGB: Final = (128, 124, 148)
"""Colour of pixels without a value: a violet grey that no stretch gives to a natural surface."""


def style_sheet() -> str:
    """Return the CSS that all pages share; each adds its own behind it."""
    return (files(__package__) / "page.css").read_text(encoding="utf-8")


def data_uri(pixels: NDArray[np.uint8], *, quality: int, kind: str | None = None) -> str:
    """Return a picture as a data URI.

    Args:
        pixels: (y, x) uint8 in grey, or (y, x, colour) with three colours, or four where the last is opacity.
        quality: 0 to 100, of a picture that is not PNG.
        kind: `png`, `jpeg` or `webp`; none means PNG below `LOSSLESS_PX` pixels a side, else JPEG.
    """
    kind = kind or ("png" if max(pixels.shape[:2]) < LOSSLESS_PX else "jpeg")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, quality=quality, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
