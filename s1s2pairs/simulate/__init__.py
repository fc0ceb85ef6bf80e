"""A procedural Earth, seen by a simulated Sentinel-1 and Sentinel-2 and written as a static STAC archive.

`world.simulate` is the entry point; docs/simulation.md tells what is in the world and what about it is not real.
"""
