"""The command that trains: `finetune`."""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError
from .options import add_device, add_seed, add_stem_options, stem_options, take
from .parsers import PROGRAM, Parser, integer, number
from .words import parse_list

MIXTURES = ("excerpt_seconds", "coherent")
TRAINING = (
    "iterations", "batch_size", "frozen", "learning_rate", "body_learning_rate", "phase_sensitive", "frame_step",
    "validate_every", "stop_after", "ema_decay", "accumulate", "device", "bf16", "workers", "tensorboard",
)  # fmt: skip


def finetune_parser() -> Parser:
    """Return the parser of `finetune`."""
    parser = Parser(
        "finetune",
        "STEMS --out RUN [options]",
        "Fine-tune a pretrained model on stems.\n\nThe same command again resumes an interrupted run.",
        "finetune my-stems --out run --iterations 400",
    )
    parser.add_argument("stems", metavar="STEMS", type=Path, help="folder of stems, or a store")
    add = parser.add_argument
    add("--out", metavar="RUN", type=Path, required=True, help="folder of the run")
    add("--checkpoint", metavar="MODEL", help="pretrained model: name, file, run; none: from scratch [body]")
    add("--like", metavar="MODEL", help="from scratch: the model whose layer sizes to copy [body]")
    add("--mode", choices=("whole", "mask"), help="train the whole network, or only its mask head [whole]")
    add("--iterations", metavar="N", type=integer(1, 10**9), help="number of batches [2000]")
    add("--batch-size", metavar="N", type=integer(1, 10**6), help="mixtures per batch [8]")
    seconds = number(0, 86_400, above=True)
    add("--excerpt-seconds", metavar="S", type=seconds, help="length of a mixture; the model's when not given")
    add("--coherent", metavar="SHARE", type=number(0, 1), help="share of mixtures with stems of one track [0.5]")
    add_stem_options(parser, "groups", "ignore")
    add("--frozen", metavar="LAYER,...", type=parse_list, help="layers to freeze, besides those of the mode")
    rate = number(0, 100, above=True)
    add("--learning-rate", metavar="X", type=rate, help="learning rate of Adam [0.001]")
    add("--body-learning-rate", metavar="X", type=rate, help="learning rate below the two heads, if another")
    add("--phase-sensitive", action="store_true", help="learn the part of a source in phase with the mixture")
    add("--frame-step", metavar="N", type=integer(1, 10**6), help="clustering loss at every N-th frame [4]; paper: 1")
    add("--validate-every", metavar="N", type=integer(1, 10**9), help="iterations between validations [100]")
    add("--stop-after", metavar="N", type=integer(), help="stop after N iterations without a better one; 0: never [0]")
    add("--ema-decay", metavar="X", type=number(0, 1, below=True), help="average the weights, e.g. 0.999; 0: off [0]")
    add("--accumulate", metavar="N", type=integer(1, 10**6), help="parts to compute a batch in, to save memory [1]")
    add("--folds", metavar="N", type=integer(2, 1000), help="cross-validate: N networks, each scored on other tracks")
    add("--repeats", metavar="N", type=integer(1, 1000), help="repeat the folds with other seeds [1]")
    add_seed(parser, "of new layers, mixtures, validation tracks")
    add_device(parser)
    add("--bf16", action="store_true", help="compute in bfloat16, where the device has it")
    add("--workers", metavar="N", type=integer(0, 1024), help="processes that load mixtures [1]")
    add("--tensorboard", action="store_true", help="write the curve for TensorBoard too")
    return parser


def finetune(stems: Path, out: Path, folds: int = 0, repeats: int = 1, **given) -> None:
    """Fine-tune, or cross-validate, and print what was written."""
    if repeats != 1 and not folds:
        raise ConfigError(f"--repeats {repeats} needs --folds. A single run needs no repeats: it draws new mixtures all the time.")
    if folds:
        cross_validate(stems, out, folds, repeats, arguments(given))
        return
    from ..checkpoints.checkpoint import read_info
    from ..pipelines.finetune import finetune

    run = finetune(stems, out, **arguments(given))
    print(f"Wrote {run.best}, which separates {', '.join(read_info(run.best).labels)}.")
    report = run.folder / "report.txt"
    if report.is_file():
        print(f"\n{report.read_text(encoding='utf-8')}", end="")
    else:
        print(f"Next: {PROGRAM} separate AUDIO --model {out} --out separated")


def cross_validate(stems: Path, out: Path, folds: int, repeats: int, how: dict) -> None:
    """Train a network for each fold, and print the table of scores."""
    from ..pipelines.cross_validation import cross_validate
    from ..report.text import folds_table, text_table

    scores = cross_validate(stems, out, folds, repeats=repeats, **how)
    print(f"{folds_table(scores)}\n\n{text_table(scores)}\n")
    print(f"Every score is in {out / 'scores.json'}. {scores['use']}")


def arguments(given: dict) -> dict:
    """Return the arguments of the package's `finetune` for the options that the user gave."""
    from ..mixing.config import MixtureConfig
    from ..pipelines.finetune import default_training

    others = {"workers": 1, **given}  # the package's own default, 0, also works in a script without a guard for spawning
    if others.get("checkpoint") == "none":
        others["checkpoint"] = None
    return {
        "training": default_training(**take(others, TRAINING)),
        "mixtures": MixtureConfig(**take(others, MIXTURES)),
        "options": stem_options(others),
        **others,
    }
