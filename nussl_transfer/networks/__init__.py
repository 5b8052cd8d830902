"""Build networks, freeze their layers, run them and compute their losses."""
