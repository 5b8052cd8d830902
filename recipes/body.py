"""Pretrain the model that ships as `body`: ``python -m recipes.body all`` (``make body``).

Three corpora are rendered: ensembles played by soundfonts, ensembles played with recorded notes of real instruments
(where a folder of them is given), and chorales of a violin, clarinet, saxophone and bassoon, most of them played by
synthetic players. A small ChimeraNet trains on mixtures of two to four stems, half of them coherent, and most stems have a
random timbre. It has two tasks:

* deep clustering of the stems, as in the paper, which trains the embedding;
* masks of 15 families of instruments, which the paper does not have. Clustering alone learns only that sounds differ; masks
  also learn how a clarinet sounds. Fine-tuning keeps the layers below the mask head, and replaces the mask head.

A second run has only mixtures of four stems, more of them from the chorales, and a third has a fifth of its learning rate.
Each run can be stopped at any time and resumes exactly. `publish` writes the network in half precision and without the mask
head, with the commands and the curves of the runs. ``--checkpoint body`` continues from the model that ships, and
``--hidden_size`` widens it (`nussl_transfer.networks.widening`). ``torchrun --nproc_per_node 2 -m recipes.body pretrain``
trains in two processes.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import nussl_transfer  # isort: skip  (before nussl: it repairs nussl)
import nussl
import torch
from jsonargparse import auto_cli
from torch.utils.data import Dataset

from nussl_transfer.audio.stft import spectrogram
from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, read_checkpoint, read_info, write_checkpoint
from nussl_transfer.checkpoints.zoo import resolve
from nussl_transfer.cli.status import recipe_status
from nussl_transfer.errors import ConfigError
from nussl_transfer.mixing.config import MixtureConfig
from nussl_transfer.mixing.mixtures import Mixtures
from nussl_transfer.networks.chimera import PAPER, build_transfer_chimera, transplant, without_masks
from nussl_transfer.networks.targets import ideal_binary_mask, magnitude_weights
from nussl_transfer.networks.widening import widen
from nussl_transfer.runtime.files import write_json, written_aside
from nussl_transfer.runtime.process_group import is_main_process
from nussl_transfer.store.store import Store
from nussl_transfer.training.config import FitConfig
from nussl_transfer.training.fit import fit
from recipes.corpora.chorales import render_chorales
from recipes.corpora.ensembles import render_ensembles
from recipes.corpora.programs import FAMILIES, family_of
from recipes.corpora.sampled import render_sampled

WEIGHTS = Path(nussl_transfer.__file__).parent / "checkpoints" / "weights"
MOST_SOURCES, FEWEST_SOURCES = 4, 2
MIXTURES = MixtureConfig(
    coherent=0.5, num_sources=MOST_SOURCES, fewest_sources=FEWEST_SOURCES, gain_db=3.0, timbre=0.8, eq_db=5.0, room=0.4
)
VALID_ITEMS, VALID_SEED = 192, 1
HEAD_MIXTURES = 256
FIRST_ITERATIONS, FULL_ITERATIONS, COOLED_ITERATIONS = 10_000, 4_000, 500
FIRST_RATE, FULL_RATE, COOLED_RATE = 0.0014, 0.002, 0.0004


class FamilyMixtures(Dataset):
    """Mixtures of several stores, each item with the family of every source.

    Args:
        stores: Stores whose labels are programs of `recipes.corpora.programs`.
        shares: Share of the mixtures that each store gives.
        mixtures: How mixtures are drawn.
        length: Number of items.
        seed: Decides all items.

    Shape:
        ``mix_audio`` [1, samples], ``source_audio`` [1, samples, 4], ``family`` int64 [4]: an index into `FAMILIES`.
    """

    def __init__(self, stores: Sequence[Store], shares: Sequence[float], mixtures: MixtureConfig, length: int, seed: int):
        self.length, self.seed = length, seed
        self.period = [part for part, share in enumerate(shares) for _ in range(round(10 * share / sum(shares)))]
        self.parts = [Mixtures(store, mixtures, length, seed) for store in stores]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        part = self.part_of(index)
        family = torch.zeros(MOST_SOURCES, dtype=torch.int64)
        for number, excerpt in enumerate(part.draw(index)):
            family[number] = FAMILIES.index(family_of(excerpt.label))
        return {**part[index], "family": family}

    def part_of(self, index: int) -> Mixtures:
        """Return the mixtures of the store that gives an item."""
        return self.parts[self.period[index % len(self.period)]]

    def draw(self, index: int) -> list:
        """Return the excerpts of an item."""
        return self.part_of(index).draw(index)

    def describe(self) -> dict:
        """Return what decides the items, as plain values."""
        return {"parts": [part.describe() for part in self.parts], "period": self.period}


class FamilyTargets:
    """Add spectra and the targets of both tasks to a batch.

    Shape:
        ``ideal_binary_mask`` [nb, nt, nf, nc, 4], one for each source; ``source_magnitudes`` [nb, nt, nf, nc, 15], one for
        each family: the magnitude of the sum of its sources.
    """

    def __init__(self, stft_params: nussl.STFTParams):
        self.stft_params = stft_params

    def __call__(self, batch: dict) -> dict:
        """Return the batch with its targets."""
        batch = dict(batch)
        batch["mix_magnitude"] = spectrogram(batch["mix_audio"], self.stft_params).abs()
        batch["weights"] = magnitude_weights(batch["mix_magnitude"])
        sources = spectrogram(batch["source_audio"].movedim(-1, 0), self.stft_params)  # [4, nb, nt, nf, nc]
        batch["ideal_binary_mask"] = ideal_binary_mask(sources.abs().movedim(0, -1))
        # Sum the spectra of each family. `sums` holds, for each source, the sum of its family. Magnitudes of families that
        # are not in the mixture stay zero.
        family = batch["family"].long().T  # [4, nb]
        same = (family[:, None] == family[None]).to(sources.real.dtype)
        sums = torch.view_as_complex(torch.einsum("ijb,jb...->ib...", same, torch.view_as_real(sources)))
        magnitudes = sums.new_zeros(sources.shape[1], len(FAMILIES), *sources.shape[2:], dtype=same.dtype)
        magnitudes[torch.arange(sources.shape[1], device=family.device), family] = sums.abs()
        batch["source_magnitudes"] = magnitudes.movedim(1, -1)
        return batch


def pretrain(
    stores: list[str],
    out: str,
    shares: list[float] | None = None,
    checkpoint: str | None = None,
    iterations: int = FIRST_ITERATIONS,
    batch_size: int = 32,
    excerpt_seconds: float = 2.0,
    hidden_size: int | None = None,
    num_layers: int | None = None,
    fewest_sources: int = FEWEST_SOURCES,
    dc_weight: float = 0.001,
    frame_step: int = 4,
    mask_frame_step: int = 4,
    ema_decay: float = 0.999,
    bf16: bool = False,
    learning_rate: float = FIRST_RATE,
    validate_every: int = 250,
    plateau_iterations: int = 1_500,
    seed: int = 0,
    workers: int = 0,
    threads: int = 1,
) -> Path:
    """Pretrain a ChimeraNet on clustering and families; return the folder of the run.

    Args:
        stores: Stores with splits 'train' and 'valid'.
        out: Folder of the run.
        shares: Share of the mixtures that each store gives; equal by default.
        checkpoint: Checkpoint to continue from. None begins with a new network.
        iterations: Number of batches.
        batch_size: Mixtures per batch.
        excerpt_seconds: Length of a mixture.
        hidden_size: Units in each direction of the recurrent layers; by default as many as `checkpoint` has, or 128. A
            checkpoint with fewer is widened (`nussl_transfer.networks.widening`).
        num_layers: Number of recurrent layers of a new network; 2 by default.
        fewest_sources: Fewest sources of a mixture, up to 4. A new network learns from mixtures of two first.
        dc_weight: Weight of the clustering loss. At nussl's scale this loss is a thousand times the mask loss, so with
            0.001 both tasks count.
        frame_step: Compute the clustering loss at every N-th frame.
        mask_frame_step: Compute the mask loss at every N-th frame.
        ema_decay: Decay of the moving average of the weights that is validated and kept.
        bf16: Whether recurrent and linear layers compute in bfloat16; faster only on processors with instructions for it.
        learning_rate: Learning rate of Adam.
        validate_every: Iterations between validations.
        plateau_iterations: Iterations without a lower validation loss after which the learning rate is halved.
        seed: Seed of the network and of the mixtures.
        workers: Number of processes that load mixtures.
        threads: Number of threads that compute.
    """
    command = command_of(**locals())
    torch.set_num_threads(threads)
    opened = [Store(store) for store in stores]
    shares = shares or [1.0] * len(opened)
    mixtures = replace(MIXTURES, excerpt_seconds=excerpt_seconds, fewest_sources=fewest_sources)
    splits = [split_of(store) for store in opened]
    train = FamilyMixtures([store for store, _ in splits], shares, mixtures, iterations * batch_size, seed)
    plain = replace(mixtures, timbre=0.0)
    valid = FamilyMixtures([store for _, store in splits], shares, plain, VALID_ITEMS, VALID_SEED)
    stft_params = nussl.STFTParams(PAPER.window_length, PAPER.hop_length, PAPER.window_type)
    info = CheckpointInfo(
        labels=FAMILIES,
        mode="whole",
        sample_rate=opened[0].sample_rate,
        stft_params=stft_params,
        excerpt_seconds=excerpt_seconds,
        data={
            "name": "+".join(store.dataset for store in opened),
            "minutes": round(sum(store.minutes() for store in opened)),
            "tracks": sum(len(store.tracks) for store in opened),
        },
    )
    model = make_network(checkpoint, hidden_size, num_layers, seed)
    config = FitConfig(
        mode="whole",
        iterations=iterations,
        batch_size=batch_size,
        learning_rate=learning_rate,
        dc_weight=dc_weight,
        frame_step=frame_step,
        mask_frame_step=mask_frame_step,
        ema_decay=ema_decay,
        validate_every=validate_every,
        plateau_iterations=plateau_iterations,
        # A new mask head is first fitted by least squares. A published model gets a new one, too.
        head_mixtures=0 if has_families(checkpoint) else HEAD_MIXTURES,
        bf16=bf16,
        seed=seed,
        workers=workers,
    )
    if is_main_process():
        Path(out).mkdir(parents=True, exist_ok=True)
        with written_aside(Path(out) / "command.txt") as aside:
            aside.write_text(f"{command}\n", encoding="utf-8")
    return fit(model, train, valid, config=config, out=out, info=info, targets=FamilyTargets(stft_params)).folder


def split_of(store: Store) -> tuple[Store, Store]:
    """Return the tracks that train and those that validate: the store's splits, or else every tenth work validates.

    Takes of one work, whose names differ in what follows "-played" or "-recorded", stay together.
    """
    if any(track.split for track in store.tracks):
        return store.select("train"), store.select("valid")
    work_of = {track.name: track.name.partition("-played")[0].removesuffix("-recorded") for track in store.tracks}
    held_out = set(sorted(set(work_of.values()))[::10])
    valid = {name for name, work in work_of.items() if work in held_out}
    return store.select(names=work_of.keys() - valid), store.select(names=valid)


def make_network(
    checkpoint: str | None, hidden_size: int | None, num_layers: int | None, seed: int
) -> nussl.ml.SeparationModel:
    """Return a network with a mask for each family.

    Without a checkpoint, all weights are new. Otherwise the weights are those of the checkpoint, widened to `hidden_size`.
    A separator has no embedding head, so it gets a new one.

    Raises:
        ConfigError: The network of the checkpoint is wider than `hidden_size`, or `num_layers` is given with a checkpoint.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if checkpoint is None:
            sizes = {"hidden_size": hidden_size or 128, "num_layers": num_layers or 2}
            return nussl.ml.SeparationModel(build_transfer_chimera(num_sources=len(FAMILIES), **sizes))
        if num_layers is not None:
            raise ConfigError(
                f"num_layers is {num_layers}, but the layers are those of {checkpoint}. Leave num_layers out."
            )
        model, info = read_checkpoint(resolve(checkpoint))
        model = transplant(model, FAMILIES, info.labels, clusters=True)[0]
        if hidden_size is None or hidden_size == model.layers["recurrent_stack"].rnn.hidden_size:
            return model
        return widen(model, hidden_size)


