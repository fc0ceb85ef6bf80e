"""The work of `s1s2 build`: plan, fetch, filter, encode, write, and go on where it stopped."""
