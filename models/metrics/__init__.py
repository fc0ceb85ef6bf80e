"""The formulas of the papers."""
