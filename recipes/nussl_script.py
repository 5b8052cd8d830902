"""Pretrain, fine-tune and separate in nussl's own terms: its hooks, transforms, closures, trainer, handlers and separators.

    python recipes/nussl_script.py pretraining-stems my-stems song.wav --out nussl-run

Each folder holds one folder per track with one file per stem, and every track has the same stems. The sizes below are for
a quick try on a CPU: the paper trains 4 layers of 500 units for 10,000 and 2,000 iterations of 24 mixtures of 10 s.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nussl_transfer  # isort: skip  # noqa: F401  import it before nussl: it repairs nussl and registers its parts there
import nussl
import torch
from nussl.datasets import transforms as tfm

from nussl_transfer.networks.chimera import transplant
from nussl_transfer.networks.freezing import trainable_parameters
from nussl_transfer.training.autoclip import AutoClip

STFT = nussl.STFTParams(window_length=512, hop_length=128, window_type="sqrt_hann")
SAMPLE_RATE = 16000  # Hz
SECONDS = 2.0  # length of a mixture
FRAMES = round(SECONDS * SAMPLE_RATE / STFT.hop_length)


def load_data(folder: Path, cache: Path) -> nussl.datasets.StemFolder:
    """Return a data set of spectrogram excerpts; the spectra are computed once and cached."""
    spectra = [tfm.MagnitudeSpectrumApproximation(), tfm.MagnitudeWeights(), tfm.ToSeparationModel()]
    return nussl.datasets.StemFolder(
        str(folder),
        transform=tfm.Compose([*spectra, tfm.Cache(str(cache), overwrite=True), tfm.GetExcerpt(FRAMES)]),
        sample_rate=SAMPLE_RATE,
        stft_params=STFT,
        num_channels=1,
        strict_sample_rate=False,
        cache_populated=False,
    )


def train(model, mode: str, data, out: Path, iterations: int, batch_size: int) -> Path:
    """Train in one of the paper's modes with nussl's trainer; return the checkpoint with the lowest loss."""
    optimizer = torch.optim.Adam(trainable_parameters(model, mode), lr=1e-3)
    autoclip = AutoClip(trainable_parameters(model, mode), percentile=10)
    closure = nussl.ml.train.closures.TransferClosure(optimizer, model, mode=mode)
    validation = nussl.ml.train.closures.TransferValidationClosure(model, mode=mode)
    trainer, validator = nussl.ml.train.create_train_and_validation_engines(closure, validation, device="cpu")
    loader = torch.utils.data.DataLoader(data, batch_size=batch_size, shuffle=True, drop_last=len(data) >= batch_size)
    # This validates on the training data. If you have held-out tracks, give their data set instead.
    nussl.ml.train.add_validate_and_checkpoint(str(out), model, optimizer, data, trainer, loader, validator)
    trainer.add_event_handler(nussl.ml.train.BackwardsEvents.BACKWARDS_COMPLETED, lambda engine: autoclip())
    nussl.ml.train.add_stdout_handler(trainer, validator)
    trainer.run(loader, max_epochs=max(1, iterations // len(loader)))
    return out / "checkpoints" / "best.model.pth"


def main(argv: list[str] | None = None) -> list[Path]:
    """Run the pipeline; return the files of the separated stems."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pretraining_stems", type=Path, help="folder of stems of any music, plenty of it")
    parser.add_argument("stems", type=Path, help="folder of stems of the music in question")
    parser.add_argument("song", type=Path, help="audio file to separate")
    parser.add_argument("--out", type=Path, default=Path("nussl-run"))
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--hidden-size", type=int, default=128)
    parser.add_argument("--num-layers", type=int, default=2)
    args = parser.parse_args(argv)

    # Pretrain the body and the embedding head. Deep clustering works for any sources, and any number of them.
    music = load_data(args.pretraining_stems, args.out / "cache" / "pretraining")
    build = nussl.ml.networks.builders.build_transfer_chimera
    model = nussl.ml.SeparationModel(build(num_sources=2, hidden_size=args.hidden_size, num_layers=args.num_layers))
    pretrained = train(model, "pretrain", music, args.out / "pretrained", args.iterations, args.batch_size)

    # Put a new mask head on the pretrained body and fine-tune the whole network.
    stems = load_data(args.stems, args.out / "cache" / "stems")
    labels = stems.labels
    body = nussl.ml.SeparationModel.load(str(pretrained))[0]
    model, report = transplant(body, labels)
    print(report)
    finetuned = train(model, "whole", stems, args.out / "finetuned", args.iterations, args.batch_size)

    # Separate with nussl's own separator, whose estimates come in alphabetical order of the labels.
    song = nussl.AudioSignal(str(args.song), sample_rate=SAMPLE_RATE)
    song.to_mono(overwrite=True)
    estimates = nussl.separation.deep.DeepMaskEstimation(song, model_path=str(finetuned))()
    written = []
    for label, estimate in zip(labels, estimates, strict=True):
        estimate.write_audio_to_file(str(args.out / f"{label}.wav"))
        written.append(args.out / f"{label}.wav")
    return written


if __name__ == "__main__":
    main()
