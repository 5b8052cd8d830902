"""Sphinx: the pages of this folder, and the API from the docstrings."""

import nussl_transfer

project = "nussl_transfer"
author = "nussl_transfer contributors"
copyright = author
release = version = nussl_transfer.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]

# Functions in the order of the file: the order of the way of the data.
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Shape"]
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"nussl_transfer {release}"
