"""Build the paper's ChimeraNet, and put a new mask head on a pretrained network.

Networks are nussl configurations of nussl's own modules: nussl alone can rebuild them from a checkpoint.
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
ESTIMATES = "estimates"
EMBEDDING_ACTIVATION = ("tanh", "unit_norm")
NORMALIZATION = "normalization"


@dataclass(frozen=True)
class PaperDefaults:
    """The values that the paper gives.

    References:
        Bugler, Pardo, Seetharaman, "A Study of Transfer Learning in Music Source Separation", 2020. Section 2.2: weights of
        the losses. Section 3.1: augmentation. Section 3.2: all others.
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
    """Report of a transplant: the names in the state dictionary that it copied, initialised and dropped."""

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
    embedding_activation: Sequence[str] = EMBEDDING_ACTIVATION,
    mask_activation: Sequence[str] = ("softmax",),
    num_audio_channels: int = 1,
    rnn_type: str = "lstm",
    normalization_class: str = "BatchNorm",
    normalization_args: dict | None = None,
) -> dict:
    """Return the configuration of the paper's ChimeraNet, for ``nussl.ml.SeparationModel``.

    The arguments are those of ``nussl.ml.networks.builders.build_recurrent_chimera``, with the paper's values as
    defaults. The paper gives neither dropout nor activations. Here there is no dropout. Embeddings go through a tanh, then
    are scaled to unit length, as in the paper on deep clustering. nussl's usual sigmoid keeps all of them in one orthant:
    after 100 iterations on one batch of four sounds the loss was 0.23 with a sigmoid and 0.03 with tanh. Masks are a
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
        raise ConfigError(f"num_sources is {num_sources}. Give at least 1.")
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
    """Return a copy of a network's configuration with another number of masks.

    A network for deep clustering alone, such as nussl's ``build_recurrent_dpcl`` makes, gets a mask head beside its
    embedding, as in the paper's ChimeraNet.

    Raises:
        CheckpointError: The configuration has no mask head, and no embedding beside which one can be put.
    """
    config = copy.deepcopy(config)
    if MASK_HEAD not in config["modules"]:
        _add_mask_head(config)
    head = config["modules"].get(MASK_HEAD, {})
    if head.get("class") != "Embedding":
        raise CheckpointError(
            f"Network {config.get('name')!r} cannot get a new mask head: it has layers "
            f"{', '.join(sorted(config['modules']))}. Take a ChimeraNet, a mask inference network or a deep clustering "
            "network of nussl."
        )
    head["args"]["embedding_size"] = num_sources
    return config


def _add_mask_head(config: dict) -> None:
    """Add a mask head with the same input as the embedding head, if there is an embedding head."""
    embedding = config["modules"].get(EMBEDDING_HEAD, {})
    below = [connection[1] for connection in config["connections"] if connection[0] == EMBEDDING_HEAD]
    if embedding.get("class") != "Embedding" or len(below) != 1 or "mix_magnitude" not in config["modules"]:
        return
    config["modules"][MASK_HEAD] = copy.deepcopy(embedding)
    config["modules"][MASK_HEAD]["args"]["activation"] = ["softmax"]
    config["modules"][ESTIMATES] = {"class": "Mask"}
    config["connections"] += [[MASK_HEAD, below[0]], [ESTIMATES, [MASK_HEAD, "mix_magnitude"]]]
    config["output"] = [*config["output"], ESTIMATES, MASK_HEAD]


def with_embedding(config: dict) -> dict:
    """Return a copy of a network's configuration that has an embedding head beside its mask head, as the paper's network.

    Separators that ship have no embedding head: separation does not need it, deep clustering does. The new head has the
    size and the activations of :func:`build_transfer_chimera`. A network that has one already keeps it.

    Raises:
        CheckpointError: The network has no mask head beside which an embedding head can be put.
    """
    config = copy.deepcopy(config)
    if EMBEDDING_HEAD in config["modules"]:
        return config
    mask = config["modules"].get(MASK_HEAD, {})
    below = [connection[1] for connection in config["connections"] if connection[0] == MASK_HEAD]
    if mask.get("class") != "Embedding" or len(below) != 1:
        raise CheckpointError(
            f"Network {config.get('name')!r} cannot get an embedding head: it has layers "
            f"{', '.join(sorted(config['modules']))}. Take a ChimeraNet or a mask inference network of nussl."
        )
    config["modules"][EMBEDDING_HEAD] = copy.deepcopy(mask)
    config["modules"][EMBEDDING_HEAD]["args"].update(
        embedding_size=PAPER.embedding_size, activation=list(EMBEDDING_ACTIVATION)
    )
    config["connections"] += [[EMBEDDING_HEAD, below[0]]]
    config["output"] = [EMBEDDING_HEAD, *config["output"]]
    return config


def transplant(
    source: SeparationModel,
    labels: Sequence[str],
    source_labels: Sequence[str] = (),
    fresh: bool = False,
    clusters: bool = False,
) -> tuple[SeparationModel, TransplantReport]:
    """Copy a pretrained network and put a mask head for other sources on it.

    The mask head is initialised anew, unless the pretrained one was trained for the same labels.

    Args:
        source: The pretrained network; it is not changed.
        labels: Labels of the new masks, in any order; masks are in alphabetical order.
        source_labels: Labels of the pretrained network's masks, if they were trained.
        fresh: Whether to initialise every layer: the same network from scratch.
        clusters: Whether the new network needs an embedding head; if the pretrained one has none, it gets a new one.

    Returns:
        The new network, and a report of the layers that were copied, initialised and dropped.

    Raises:
        CheckpointError: A layer other than the new ones does not have the shape that its configuration gives.
    """
    labels = sorted(labels)
    config = with_num_sources(source.config, len(labels))
    network = SeparationModel(with_embedding(config) if clusters else config)
    makes_embedding = EMBEDDING_HEAD not in source.config["modules"]
    keeps_mask = labels == sorted(source_labels)
    copied, made_new = [], []
    state, given = network.state_dict(), source.state_dict()
    for name, tensor in state.items():
        layer = _layer(name)
        if fresh or (layer == MASK_HEAD and not keeps_mask) or (layer == EMBEDDING_HEAD and makes_embedding):
            made_new.append(name)
            continue
        if name not in given or given[name].shape != tensor.shape:
            found = tuple(given[name].shape) if name in given else "no such tensor"
            raise CheckpointError(
                f"Layer {layer!r} does not fit: {name} has {found}, expected shape {tuple(tensor.shape)}. Only the "
                "mask head may differ. Use a checkpoint whose weights fit its configuration."
            )
        state[name] = given[name].clone()
        copied.append(name)
    network.load_state_dict(state)
    dropped = [name for name in given if name not in copied]
    return network, TransplantReport(tuple(copied), tuple(made_new), tuple(dropped))


def channels_of(model: SeparationModel) -> int:
    """Return how many audio channels a network takes together."""
    heads = [model.layers[name] for name in (MASK_HEAD, EMBEDDING_HEAD) if name in model.layers]
    return next((head.num_audio_channels for head in heads if hasattr(head, "num_audio_channels")), 1)


def without_embedding(model: SeparationModel) -> SeparationModel:
    """Return a smaller network that gives the same masks and no embedding: all that separation needs.

    Raises:
        CheckpointError: Its masks depend on the embedding, or it has none.
    """
    return _without(model, {EMBEDDING_HEAD}, "embedding", MASK_HEAD, "masks")


def without_masks(model: SeparationModel) -> SeparationModel:
    """Return a smaller network that gives the same embedding and no masks: all that a pretrained model needs.

    Raises:
        CheckpointError: It has no embedding, or its embedding depends on the masks.
    """
    return _without(model, {MASK_HEAD, ESTIMATES}, "masks", EMBEDDING_HEAD, "embeddings")


def _without(model: SeparationModel, removed: set[str], what: str, kept: str, outputs: str) -> SeparationModel:
    """Return a copy of a network without some of its layers; ``kept`` must stay and depend on none of them."""
    config = copy.deepcopy(model.config)
    config["modules"] = {name: module for name, module in config["modules"].items() if name not in removed}
    config["connections"] = [connection for connection in config["connections"] if connection[0] not in removed]
    config["output"] = [name for name in config["output"] if name not in removed]
    named = {name for _, inputs in config["connections"] for name in inputs if isinstance(name, str)}
    if named & removed or kept not in config["modules"]:
        raise CheckpointError(
            f"The {what} cannot be removed from network {config.get('name')!r}: it has layers "
            f"{', '.join(sorted(config['modules']))}, and its {outputs} depend on the {what} or are missing. Keep it whole."
        )
    smaller = SeparationModel(config)
    smaller.load_state_dict({name: tensor for name, tensor in model.state_dict().items() if _layer(name) not in removed})
    return smaller.eval()


def _layer(name: str) -> str:
    return name.split(".")[1] if name.startswith("layers.") else name


def _layers(names: Sequence[str]) -> str:
    layers = list(dict.fromkeys(_layer(name) for name in names))
    return ", ".join(layers) if layers else "nothing"
