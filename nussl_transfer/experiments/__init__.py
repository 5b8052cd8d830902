"""Experiments: what is trained, how, and from where, as a YAML file that is a difference from another.

    sections.py     what an experiment says; the defaults are the paper's
    schema.py       the sections as a tree of keys
    checking.py     keys and values of a file held to that tree
    reading.py      files, the files they are differences from, and overrides
    conducting.py   stores, network, training
"""

from .conducting import conduct, excerpts_of, open_stores, plan_of
from .reading import read_experiment
from .sections import (
    DataConfig,
    Experiment,
    Iterations,
    NetworkConfig,
    StartConfig,
    StoreConfig,
    TestConfig,
    TrainingConfig,
)

__all__ = [
    "DataConfig",
    "Experiment",
    "Iterations",
    "NetworkConfig",
    "StartConfig",
    "StoreConfig",
    "TestConfig",
    "TrainingConfig",
    "conduct",
    "excerpts_of",
    "open_stores",
    "plan_of",
    "read_experiment",
]
