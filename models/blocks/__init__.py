"""Layers, losses and the adversarial step that networks share."""
