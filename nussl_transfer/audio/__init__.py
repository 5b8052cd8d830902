"""Read, write, transform and augment audio."""
