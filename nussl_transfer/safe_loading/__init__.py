"""Load files from strangers without running code in them."""
