"""Datasets of co-registered, multi-temporal Sentinel-1 / Sentinel-2 patches, from a list of places."""
