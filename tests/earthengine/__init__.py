"""A stand-in for Earth Engine on this machine, and the tests that need it."""
