"""Makes the body that ships in the package: ``python -m recipes.body all`` (``make body``).

A small ChimeraNet is trained on the deep clustering loss alone, on mixtures of four sounds drawn from
rendered ensembles of every kind (``recipes.corpora ensembles``): half of them incoherent, half from one
piece. The run can be stopped at any time and goes on when started again; the best network so far, in half
precision, its curve and its command are put beside each other in ``nussl_transfer/models``.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import nussl_transfer  # isort: skip  (it repairs nussl, so it comes before it)
import nussl
import torch
from jsonargparse import auto_cli

from nussl_transfer.builders import PAPER, build_transfer_chimera
from nussl_transfer.checkpoints import CheckpointInfo, read_checkpoint, write_checkpoint
from nussl_transfer.files import write_json, written_aside
from nussl_transfer.mixing import Mixtures
from nussl_transfer.store import Store
from nussl_transfer.training import FitConfig, fit
from recipes.corpora.ensembles import render_ensembles

MODELS = Path(nussl_transfer.__file__).parent / "models"
VALID_BATCHES = 24


def pretrain(
    store: str,
    run: str = "runs/body",
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
    torch.set_num_threads(threads)
    stems = Store(store)
    drawn = {"coherent": coherent, "num_sources": num_sources, "fewest_sources": fewest_sources, "gain_db": gain_db}
    train = Mixtures(stems.where("train"), excerpt_seconds, iterations * batch_size, seed, **drawn)
    valid = Mixtures(stems.where("valid"), excerpt_seconds, VALID_BATCHES * batch_size, seed + 1, **drawn)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        # The mask head stays untrained; two masks are the least that a separator of nussl accepts.
        model = nussl.ml.SeparationModel(
            build_transfer_chimera(num_sources=2, hidden_size=hidden_size, num_layers=num_layers)
        )
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
        aside.write_text(f"python -m recipes.body {shlex.join(sys.argv[1:])}\n", encoding="utf-8")
    return fit(model, train, valid, config, run, info).folder


def everything(corpus: str = "corpora/ensembles", hours: float = 24.0, run: str = "runs/body") -> Path:
    """Renders the ensembles, pretrains on them and publishes; what is done already is not done twice.

    Args:
        corpus: Folder of the rendered ensembles.
        hours: Hours of stems to render.
        run: Folder of the run.
    """
    render_ensembles(corpus, hours)
    pretrain(corpus, run)
    return publish(run)


def publish(run: str = "runs/body", out: str = str(MODELS)) -> Path:
    """Puts the best network of a run, in half precision, beside its curve; returns the checkpoint.

    Args:
        run: Folder of the run.
        out: Folder of the package's models.
    """
    model, info = read_checkpoint(Path(run) / "checkpoints" / "best.model.pth")
    path = write_checkpoint(Path(out) / "body.pth", model, info, half=True)
    curve = json.loads((Path(run) / "curve.json").read_text(encoding="utf-8"))
    about = {
        "command": Path(run, "command.txt").read_text(encoding="utf-8").strip(),
        "data": info.data,
        **curve,
    }
    write_json(Path(out) / "body.json", about)
    return path


if __name__ == "__main__":
    auto_cli({"all": everything, "pretrain": pretrain, "publish": publish}, as_positional=False)
