"""Score checkpoints on fixed excerpts."""
