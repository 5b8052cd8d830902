"""Load files from strangers without running anything in them."""
