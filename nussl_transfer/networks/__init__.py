"""Build the network, freeze it, run it and take its losses."""
