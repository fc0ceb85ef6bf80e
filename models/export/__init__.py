"""`s1s2 export`."""
