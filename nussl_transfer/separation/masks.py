"""Separating by masks: nussl's `DeepMaskEstimation` in chunks, with names to the estimates."""

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
    """Separates with the masks of a checkpoint: nussl's `DeepMaskEstimation`, in chunks, with names to the estimates.

    The estimates are nussl's, and so are the arguments but ``chunk_seconds``, ``bf16`` and ``keep_rate``. A signal no
    longer than a chunk gives the very estimates of nussl; of a longer one the masks are cross-faded where chunks
    overlap. The embedding is computed only when `confidence` asks for it.

    Args:
        input_audio_signal: The mixture, of any sample rate and number of channels.
        model_path: Checkpoint of this package or of nussl.
        device: 'cpu' or 'cuda'.
        chunk_seconds: Length of a chunk; that of the mixtures the network was trained on when None.
        bf16: Whether the network multiplies in bfloat16.
        keep_rate: Whether the estimates come back at the sample rate of the signal given.
        **kwargs: Of nussl's `MaskSeparationBase`: ``mask_type`` 'soft' or 'binary', ``mask_threshold``.

    Attributes:
        labels: One name an estimate, in the order of the estimates.

    Raises:
        CheckpointError: The checkpoint has no mask head, or only a pretrained body under an untrained one.
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
        **kwargs,
    ):
        ours = {"chunk_seconds": chunk_seconds, "bf16": bf16, "keep_rate": keep_rate}
        super().__init__(input_audio_signal, model_path=model_path, device=device, **ours, **kwargs)

    def _check(self, model_path: str | Path, info: CheckpointInfo) -> None:
        require_trained_masks(model_path, info.mode, self.model)
        count = self.model.layers["mask"].embedding_size
        if len(info.labels) != count:
            raise CheckpointError(
                f"{model_path} names {len(info.labels)} sources and makes {count} masks. Fetch or make it again."
            )
        self.labels = info.labels

    def forward(self, **kwargs) -> np.ndarray:
        """Returns the masks.

        Shape:
            [nf, nt, nc, ns]
        """
        magnitude = self._get_input_data_for_model(**kwargs)["mix_magnitude"]  # [rows, nt, nf, nc]
        masks = self._run_chunks(magnitude, self._network("mask"))
        self.model_output = {"mask": masks}
        return self._in_nussls_order(masks)

    def confidence(self, approach: str = "silhouette_confidence", num_sources: int = 2, **kwargs) -> float:
        """Returns nussl's measure of how well the embedding clusters: of a longer signal, the mean over its chunks.

        Args:
            approach: Name of a function of ``nussl.ml.confidence``.
            num_sources: Number of clusters.
            **kwargs: Of that function.

        Raises:
            DataError: The signal is silent.
        """
        if self.model_output is None or "embedding" not in self.model.output_keys:
            return super().confidence(approach, num_sources, **kwargs)  # which says what is missing
        return self._mean_confidence(approach, num_sources, **kwargs)
