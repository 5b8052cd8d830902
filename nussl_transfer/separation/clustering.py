"""`TransferDeepClustering`: nussl's separator `DeepClustering`, in chunks that share the same clusters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from nussl import AudioSignal
from nussl.core.masks import MaskBase
from nussl.separation.deep import DeepClustering

from ..checkpoints.checkpoint import CheckpointInfo
from .ensemble import require_output
from .mixin import ChunkedMixin

# Largest number of loud points of one chunk that clusters are fitted to; a tenth of the points of ten seconds are 32,000.
POINTS = 40_000


class TransferDeepClustering(ChunkedMixin, DeepClustering):
    """Separate by clusters of a pretrained network's embedding: nussl's `DeepClustering` in chunks.

    Clusters are fitted once per signal, to the loud points of at most 16 chunks spread over it. Then the points of every
    chunk are assigned to these clusters. So a source keeps its number in the whole signal, and memory holds the embedding
    of one batch only. A signal no longer than a chunk gives exactly nussl's estimates.

    Args:
        input_audio_signal: The mixture, of any sample rate and number of channels.
        num_sources: How many sources to find.
        model_path: Checkpoint with an embedding, such as a pretrained model.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        chunk_seconds: Length of a chunk in seconds; None takes that of the training mixtures.
        bf16: Whether the network multiplies in bfloat16.
        keep_rate: Whether the estimates have the sample rate of the given signal instead of the model's.
        high_band: With ``keep_rate``, whether they get their share of the signal above the model's band; see
            `nussl_transfer.separation.high_band`.
        **kwargs: Arguments of nussl's `ClusteringSeparationBase` and its clusterer.

    Raises:
        CheckpointError: The checkpoint has no embedding.
    """

    BATCH_DIVISOR = 2  # an embedding has twenty numbers per point

    # nussl sets these.
    fit_clusterer: bool
    tf_point_over_cutoff: np.ndarray

    def __init__(
        self,
        input_audio_signal: AudioSignal,
        num_sources: int,
        model_path: str | Path | None = None,
        device: str = "cpu",
        *,
        chunk_seconds: float | None = None,
        bf16: bool = False,
        keep_rate: bool = False,
        high_band: bool = True,
        **kwargs: object,
    ):
        super().__init__(
            input_audio_signal,
            num_sources,
            model_path=model_path,
            device=device,
            chunk_seconds=chunk_seconds,
            bf16=bf16,
            keep_rate=keep_rate,
            high_band=high_band,
            **kwargs,
        )

    def _check(self, model_path: str | Path, info: CheckpointInfo) -> None:
        require_output(model_path, self.model, "embedding")

    def extract_features(self, **kwargs: object) -> np.ndarray:
        """Return the embedding of the whole signal; unlike in `run`, memory grows with the signal.

        Shape:
            [nf, nt, nc, D]
        """
        magnitude = self._get_input_data_for_model(**kwargs)["mix_magnitude"]
        return self._in_nussls_order(self._run_chunks(magnitude, self._network("embedding")))

    def run(self, features: np.ndarray | None = None, **kwargs: object) -> list[MaskBase]:
        """Return the masks of the clusters.

        Args:
            features: An embedding to cluster, [nf, nt, nc, D]; None computes it with the network.
            **kwargs: Merged with the network's input.
        """
        if features is None:
            magnitude = self._get_input_data_for_model(**kwargs)["mix_magnitude"]  # [rows, nt, nf, nc]
            if magnitude.shape[1] > self.chunking.frames:
                return self._run_long(magnitude)
            features = self._in_nussls_order(self._network("embedding")(magnitude))
        elif self.stft is None:
            self.stft = self.audio_signal.stft()
        self._find_loud_points()
        return super().run(features)

    def confidence(self, approach: str = "silhouette_confidence", **kwargs: object) -> float:
        """Return nussl's measure of how well the embedding clusters; for a long signal, the mean over its chunks.

        Args:
            approach: Name of a function of ``nussl.ml.confidence``.
            **kwargs: Arguments of that function.

        Raises:
            DataError: The signal is silent.
        """
        if self.features is None and self.result_masks:
            return self._mean_confidence(approach, self.num_sources, **kwargs)
        return super().confidence(approach, **kwargs)

    def _preprocess_audio_signal(self) -> None:
        super()._preprocess_audio_signal()
        self.features = None

    def _find_loud_points(self) -> None:
        """Set the points that nussl fits clusters to: those of the spectrogram above a percentile."""
        loudness = np.abs(self.audio_signal.stft_data)
        self.cutoff = np.percentile(loudness, self.percentile)
        self.tf_point_over_cutoff = loudness >= self.cutoff

    def _run_long(self, magnitude: torch.Tensor) -> list[MaskBase]:
        self._find_loud_points()
        if self.fit_clusterer:
            self.clusterer.fit(self._loud_points(magnitude))
        shares = self._in_nussls_order(self._run_chunks(magnitude, self._assigned))  # [nf, nt, nc, ns]
        if self.mask_type == self.MASKS["binary"]:
            shares = shares == shares.max(axis=-1, keepdims=True)
        self.result_masks = [self.mask_type(shares[..., number]) for number in range(shares.shape[-1])]
        return self.result_masks

    def _loud_points(self, magnitude: torch.Tensor) -> np.ndarray:
        """Return the embedding at loud points of chunks spread over the signal, [points, D]."""
        points = []
        for chunk in self._sampled(magnitude) or [slice(0, self.chunking.frames)]:
            features = self._in_nussls_order(self._network("embedding")(magnitude[:, chunk]))
            loud = features[self.tf_point_over_cutoff[:, chunk]]  # [n, D]
            points.append(loud[:: max(1, -(-len(loud) // POINTS))])
        return np.concatenate(points)

    def _assigned(self, magnitude: torch.Tensor) -> torch.Tensor:
        """Return each cluster's share of each point, [nb, n, nf, nc, ns]."""
        features = self._network("embedding")(magnitude).cpu().numpy()
        fit, loud = self.fit_clusterer, self.tf_point_over_cutoff
        # Call nussl's own method, but without fitting.
        self.fit_clusterer, self.tf_point_over_cutoff = False, np.zeros(features.shape[:-1], dtype=bool)
        try:
            return torch.from_numpy(self.cluster_features(features, self.clusterer).astype(np.float32))
        finally:
            self.fit_clusterer, self.tf_point_over_cutoff = fit, loud
