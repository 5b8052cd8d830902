"""Basics that every other room uses: files, locks, logs, devices, downloads, memory, signals, process groups, imports."""
