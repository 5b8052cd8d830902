"""Separate audio with a checkpoint."""
