"""Check a folder of stems before training."""
