"""`s1s2 train`."""
