"""`s1s2 evaluate`: runs and baselines measured on one split."""
