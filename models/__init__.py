"""Networks that translate between radar and optical images, and all that trains, judges and applies them.

Data goes one way, and each step has its modules:

- what a network does: `task`, `scaling`; the seam to everything else: `translator`
- networks: `zoo`, `networks/`, made of `layers`, `losses`, `adversarial`; without training: `baselines`
- samples: `cache` (packed once), `data` (one task, one split), `loader` (batches)
- training: `train` (the loop), begun by `start` from `settings` on `hardware`, shown by `monitor`, guarded by `watch`, judged
  by `validation`
- what a run leaves: `run` (its record), `checkpoint`, `optimizer_state`, `pictures`
- evaluation: `evaluate`, with `contest` (who against whom), `metrics`, `ssim`, `change` (where the ground changed), `tally`
  (images to numbers), `results`, `metric_names`, `tables`, `report`
- whole scenes: `translate`, with `scene` (reads) and `blend` (windows without seams)
"""
