"""Train a network: engines, schedule, validation, resuming."""
