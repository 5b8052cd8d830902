"""`TransferMaskEstimation`: nussl's separator `DeepMaskEstimation`, in chunks and with labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from nussl import AudioSignal
from nussl.separation.deep import DeepMaskEstimation

from ..checkpoints.checkpoint import CheckpointInfo
from ..errors import CheckpointError
from .ensemble import require_trained_masks
from .mixin import ChunkedMixin


class TransferMaskEstimation(ChunkedMixin, DeepMaskEstimation):
    """Separate with the masks of a checkpoint: nussl's `DeepMaskEstimation` in chunks, with labels.

    Besides nussl's arguments it takes ``chunk_seconds``, ``bf16``, ``keep_rate`` and ``high_band``. A signal no longer than
    a chunk gives exactly nussl's estimates; the masks of a longer signal are cross-faded where chunks overlap. The
    embedding is computed only for `confidence`.

    Args:
        input_audio_signal: The mixture, of any sample rate and number of channels.
        model_path: Checkpoint of this package or of nussl.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        chunk_seconds: Length of a chunk in seconds; None takes that of the training mixtures.
        bf16: Whether the network multiplies in bfloat16.
        keep_rate: Whether the estimates have the sample rate of the given signal instead of the model's.
        high_band: With ``keep_rate``, whether they get their share of the signal above the model's band; see
            `nussl_transfer.separation.high_band`.
        **kwargs: Arguments of nussl's `MaskSeparationBase`: ``mask_type`` 'soft' or 'binary', ``mask_threshold``.

    Attributes:
        labels: The names of the sources, in the order of the estimates.

    Raises:
        CheckpointError: The checkpoint has no trained mask head.
    """

    labels: tuple[str, ...] = ()

    def __init__(
        self,
        input_audio_signal: AudioSignal,
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
            model_path=model_path,
            device=device,
            chunk_seconds=chunk_seconds,
            bf16=bf16,
            keep_rate=keep_rate,
            high_band=high_band,
            **kwargs,
        )

    def _check(self, model_path: str | Path, info: CheckpointInfo) -> None:
        require_trained_masks(model_path, info.mode, self.model)
        count = self.model.layers["mask"].embedding_size
        if len(info.labels) != count:
            raise CheckpointError(
                f"{model_path} is damaged: it has {len(info.labels)} labels and {count} masks. Download or train it again."
            )
        self.labels = info.labels

    def forward(self, **kwargs: object) -> np.ndarray:
        """Return the masks.

        Shape:
            [nf, nt, nc, ns]
        """
        magnitude = self._get_input_data_for_model(**kwargs)["mix_magnitude"]  # [rows, nt, nf, nc]
        masks = self._run_chunks(magnitude, self._network("mask"))
        self.model_output = {"mask": masks}
        return self._in_nussls_order(masks)

    def confidence(self, approach: str = "silhouette_confidence", num_sources: int = 2, **kwargs: object) -> float:
        """Return nussl's measure of how well the embedding clusters; for a long signal, the mean over its chunks.

        Args:
            approach: Name of a function of ``nussl.ml.confidence``.
            num_sources: Number of clusters.
            **kwargs: Arguments of that function.

        Raises:
            DataError: The signal is silent.
        """
        if self.model_output is None or "embedding" not in self.model.output_keys:
            return super().confidence(approach, num_sources, **kwargs)  # which reports what is missing
        return self._mean_confidence(approach, num_sources, **kwargs)
