"""Everything about this package is in setup.cfg."""

from setuptools import setup

setup()
