"""A STAC catalogue, on disk or behind an API, as a source: items are found there, files read on this machine."""
