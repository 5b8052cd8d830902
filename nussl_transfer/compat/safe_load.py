"""Load a checkpoint from a stranger: weights_only, with exactly the classes that a nussl checkpoint needs."""

from __future__ import annotations

import torch


def safe_load(path, map_location="cpu"):
    """Returns what the file at `path` holds; nothing outside the allow-list is ever run."""
    import nussl
    import numpy as np
    from nussl.datasets import transforms as t

    allowed = [nussl.STFTParams, t.Compose, t.MagnitudeSpectrumApproximation, t.MagnitudeWeights, t.ToSeparationModel,
               t.PhaseSensitiveSpectrumApproximation, t.SumSources, t.GetExcerpt, t.GetAudio, t.IndexSources,
               t.LabelsToOneHot, np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType, np.dtypes.Int64DType,
               (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"), np._core.multiarray.scalar]
    with torch.serialization.safe_globals(allowed):
        return torch.load(path, map_location=map_location, weights_only=True)
