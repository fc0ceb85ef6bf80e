"""`s1s2 translate`: whole scenes through a trained network."""
