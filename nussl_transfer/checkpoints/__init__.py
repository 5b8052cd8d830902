"""Write, read and find checkpoints."""
