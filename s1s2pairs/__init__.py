"""Datasets of co-registered, multi-temporal Sentinel-1 / Sentinel-2 patches, from a list of places.

Data goes one way: recipe -> sources -> plan -> dataset <- build, report. Each is a folder, and a command is a folder too.
"""
