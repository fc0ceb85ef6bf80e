"""Datasets of co-registered, multi-temporal Sentinel-1 / Sentinel-2 patches, from a list of places.

Data goes one way, and each step has its modules:

- what is wanted: `recipe` (places and rules), `recipe_parser` (its text), `subject` (a recipe's or a lock's file)
- words shared by all: `bands`, `errors`, `files`
- what there is: `sources/` (the seam, Earth Engine, STAC), `acquisition` (scenes of one overflight), `geometry` (orbits)
- what is chosen, without I/O: `grid`, `optical`, `orbit`, `window`, `plan`; asking and choosing together: `search`, `planning`
- pixels: `compositing` (mean and median), `despeckle` (spatial filters), `rasters` (COGs), `patches` (windows)
- the work: `build`, of `units` done as `tasks` in a `pool`, taken up again by `resume`, kept in `storage`, shown by `progress`
- what is left: `index` with its `rows`, `card`; checked by `verify`
- to look at: `summary` (text); `report` with `charts`, `thumbnails`, `locator`, `verdicts`, `colours`; `map` with
  `overlays`
- a source tried before a build: `check`, with its `findings`
- a world to try it on: `simulate/`
"""