def has_families(checkpoint: str | None) -> bool:
    """Return whether a checkpoint has trained masks of the families; checkpoints that `publish` writes have none."""
    return checkpoint is not None and read_info(resolve(checkpoint)).labels == FAMILIES


def command_of(**arguments) -> str:
    """Return the command that calls `pretrain` with these arguments, defaults left out."""
    parameters = inspect.signature(pretrain).parameters
    changed = {name: value for name, value in arguments.items() if value != parameters[name].default}
    return " ".join(["python -m recipes.body pretrain", *(f"--{name} {value}" for name, value in changed.items())])


def publish(runs: list[str], out: str = str(WEIGHTS), name: str = "body", continued: bool = False) -> Path:
    """Write the last run's best network, its entry in ``zoo.json`` and all curves; return the checkpoint.

    The file has half precision and no masks.

    Args:
        runs: Folders of the runs, in the order in which they were made.
        out: Folder for the checkpoint and its JSON file.
        name: Name of both.
        continued: Whether the first run started from the model that is in `out`; its stages are then listed first.
    """
    model, info = read_checkpoint(resolve(runs[-1]))
    # Leave out the mask head: fine-tuning replaces it, and further pretraining fits it again by least squares.
    info = replace(info, mode="pretrain", labels=())
    path = write_checkpoint(Path(out) / f"{name}.pth", without_masks(model), info, half=True)
    earlier = Path(out) / f"{name}.json"
    stages = json.loads(earlier.read_text(encoding="utf-8"))["stages"] if continued else []
    for run in map(Path, runs):
        curve = json.loads((run / "curve.json").read_text(encoding="utf-8"))
        stages.append({"command": (run / "command.txt").read_text(encoding="utf-8").strip(), **curve})
    write_json(Path(out) / f"{name}.json", {"data": info.data, "mixtures": asdict(MIXTURES), "stages": stages})
    registry = Path(out).parent / "zoo.json"
    known = json.loads(registry.read_text(encoding="utf-8")) if registry.is_file() else {}
    layers = model.layers["recurrent_stack"].rnn
    known[name] = {
        "what": f"ChimeraNet {layers.num_layers} x {layers.hidden_size} BLSTM, pretrained by deep clustering and on masks "
        "of instrument families, on rendered ensembles; to be fine-tuned",
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
        "sources": [],
        "mode": "pretrain",
        "parent": None,
        "data": f"{info.data['minutes'] / 60:.1f} h rendered",
        "score": None,
        "license": "MIT",
    }
    write_json(registry, known)
    return path


