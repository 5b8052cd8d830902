"""Read, write, measure, transform and augment audio."""
