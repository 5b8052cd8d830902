"""Train a network: engine, optimizer, learning rate, validation, checkpoints, resuming."""
