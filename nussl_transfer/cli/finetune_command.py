"""The command that trains: `finetune`."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .options import add_device, add_folders, add_seed, add_stem_options, one_or_all, stem_options, take
from .parsers import PROGRAM, Parser, integer, number
from .words import parse_list, semitones, tempo

if TYPE_CHECKING:
    from argparse import _ActionsContainer as Group

MIXTURES = ("excerpt_seconds", "coherent", "sounding", "pitch", "stretch", "transpose", "gain_db", "timbre", "eq_db")
TRAINING = (
    "iterations", "batch_size", "frozen", "learning_rate", "body_learning_rate", "phase_sensitive", "frame_step",
    "dc_weight", "weight_decay", "warmup_iterations", "thaw_after", "choose_by", "validate_every", "stop_after",
    "ema_decay", "accumulate", "head_mixtures", "device", "bf16", "workers", "tensorboard",
)  # fmt: skip


def finetune_parser() -> Parser:
    """Return the parser of `finetune`."""
    parser = Parser(
        "finetune",
        "STEMS --out RUN [options]",
        "Fine-tune a pretrained model on stems.\n\nThe same command again resumes an interrupted run.",
        "finetune my-stems --out run --iterations 400",
    )
    add_folders(parser, "stems", "STEMS", "folder of stems, stem list (.csv) or store")
    parser.add_argument("--out", metavar="RUN", type=Path, required=True, help="folder of the run")
    _add_model_options(parser.add_argument_group("model"))
    stems = parser.add_argument_group("stems")
    add_stem_options(stems, "groups", "ignore", "dataset", "options", "silent", "missing", "rest", "use_mixtures")
    _add_mixture_options(parser.add_argument_group("mixtures"))
    _add_training_options(parser.add_argument_group("training"))
    testing = parser.add_argument_group("cross-validation")
    testing.add_argument(
        "--folds", metavar="N", type=integer(2, 1000), help="train N networks, each scored on other tracks"
    )
    testing.add_argument("--repeats", metavar="N", type=integer(1, 1000), help="repeat the folds with other seeds [1]")
    testing.add_argument("--test", metavar="STEMS", type=Path, help="score the ensemble of all networks on these stems")
    computing = parser.add_argument_group("computing")
    add_device(computing)
    computing.add_argument("--bf16", action="store_true", help="compute in bfloat16, where the device has it")
    computing.add_argument("--workers", metavar="N", type=integer(0, 1024), help="processes that load mixtures [1]")
    computing.add_argument("--tensorboard", action="store_true", help="write the curve for TensorBoard too")
    return parser


def _add_model_options(group: Group) -> None:
    add = group.add_argument
    add("--checkpoint", metavar="MODEL", help="pretrained model (name, file, run); none: train from scratch [body]")
    add("--like", metavar="MODEL", help="with none: copy the layer sizes of this model [body]")
    add("--mode", choices=("whole", "mask"), help="train everything, or the mask head only [whole]")
    add("--frozen", metavar="LAYER,...", type=parse_list, help="layers to freeze, besides those of the mode")


def _add_mixture_options(group: Group) -> None:
    seconds = number(0, 86_400, above=True)
    group.add_argument(
        "--excerpt-seconds", metavar="S", type=seconds, help="length of a mixture; the model's when not given"
    )
    group.add_argument("--coherent", metavar="SHARE", type=number(0, 1), help="share of mixtures from one track [0.5]")
    group.add_argument("--sounding", action="store_true", help="only excerpts in which every source sounds")
    group.add_argument("--pitch", metavar="N", type=semitones, help="shift pitch by up to N semitones; paper: 3")
    group.add_argument("--stretch", metavar="LOW,HIGH", type=tempo, help="change the tempo; paper: 0.8,1.2")
    group.add_argument(
        "--transpose", metavar="N", type=integer(0, 6), help="play half of the stems up to N semitones higher or lower [2]"
    )
    group.add_argument("--gain-db", metavar="X", type=number(0, 60), help="change levels by up to X dB [2]")
    group.add_argument("--timbre", metavar="SHARE", type=number(0, 1), help="share of stems with another timbre [0.5]")
    group.add_argument("--eq-db", metavar="X", type=number(0, 60), help="strength of that equalizer [1.5]")


def _add_training_options(group: Group) -> None:
    add, rate = group.add_argument, number(0, 100, above=True)
    add("--paper", action="store_true", help="use the paper's values; other options override them")
    add("--iterations", metavar="N", type=integer(1, 10**9), help="number of batches [2000]")
    add("--batch-size", metavar="N", type=integer(1, 10**6), help="mixtures per batch [8]")
    add("--learning-rate", metavar="X", type=rate, help="learning rate of Adam; from scratch, half of it [0.004]")
    add("--body-learning-rate", metavar="X", type=rate, help="learning rate of the layers below the heads")
    add("--warmup-iterations", metavar="N", type=integer(0, 10**9), help="raise the learning rate over N iterations [100]")
    add("--thaw-after", metavar="N", type=integer(0, 10**9), help="first train only the heads, for N iterations [0]")
    add("--weight-decay", metavar="X", type=number(0, 100), help="use AdamW with this weight decay; 0: Adam [0]")
    add("--dc-weight", metavar="X", type=number(0, 1), help="weight of the clustering loss [0.001]; paper: 0.01")
    add("--phase-sensitive", action="store_true", help="train on the part of a source in phase with the mix")
    add("--frame-step", metavar="N", type=integer(1, 10**6), help="clustering loss at every N-th frame [4]; paper: 1")
    add("--head-mixtures", metavar="N", type=integer(0, 10**6), help="first fit the mask head to N mixtures; 0: off [256]")
    add("--validate-every", metavar="N", type=integer(1, 10**9), help="iterations between validations [100]")
    best = ("loss", "mask_loss", "si_sdr")
    add("--choose-by", choices=best, metavar="WHAT", help=f"best network by: {', '.join(best)} [mask_loss]")
    add(
        "--stop-after",
        metavar="N",
        type=integer(0, 10**9),
        help="stop after N iterations without a better network; 0: never [0]",
    )
    add("--ema-decay", metavar="X", type=number(0, 1, below=True), help="average the weights; 0: off [0.99]")
    add("--accumulate", metavar="N", type=integer(1, 10**6), help="compute a batch in N parts, to save memory [1]")
    add_seed(group, "seed of new layers, mixtures, validation tracks")


def finetune(stems: list[Path], out: Path, folds: int = 0, repeats: int = 1, **given: Any) -> None:
    """Fine-tune or cross-validate, and print the result."""
    if repeats != 1 and not folds:
        raise ConfigError(
            f"--repeats {repeats} needs --folds. A single run needs no repeats: each of its iterations draws new mixtures."
        )
    if "test" in given and not folds:
        raise ConfigError(f"--test needs --folds. To score a run: {PROGRAM} evaluate RUN STEMS.")
    if folds:
        cross_validate(one_or_all(stems), out, folds, repeats, arguments(given))
        return
    from ..checkpoints.checkpoint import read_info
    from ..pipelines.finetune import finetune

    run = finetune(one_or_all(stems), out, **arguments(given))
    print(f"Wrote {run.best}, which separates {', '.join(read_info(run.best).labels)}.")
    report = run.folder / "report.txt"
    if report.is_file():
        print(f"\n{report.read_text(encoding='utf-8')}", end="")
    else:
        print(f"Next: {PROGRAM} separate AUDIO --model {shlex.quote(str(out))} --out separated")


def cross_validate(stems: Path | list[Path], out: Path, folds: int, repeats: int, options: dict) -> None:
    """Train a network for each fold, and print the table of scores."""
    from ..pipelines.cross_validation import cross_validate
    from ..report.text import folds_table, text_table

    scores = cross_validate(stems, out, folds, repeats=repeats, **options)
    print(f"{folds_table(scores)}\n\n{text_table(scores)}\n")
    print(f"Every score is in {out / 'scores.json'}.\n{scores['use']}")


def arguments(given: dict) -> dict:
    """Return the arguments of the package's `finetune` for the options that the user gave."""
    from ..pipelines.finetune import default_mixtures, default_training, paper_finetune

    # The default of the package's function is 0, which also works in a script without `if __name__ == "__main__":`.
    others = {"workers": 1, **given}
    if others.get("checkpoint") == "none":
        others["checkpoint"] = None
    training, mixtures = take(others, TRAINING), take(others, MIXTURES)
    if others.pop("paper", False):
        configs = paper_finetune(**training)
        configs["mixtures"] = replace(configs["mixtures"], **mixtures)
    else:
        pretrained = others.get("checkpoint", "body") is not None
        configs = {"training": default_training(pretrained, **training), "mixtures": default_mixtures(**mixtures)}
    return {**configs, "options": stem_options(others), **others}
