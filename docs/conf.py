"""Sphinx: the pages of this folder, and the API from the docstrings."""

import os

import nussl_transfer

project = "nussl_transfer"
author = "nussl_transfer contributors"
copyright = author
release = version = nussl_transfer.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Shape"]
napoleon_use_rtype = False

# The build needs no network. DOCS_LINKS=1 links to the manuals of others, which are downloaded for it.
intersphinx_mapping = {}
if os.environ.get("DOCS_LINKS"):
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "torch": ("https://pytorch.org/docs/stable", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "nussl": ("https://nussl.github.io/docs", None),
    }

html_theme = "furo"
html_title = f"nussl_transfer {release}"
