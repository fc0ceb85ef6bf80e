"""Patches that are left out of a dataset because they hold too few valid pixels."""

from collections.abc import Mapping
from typing import Any

from ..errors import DatasetError
from .layout import CARD_FILE
from .patches import patch_id
from .units import Unit, UnitRecord

CARD_LEFT_OUT_KEY = "s1s2:left_out"

LeftOut = Mapping[str, Mapping[str, float]]
"""Name of a patch -> raster path -> part of the patch's pixels that are valid there."""


def left_out(records: Mapping[Unit, UnitRecord]) -> LeftOut:
    """Return the patches that hold fewer valid pixels than their recipe's `min_valid_fraction` in any sensor and period.

    Args:
        records: Of every unit of the ROIs that are whole.
    """
    fractions: dict[str, dict[str, float]] = {}
    least: dict[str, float] = {}
    for unit, record in records.items():
        for window, patch in zip(unit.windows, record.patches, strict=True):
            name = patch_id(unit.roi.name, window)
            fractions.setdefault(name, {})[unit.raster_path] = patch.valid_fraction
            least[name] = unit.roi.settings.min_valid_fraction
    return {name: held for name, held in fractions.items() if min(held.values()) < least[name]}


def left_out_of_card(card: Mapping[str, Any]) -> LeftOut:
    """Return the patches that a card says were left out; none in a card that was written before there were any.

    Raises:
        DatasetError: The card is damaged there.
    """
    stated = card.get(CARD_LEFT_OUT_KEY, {})
    try:
        return {str(name): {str(path): float(f) for path, f in held.items()} for name, held in stated.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{CARD_FILE}: `{CARD_LEFT_OUT_KEY}` is damaged ({error}); build the dataset again"
        ) from error
