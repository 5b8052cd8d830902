"""Serve all other rooms: files, locks, logs, devices, downloads, signals, process groups, deferred imports."""
