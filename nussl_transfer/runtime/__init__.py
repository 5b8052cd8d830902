"""Serve every stage: files, locks, logs, devices, downloads, signals and process groups."""
