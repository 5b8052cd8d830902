"""Stage 9, separators: a checkpoint and audio give one signal a label, whatever the length.

    networks        a checkpoint's network, asked for one output
    chunks          frames through it in chunks, several at once, cross-faded
    estimation      `TransferMaskEstimation`, in the place of nussl's `DeepMaskEstimation` (chunked_mixin)
    clustering      `TransferDeepClustering`, in the place of nussl's `DeepClustering` (chunked_mixin)
    spectra         the STFT and its inverse, block by block
    streaming       one file, block by block, into one a label (writing, memory)
    batch           many files and folders (naming)
"""

from __future__ import annotations

from .batch import Separated, separate_files
from .clustering import TransferDeepClustering
from .estimation import TransferMaskEstimation
from .naming import safe_names
from .networks import refuse_untrained, run_network
from .streaming import FileSeparator, Request

__all__ = [
    "FileSeparator",
    "Request",
    "Separated",
    "TransferDeepClustering",
    "TransferMaskEstimation",
    "refuse_untrained",
    "run_network",
    "safe_names",
    "separate_files",
]
