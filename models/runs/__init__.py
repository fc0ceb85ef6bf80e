"""What a run is on disk: its record, settings and checkpoints."""
