"""Layers and losses that three or more networks share."""