def everything(corpora: str = "corpora", hours: float = 40.0, samples: str | None = None, runs: str = "runs") -> Path:
    """Render the corpora, pretrain on them and publish. Finished steps are not repeated.

    Args:
        corpora: Folder of the rendered corpora.
        hours: Hours of ensembles' stems to render with soundfonts, and half as many with recorded notes.
        samples: Folder of the recorded notes that `recipes/corpora/sampled.json` lists; None leaves them out.
        runs: Folder for the runs.
    """
    stores, first_shares, full_shares = [f"{corpora}/ensembles"], [3.0], [2.0]
    render_ensembles(stores[0], hours)
    if samples is not None:
        stores.append(f"{corpora}/sampled")
        first_shares.append(2.0)
        full_shares.append(2.0)
        render_sampled(stores[1], samples, hours / 2)
    quartets = render_chorales(Path(corpora) / "chorales", None if samples is None else Path(samples))
    stores.append(str(quartets.folder))
    first_shares.append(5.0)
    full_shares.append(6.0)
    first, full, cooled = (f"{runs}/body{name}" for name in ("", "-full", "-cooled"))
    pretrain(stores, first, first_shares)
    then = partial(pretrain, stores, shares=full_shares, fewest_sources=MOST_SOURCES)
    then(out=full, checkpoint=first, iterations=FULL_ITERATIONS, learning_rate=FULL_RATE, seed=1)
    then(out=cooled, checkpoint=full, iterations=COOLED_ITERATIONS, learning_rate=COOLED_RATE, seed=2)
    return publish([first, full, cooled])


if __name__ == "__main__":
    commands = {"all": everything, "pretrain": pretrain, "publish": publish}
    sys.exit(recipe_status(lambda: auto_cli(commands, as_positional=False)))
