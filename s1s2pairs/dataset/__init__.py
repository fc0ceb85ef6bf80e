"""What lies on disk: rasters, patches, index, card, and whether they are whole."""
