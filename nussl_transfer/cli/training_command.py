"""Stage 11, the command that trains: `finetune`. See `parsers`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ..errors import ConfigError
from .words import parse_groups, parse_list


def finetune(
    stems: Path,
    *,
    out: Path,
    from_: str = "body",
    like: str = "body",
    mode: Literal["whole", "mask"] = "whole",
    iterations: int = 2000,
    batch_size: int = 8,
    excerpt_seconds: float | None = None,
    coherent: float = 0.5,
    groups: str = "",
    ignore: str = "",
    freeze: str = "",
    learning_rate: float = 1e-3,
    body_learning_rate: float | None = None,
    phase_sensitive: bool = False,
    frame_step: int = 4,
    validate_every: int = 100,
    stop_after: int = 0,
    ema_decay: float = 0.0,
    accumulate: int = 1,
    folds: int = 0,
    repeats: int = 1,
    seed: int = 0,
    device: str = "cpu",
    bf16: bool = False,
    workers: int = 1,
    tensorboard: bool = False,
) -> None:
    """Fine-tunes a pretrained network on stems.

    The same command again goes on where a run was broken off.

    Args:
        stems: folder of stems, or a store
        out: folder of the run
        from_: model to start from: name, file, run, none
        like: model whose sizes a network from none has
        mode: train the whole network, or the mask head
        iterations: batches in all
        batch_size: mixtures a batch
        excerpt_seconds: length of a mixture; the source's when not given
        coherent: share of mixtures with stems of one track
        groups: stems to merge: male=tenor+bass,female=soprano+alto
        ignore: stems, files and folders to pass over: organ,piano
        freeze: layers to freeze besides those of the mode: a,b
        learning_rate: of Adam
        body_learning_rate: of all but the two heads, if another
        phase_sensitive: learn what of a source is in phase with the mixture
        frame_step: clustering loss at every N-th frame; paper: 1
        validate_every: iterations between validations
        stop_after: end when so long not better; 0: never
        ema_decay: average the weights, 0.999 say; 0: do not
        accumulate: parts a batch is computed in, to save memory
        folds: N networks, each scored on an N-th of the tracks
        repeats: of the folds, each with another seed
        seed: of new layers, mixtures, validation tracks
        device: cpu or cuda
        bf16: compute in bfloat16, where the device has it
        workers: processes that load
        tensorboard: write the curve for TensorBoard too

    Example:
        nussl-transfer finetune my-stems --out run --iterations 400
    """
    asked = dict(
        checkpoint=None if from_ == "none" else from_,
        like=like,
        mode=mode,
        groups=parse_groups(groups),
        ignore=parse_list(ignore),
        seed=seed,
    )
    training = dict(
        iterations=iterations,
        batch_size=batch_size,
        frozen=tuple(parse_list(freeze)),
        learning_rate=learning_rate,
        body_learning_rate=body_learning_rate,
        phase_sensitive=phase_sensitive,
        frame_step=frame_step,
        validate_every=validate_every,
        stop_after=stop_after,
        ema_decay=ema_decay,
        accumulate=accumulate,
        device=device,
        bf16=bf16,
        workers=workers,
        tensorboard=tensorboard,
    )
    mixtures = dict(excerpt_seconds=excerpt_seconds, coherent=coherent)
    if repeats != 1 and not folds:
        raise ConfigError(
            f"{repeats} repeats were asked for without folds. Give --folds too; one run needs no repeats, for its mixtures "
            "are drawn anew however few tracks there are."
        )
    if folds:
        _cross_validate(stems, out, folds, repeats, training, mixtures, asked)
    else:
        _finetune(stems, out, training, mixtures, asked)


def _finetune(stems: Path, out: Path, training: dict, mixtures: dict, asked: dict) -> None:
    from ..checkpoints.checkpoint import read_info
    from ..pipelines.finetune import default_mixtures, default_training, finetune

    how = {"training": default_training(**training), "mixtures": default_mixtures(**mixtures)}
    run = finetune(stems, out, **how, **asked)
    print(f"Wrote {run.best}, which separates {', '.join(read_info(run.best).labels)}.")
    print(f"Next: nussl-transfer separate AUDIO --model {out} --out separated")


def _cross_validate(
    stems: Path, out: Path, folds: int, repeats: int, training: dict, mixtures: dict, asked: dict
) -> None:
    from ..pipelines.cross_validation import cross_validate
    from ..pipelines.finetune import default_mixtures, default_training
    from ..report.text import folds_table, text_table

    how = {"training": default_training(**training), "mixtures": default_mixtures(**mixtures)}
    scores = cross_validate(stems, out, folds, repeats=repeats, **how, **asked)
    print(f"{folds_table(scores)}\n\n{text_table(scores)}\n")
    print(f"Every score is in {out / 'scores.json'}. For a network to use, train on all tracks: leave --folds out.")
