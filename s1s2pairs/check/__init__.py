"""`s1s2 check`: whether a source behaves as a build relies on."""
