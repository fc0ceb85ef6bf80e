"""A composite to be drawn as a layer of a web map, in plain values."""

from dataclasses import dataclass

from shapely.geometry.base import BaseGeometry

from ..acquisitions import SceneIds
from ..sensors import Sensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """One ROI, period and sensor."""

    outline: BaseGeometry
    """Ground to draw, lon/lat."""
    sensor: Sensor
    scenes: tuple[SceneIds, ...]
    """Of each acquisition."""
    bands: tuple[str, ...]
    """All bands of the composite."""
    shown: tuple[str, ...]
    """Those shown: one in grey, three in colour, or two of radar with their ratio as the third."""
    ranges: tuple[tuple[float, float], ...]
    """What is shown darkest and brightest, for each of them: reflectance x 10000, or dB."""
