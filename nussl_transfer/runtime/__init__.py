"""Helpers for all other packages: files, locks, logs, devices, downloads, memory, signals, process groups, imports."""
