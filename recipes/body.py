"""Makes the body that ships in the package: ``python -m recipes.body all`` (``make body``).

A small ChimeraNet is trained on the deep clustering loss alone, on mixtures of two to four sounds drawn from
rendered ensembles of every kind (``recipes.corpora ensembles``): half of them incoherent, half from one
piece. A second run goes on from the best network of the first at a fifth of the learning rate. Both can be
stopped at any time and go on when started again. The best network, in half precision, and the commands and
curves of both are put beside each other in ``nussl_transfer/checkpoints/weights``.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path

import nussl_transfer  # isort: skip  (it repairs nussl, so it comes before it)
import nussl
import torch
from jsonargparse import auto_cli

from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, read_checkpoint, write_checkpoint
from nussl_transfer.checkpoints.zoo import resolve
from nussl_transfer.cli.status import recipe_status
from nussl_transfer.mixing.config import MixtureConfig
from nussl_transfer.mixing.mixtures import Mixtures
from nussl_transfer.networks.chimera import PAPER, build_transfer_chimera
from nussl_transfer.runtime.files import write_json, written_aside
from nussl_transfer.store.store import Store
from nussl_transfer.training.config import FitConfig
from nussl_transfer.training.fit import fit
from recipes.corpora.ensembles import render_ensembles

MODELS = Path(nussl_transfer.__file__).parent / "checkpoints" / "weights"
VALID_BATCHES, VALID_SEED = 24, 1
FIRST_ITERATIONS, SECOND_ITERATIONS = 8_800, 1800


def pretrain(
    store: str,
    run: str,
    start: str | None = None,
    iterations: int = 20_000,
    batch_size: int = 8,
    excerpt_seconds: float = 2.0,
    hidden_size: int = 128,
    num_layers: int = 2,
    num_sources: int = 4,
    fewest_sources: int = 2,
    coherent: float = 0.5,
    gain_db: float = 4.0,
    frame_step: int = 4,
    bf16: bool = True,
    learning_rate: float = PAPER.learning_rate,
    autoclip_percentile: float = PAPER.autoclip_percentile,
    validate_every: int = PAPER.validate_every,
    plateau_iterations: int = 1_500,
    seed: int = 0,
    workers: int = 1,
    threads: int = 2,
) -> Path:
    """Pretrains a ChimeraNet's body and embedding head; returns the folder of the run.

    Args:
        store: Store of rendered ensembles, with splits 'train' and 'valid'.
        run: Folder of the run.
        start: Checkpoint to go on from, whose sizes then count; None begins with a new network.
        iterations: Batches in all.
        batch_size: Mixtures a batch.
        excerpt_seconds: Length of a mixture.
        hidden_size: Units of each direction of the recurrent layers.
        num_layers: Recurrent layers.
        num_sources: Most sounds in a mixture.
        fewest_sources: Fewest sounds in a mixture.
        coherent: Share of mixtures from one piece.
        gain_db: Largest change of a stem's level.
        frame_step: The loss is taken at every so-many-th frame.
        bf16: Whether linear layers run in bfloat16.
        learning_rate: Of Adam.
        autoclip_percentile: Percentile of the norms seen at which gradients are clipped.
        validate_every: Iterations between validations.
        plateau_iterations: Iterations without a better validation loss after which the learning rate is
            halved.
        seed: Of the network and of the mixtures.
        workers: Processes that load.
        threads: Threads that compute.
    """
    command = command_of(**locals())
    torch.set_num_threads(threads)
    stems = Store(store)
    mixtures = MixtureConfig(excerpt_seconds, coherent, num_sources, fewest_sources, gain_db)
    train = Mixtures(stems.select("train"), mixtures, iterations * batch_size, seed)
    valid = Mixtures(stems.select("valid"), mixtures, VALID_BATCHES * batch_size, VALID_SEED)
    if start is None:
        model = new_network(hidden_size, num_layers, seed)
    else:
        model, _ = read_checkpoint(resolve(start))
    config = FitConfig(
        mode="pretrain",
        iterations=iterations,
        batch_size=batch_size,
        learning_rate=learning_rate,
        autoclip_percentile=autoclip_percentile,
        frame_step=frame_step,
        validate_every=validate_every,
        plateau_iterations=plateau_iterations,
        bf16=bf16,
        seed=seed,
        workers=workers,
    )
    info = CheckpointInfo(
        labels=(),
        mode="pretrain",
        sample_rate=stems.sample_rate,
        stft_params=nussl.STFTParams(PAPER.window_length, PAPER.hop_length, PAPER.window_type),
        excerpt_seconds=excerpt_seconds,
        data={"name": stems.dataset, "minutes": round(stems.minutes()), "tracks": len(stems.tracks)},
    )
    Path(run).mkdir(parents=True, exist_ok=True)
    with written_aside(Path(run) / "command.txt") as aside:
        aside.write_text(f"{command}\n", encoding="utf-8")
    return fit(model, train, valid, config=config, out=run, info=info).folder


def command_of(**arguments) -> str:
    """Returns the command that calls `pretrain` with these arguments, its defaults left out."""
    parameters = inspect.signature(pretrain).parameters
    words = [f"--{name} {value}" for name, value in arguments.items() if value != parameters[name].default]
    return " ".join(["python -m recipes.body pretrain", *words])


def new_network(hidden_size: int, num_layers: int, seed: int) -> nussl.ml.SeparationModel:
    """Returns a ChimeraNet that has learnt nothing, its mask head of the least size a separator of nussl accepts."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nussl.ml.SeparationModel(
            build_transfer_chimera(num_sources=2, hidden_size=hidden_size, num_layers=num_layers)
        )


def publish(runs: list[str], out: str = str(MODELS)) -> Path:
    """Puts the best network of the last run, in half precision, beside the curves of all; returns the checkpoint.

    Args:
        runs: Folders of the runs, in the order in which they were made.
        out: Folder of the package's models.
    """
    model, info = read_checkpoint(resolve(runs[-1]))
    path = write_checkpoint(Path(out) / "body.pth", model, info, half=True)
    stages = []
    for run in map(Path, runs):
        curve = json.loads((run / "curve.json").read_text(encoding="utf-8"))
        stages.append({"command": (run / "command.txt").read_text(encoding="utf-8").strip(), **curve})
    write_json(Path(out) / "body.json", {"data": info.data, "stages": stages})
    return path


def everything(corpus: str = "corpora/ensembles", hours: float = 24.0, runs: str = "runs") -> Path:
    """Renders the ensembles, pretrains on them and publishes; what is done already is not done twice.

    Args:
        corpus: Folder of the rendered ensembles.
        hours: Hours of stems to render.
        runs: Folder for the runs.
    """
    first, second = f"{runs}/body", f"{runs}/body-cooled"
    render_ensembles(corpus, hours)
    pretrain(corpus, first, iterations=FIRST_ITERATIONS)
    pretrain(corpus, second, start=first, iterations=SECOND_ITERATIONS, learning_rate=PAPER.learning_rate / 5, seed=2)
    return publish([first, second])


if __name__ == "__main__":
    commands = {"all": everything, "pretrain": pretrain, "publish": publish}
    sys.exit(recipe_status(lambda: auto_cli(commands, as_positional=False)))
