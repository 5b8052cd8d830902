"""Stage 5, builders: the paper's ChimeraNet, and a pretrained body under a new mask head.

Networks are nussl configurations of nussl's own modules, so that nussl alone can rebuild them from a
checkpoint.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from nussl.ml import SeparationModel
from nussl.ml.networks.builders import build_recurrent_chimera

from ..errors import CheckpointError, ConfigError

MASK_HEAD = "mask"
EMBEDDING_HEAD = "embedding"
NORMALIZATION = "normalization"


@dataclass(frozen=True)
class PaperDefaults:
    """Every value that the paper fixes, and nothing else.

    References:
        Bugler, Pardo, Seetharaman, "A Study of Transfer Learning in Music Source Separation", 2020. Section
        2.2: the weight of the losses. Section 3.1: augmentation. Section 3.2: all others.
    """

    sample_rate: int = 16000  # Hz
    window_length: int = 512  # samples
    hop_length: int = 128  # samples
    window_type: str = "sqrt_hann"
    num_features: int = 257
    hidden_size: int = 500
    num_layers: int = 4
    bidirectional: bool = True
    embedding_size: int = 20
    excerpt_seconds: float = 10.0
    batch_size: int = 24
    learning_rate: float = 1e-3
    autoclip_percentile: float = 10.0
    validate_every: int = 100  # iterations
    plateau_iterations: int = 500
    plateau_factor: float = 0.5
    pretrain_iterations: int = 10_000
    finetune_iterations: int = 2_000
    baseline_iterations: int = 12_000
    dc_weight: float = 0.01  # alpha of equation 3
    pitch_semitones: tuple[float, float] = (-3.0, 3.0)
    stretch: tuple[float, float] = (0.8, 1.2)
    test_excerpts: int = 1000
    significance: float = 0.001


PAPER = PaperDefaults()


@dataclass(frozen=True)
class TransplantReport:
    """What a transplant did, by names of the state dictionary: copied, made new, dropped."""

    copied: tuple[str, ...]
    made_new: tuple[str, ...]
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        return f"copied {_layers(self.copied)}; made new {_layers(self.made_new)}; dropped {_layers(self.dropped)}"


def build_transfer_chimera(
    num_sources: int,
    num_features: int = PAPER.num_features,
    hidden_size: int = PAPER.hidden_size,
    num_layers: int = PAPER.num_layers,
    bidirectional: bool = PAPER.bidirectional,
    dropout: float = 0.0,
    embedding_size: int = PAPER.embedding_size,
    embedding_activation: Sequence[str] = ("tanh", "unit_norm"),
    mask_activation: Sequence[str] = ("softmax",),
    num_audio_channels: int = 1,
    rnn_type: str = "lstm",
    normalization_class: str = "BatchNorm",
    normalization_args: dict | None = None,
) -> dict:
    """Returns the configuration of the paper's ChimeraNet, for ``nussl.ml.SeparationModel``.

    The arguments are those of ``nussl.ml.networks.builders.build_recurrent_chimera``, with the paper's values as
    defaults. The paper names neither dropout nor activations. Nothing is dropped. Embeddings are unit vectors of a
    tanh, as in deep clustering's own paper: nussl's usual sigmoid keeps all of them in one orthant, and 100
    iterations on a single batch of four sounds brought the loss to 0.23 with it, to 0.03 with tanh. Masks are a
    softmax, so that the estimates always add up to the mixture.

    Args:
        num_sources: Number of masks.
        num_features: Bins of the spectrogram, window length / 2 + 1.
        hidden_size: Units of each direction of the recurrent layers.
        num_layers: Number of recurrent layers.
        bidirectional: Whether the recurrent layers run both ways.
        dropout: Dropout between recurrent layers.
        embedding_size: Dimensions of the embedding, D in the paper.
        embedding_activation: Activations of the embedding.
        mask_activation: Activation of the masks.
        num_audio_channels: Channels that enter the network together.
        rnn_type: 'lstm' or 'gru'.
        normalization_class: 'BatchNorm' or 'InstanceNorm', of the input spectrogram.
        normalization_args: Arguments of that class.

    Raises:
        ConfigError: ``num_sources`` is below 1.
    """
    if num_sources < 1:
        raise ConfigError(f"A network with {num_sources} masks was asked for: ask for at least 1 source.")
    return build_recurrent_chimera(
        num_features=num_features,
        hidden_size=hidden_size,
        num_layers=num_layers,
        bidirectional=bidirectional,
        dropout=dropout,
        embedding_size=embedding_size,
        embedding_activation=list(embedding_activation),
        num_sources=num_sources,
        mask_activation=list(mask_activation),
        num_audio_channels=num_audio_channels,
        rnn_type=rnn_type,
        normalization_class=normalization_class,
        normalization_args=normalization_args,
    )


def with_num_sources(config: dict, num_sources: int) -> dict:
    """Returns a copy of a ChimeraNet's configuration with another number of masks.

    Raises:
        CheckpointError: The configuration has no mask head.
    """
    config = copy.deepcopy(config)
    modules = config["modules"]
    if modules.get(MASK_HEAD, {}).get("class") != "Embedding":
        raise CheckpointError(
            f"A new mask head was asked for on network {config.get('name')!r}: it has layers "
            f"{', '.join(sorted(modules))} and no {MASK_HEAD!r}. Take a ChimeraNet or a mask inference network."
        )
    modules[MASK_HEAD]["args"]["embedding_size"] = num_sources
    return config


def transplant(
    source: SeparationModel, labels: Sequence[str], source_labels: Sequence[str] = (), fresh: bool = False
) -> tuple[SeparationModel, TransplantReport]:
    """Puts a pretrained body and embedding head under a mask head for other sources.

    The mask head is made new, unless the source's own was trained for the very same labels.

    Args:
        source: The pretrained network; it is not changed.
        labels: What the new masks are of, in any order; masks come in alphabetical order.
        source_labels: What the source's masks are of, if it was trained to make masks.
        fresh: Make everything new: the same network from scratch.

    Returns:
        The new network, and a report of what was copied, made new and dropped.

    Raises:
        CheckpointError: A layer other than the mask head has another shape than its own configuration says.
    """
    labels = sorted(labels)
    network = SeparationModel(with_num_sources(source.config, len(labels)))
    keeps_mask = labels == sorted(source_labels)
    copied, made_new = [], []
    state, given = network.state_dict(), source.state_dict()
    for name, tensor in state.items():
        if fresh or (_layer(name) == MASK_HEAD and not keeps_mask):
            made_new.append(name)
            continue
        if name not in given or given[name].shape != tensor.shape:
            found = tuple(given[name].shape) if name in given else "no such tensor"
            raise CheckpointError(
                f"Layer {_layer(name)!r} was to be transplanted: {name} should have shape {tuple(tensor.shape)}, the "
                f"source has {found}. Only the mask head may differ; take the checkpoint that this configuration is of."
            )
        state[name] = given[name].clone()
        copied.append(name)
    network.load_state_dict(state)
    dropped = [name for name in given if name not in copied]
    return network, TransplantReport(tuple(copied), tuple(made_new), tuple(dropped))


def without_embedding(model: SeparationModel) -> SeparationModel:
    """Returns a network that makes the same masks and has no embedding head: smaller, and all that a separator asks for.

    Raises:
        CheckpointError: Its masks are made of the embedding, or it makes none.
    """
    config = copy.deepcopy(model.config)
    config["modules"].pop(EMBEDDING_HEAD, None)
    config["connections"] = [connection for connection in config["connections"] if connection[0] != EMBEDDING_HEAD]
    config["output"] = [name for name in config["output"] if name != EMBEDDING_HEAD]
    named = {name for _, inputs in config["connections"] for name in inputs if isinstance(name, str)}
    if EMBEDDING_HEAD in named or MASK_HEAD not in config["modules"]:
        raise CheckpointError(
            f"The masks alone were asked for of network {config.get('name')!r}: it has layers "
            f"{', '.join(sorted(config['modules']))}, and its masks are not made beside an embedding. Keep it whole."
        )
    smaller = SeparationModel(config)
    smaller.load_state_dict({name: tensor for name, tensor in model.state_dict().items() if _layer(name) != EMBEDDING_HEAD})
    return smaller.eval()


def _layer(name: str) -> str:
    return name.split(".")[1] if name.startswith("layers.") else name


def _layers(names: Sequence[str]) -> str:
    layers = list(dict.fromkeys(_layer(name) for name in names))
    return ", ".join(layers) if layers else "nothing"
