"""Sphinx: the pages of this folder, and the API from the docstrings."""

import logging
import os
import sys
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"  # no progress bars in the output of the tutorial

import nussl_transfer  # noqa: E402

HERE = Path(__file__).parent
sys.path += [str(HERE.parent), str(HERE / "tutorial")]  # the tutorial imports recipes and player

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
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "tutorial"]

for name in ("nussl_transfer", "ignite"):  # what the tutorial logs would go to the terminal
    logging.getLogger(name).setLevel(logging.WARNING)

# The tutorial is executed, into a page with its output. An error in it ends the build.
# The folder of the checkout may have a space in its name; no link of the pages does.
suppress_warnings = ["sphinx_gallery.space_in_filename"]
sphinx_gallery_conf = {
    "examples_dirs": "tutorial",
    "gallery_dirs": "_tutorial",
    "filename_pattern": "first_separator",
    "ignore_pattern": "player",
    "capture_repr": ("_repr_html_",),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "notebook_extensions": set(),
    "write_computation_times": False,
    "show_signature": False,
}

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
html_static_path = ["_static"]
html_css_files = ["tutorial.css"]
html_title = f"nussl_transfer {release}"
