"""Stage 9, separators: a checkpoint and audio give one signal a label."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import nussl
import soundfile
import soxr
import torch
from tqdm import tqdm

from .audio import read
from .checkpoints import read_info
from .errors import CheckpointError, DataError
from .files import written_aside
from .freezing import outputs_only


def refuse_untrained(path: str | Path, mode: str, model: nussl.ml.SeparationModel) -> None:
    """Raises CheckpointError where a checkpoint has no mask head, or one that was never trained.

    Args:
        path: The checkpoint, for the message.
        mode: How it was trained, as in its `CheckpointInfo`.
        model: Its network.
    """
    if mode == "pretrain":
        raise CheckpointError(
            f"{path} was asked for masks: it is a pretrained body, whose mask head was never trained. Fine-tune it "
            f"first (`nussl-transfer finetune STEMS --from {path} --out RUN`); as it is, only "
            "nussl.separation.deep.DeepClustering can use it."
        )
    if "mask" not in model.output_keys:
        raise CheckpointError(
            f"{path} was asked for masks: its network {model.config['name']!r} gives {', '.join(model.output_keys)}. "
            "Take a checkpoint with a mask head."
        )


class TransferMaskEstimation(nussl.separation.deep.DeepMaskEstimation):
    """Separates with the masks of a fine-tuned checkpoint: nussl's `DeepMaskEstimation`, with names to the estimates.

    The arguments and the estimates are nussl's. ``model_output`` holds the mask alone; `confidence` asks for the
    embedding when it is called.

    Attributes:
        labels: One name an estimate, in the order of the estimates.

    Raises:
        CheckpointError: The checkpoint has no mask head, or only a pretrained body under an untrained one.
    """

    labels: tuple[str, ...] = ()

    def load_model(self, model_path: str | Path, device: str = "cpu") -> None:
        """Loads the checkpoint and its labels."""
        info = read_info(model_path)
        super().load_model(str(model_path), device=device)
        refuse_untrained(model_path, info.mode, self.model)
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
        with outputs_only(self.model, ["mask"]):
            return super().forward(**kwargs)

    def confidence(self, *args, **kwargs) -> float:
        """Returns nussl's measure of how well the embedding clusters; see `DeepMaskEstimation.confidence`."""
        if self.model_output is not None and "embedding" in self.model.output_keys:
            with torch.no_grad():
                self.model_output = self.model(self.input_data)
        return super().confidence(*args, **kwargs)


def separate_files(
    audio_paths: Sequence[str | Path],
    model: str | Path,
    out: str | Path,
    keep_rate: bool = False,
    device: str = "cpu",
    progress: bool = True,
) -> dict[Path, dict[str, Path]]:
    """Separates audio files into ``<out>/<name of the file>/<label>.wav`` and returns what was written.

    A file that cannot be separated does not stop the others: the error comes at the end and lists all such files.

    Args:
        audio_paths: Files that libsndfile reads, of any sample rate and number of channels.
        model: Checkpoint.
        out: Folder to write into; made when absent.
        keep_rate: Write at each file's own rate instead of the model's. Above half the model's rate there is nothing.
        device: 'cpu' or 'cuda'.
        progress: Show a progress bar.

    Returns:
        For each file, the path written for each label: float32 WAV with the channels of the file.

    Raises:
        CheckpointError: The checkpoint cannot be read or has no trained mask head.
        DataError: Two files would be written to one folder (nothing is done), or some files could not be separated.
    """
    folders = _output_folders(audio_paths, Path(out))
    # nussl's separators want a signal to be born with; each file's takes its place.
    birth = nussl.AudioSignal(audio_data_array=np.zeros((1, 4096), np.float32), sample_rate=16000)
    separator = TransferMaskEstimation(birth, model_path=model, device=device)
    written, failed = {}, []
    for path, folder in tqdm(folders.items(), desc="separating", unit="file", disable=None if progress else True):
        try:
            estimates, rate = _separate(separator, path, keep_rate)
        except DataError as error:
            failed.append(str(error))
            continue
        names = safe_names(list(estimates))
        written[path] = {}
        for label, audio in estimates.items():
            target = folder / f"{names[label]}.wav"
            with written_aside(target) as aside:
                soundfile.write(aside, audio.T, rate, format="WAV", subtype="FLOAT")  # [frames, nc]
            written[path][label] = target
    if failed:
        raise DataError(
            f"{len(folders)} files were to be separated, {len(failed)} could not be:\n  "
            + "\n  ".join(failed)
        )
    return written


def safe_names(labels: Sequence[str]) -> dict[str, str]:
    """Returns a file name for each label, none of which leaves its folder or meets another.

    A checkpoint comes from a stranger, and so do its labels.

    >>> safe_names(["violin", "../../x", "a/b", "a_b"])
    {'violin': 'violin', '../../x': '_.._x', 'a/b': 'a_b', 'a_b': 'a_b_2'}
    """
    names: dict[str, str] = {}
    for label in labels:
        # Letters of any script, digits and a few harmless marks stay. A leading dot would hide the file.
        name = re.sub(r"[^\w .,+&()'-]", "_", str(label)).strip(" .")[:100] or "source"
        taken = {other.casefold() for other in names.values()}
        base, number = name, 2
        while name.casefold() in taken:
            name, number = f"{base}_{number}", number + 1
        names[label] = name
    return names


def _output_folders(audio_paths: Sequence[str | Path], out: Path) -> dict[Path, Path]:
    paths = list(dict.fromkeys(Path(path) for path in audio_paths))
    folders = {path: out / next(iter(safe_names([path.stem]).values())) for path in paths}
    for folder in folders.values():
        same = [str(path) for path in paths if folders[path] == folder]
        if len(same) > 1:
            raise DataError(
                f"{' and '.join(same)} would all be written to {folder}. Rename them, or separate them into "
                "different folders."
            )
    return folders


def _separate(
    separator: TransferMaskEstimation, path: Path, keep_rate: bool
) -> tuple[dict[str, np.ndarray], int]:
    """Returns each label's estimate [nc, frames] of one file, and their sample rate."""
    audio, file_rate = read(path)  # [nc, frames]
    channels, frames = audio.shape
    wanted = separator.metadata["num_channels"]
    if wanted not in (1, channels):
        raise DataError(
            f"{path} has {channels} channels: the checkpoint separates {wanted} together. Give it such a file."
        )
    rate = separator.metadata["sample_rate"]
    audio = soxr.resample(audio.T, file_rate, rate).T if rate != file_rate else audio
    length = audio.shape[1]
    # SciPy's STFT needs one whole window.
    window = separator.metadata["stft_params"].window_length
    audio = np.pad(audio, ((0, 0), (0, max(0, window - length))))
    signal = nussl.AudioSignal(
        audio_data_array=audio, sample_rate=rate, stft_params=separator.metadata["stft_params"]
    )
    estimates = {
        label: estimate.audio_data[:, :length].astype(np.float32)
        for label, estimate in zip(separator.labels, separator(audio_signal=signal), strict=True)
    }
    if keep_rate and rate != file_rate:
        # Resampling there and back may gain or lose a sample at the end.
        back = {
            label: soxr.resample(audio.T, rate, file_rate).T[:, :frames] for label, audio in estimates.items()
        }
        estimates = {
            label: np.pad(audio, ((0, 0), (0, frames - audio.shape[1]))) for label, audio in back.items()
        }
    return estimates, file_rate if keep_rate else rate
