"""Compare a checkpoint's configuration with its weights, before the network is built.

The configuration is untrusted text, too: it names each layer's class and size. The network is first built on torch's
``meta`` device, where tensors have shapes but no memory, and the shapes must equal those of the weights in the file. So
a configuration with 10^9 hidden units is an error and allocates nothing.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.nn import init
from torch.overrides import TorchFunctionMode

from ..errors import CheckpointError

# torch's layers that a network may have beside nussl's: those whose arguments are plain values.
TORCH_LAYERS = frozenset(
    """Linear Conv1d Conv2d ConvTranspose1d ConvTranspose2d LSTM GRU RNN BatchNorm1d BatchNorm2d GroupNorm LayerNorm
    InstanceNorm1d InstanceNorm2d Dropout Dropout2d ReLU PReLU LeakyReLU ELU GELU Sigmoid Tanh Softmax Softplus
    Identity Flatten Unflatten AvgPool1d AvgPool2d MaxPool1d MaxPool2d Upsample""".split()
)
MOST_LAYERS = 1000
# Arguments whose product is the size of a matrix that a layer computes with NumPy, even on the meta device.
_MATRICES = (("num_frequencies", "num_mels"), ("num_filters", "filter_length"))


def config_of(content: dict) -> Any:
    """Return the configuration in a checkpoint; of two, the one that nussl uses."""
    config = content.get("config") or content["metadata"].get("config")
    return json.loads(config) if isinstance(config, str) else config


def check_weights(path: object, content: dict) -> None:
    """Check that a checkpoint's weights fit the network that it describes.

    Raises:
        CheckpointError: A layer has an unknown class, is larger than its weights, or the shapes differ.
    """
    state = content["state_dict"]
    try:
        config = config_of(content)
        if not config:
            return  # weights alone: no network is built from them
        _check_layers(config, state)
        wanted = _shapes(json.dumps(config))
        found = {key: tuple(tensor.shape) for key, tensor in state.items()}
        differing = [key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)]
        if differing:
            key = min(differing)
            raise ValueError(f"{key}: got {found.get(key, 'nothing')}, expected {wanted.get(key, 'nothing')}")
    except Exception as error:  # a configuration may give a layer any argument
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
        raise CheckpointError(
            f"Checkpoint {path} is wrong: its weights do not fit its configuration ({first_line}). Download or train it "
            "again."
        ) from error


def check_finite(path: object, state: dict[str, torch.Tensor]) -> None:
    """Check that all weights are finite: a network with NaN or infinite weights gives NaN or infinite output.

    Raises:
        CheckpointError: A weight is not finite.
    """
    tensors = {name: tensor for name, tensor in state.items() if torch.is_tensor(tensor) and not tensor.is_meta}
    spoilt = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if spoilt:
        raise CheckpointError(
            f"{path} has weights that are NaN or infinite, in {', '.join(sorted(spoilt)[:3])}. The training that wrote it "
            "went wrong, or the file is damaged. Take an earlier checkpoint."
        )


@functools.lru_cache(maxsize=16)  # nussl reads the source code of every layer
def _shapes(config: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a network's weights and buffers without allocating them."""
    from nussl.ml import SeparationModel

    with torch.device("meta"), SkipWeightInit():
        return {key: tuple(tensor.shape) for key, tensor in SeparationModel(json.loads(config)).state_dict().items()}


class SkipWeightInit(TorchFunctionMode):
    """Within the block, new layers do not initialise their weights, because a file's weights will replace them.

    On the CPU their memory is then never touched. On the meta device torch would import its compiler to initialise
    nothing: one second and 80 MB.
    """

    _DRAWING = frozenset((torch.Tensor.normal_, torch.Tensor.uniform_, init.normal_, init.uniform_, init.kaiming_uniform_))

    def __torch_function__(
        self, function: Callable, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in self._DRAWING:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


def _check_layers(config: dict, state: dict) -> None:
    from nussl.ml.networks import modules

    elements = sum(tensor.numel() for tensor in state.values())
    layers = [layer for layer in config["modules"].values() if "class" in layer]
    if len(layers) > MOST_LAYERS:
        raise ValueError(f"it has {len(layers)} layers, the limit is {MOST_LAYERS}")
    for layer in layers:
        kind, args = layer["class"], layer.get("args", {})
        found = getattr(modules, kind, None)
        ours = isinstance(found, type) and issubclass(found, torch.nn.Module)
        if not ours and kind not in TORCH_LAYERS:
            raise ValueError(f"it has a layer {kind!r}, which no nussl network has")
        for name, value in _numbers(args):
            most = len(state) if name == "num_layers" else max(elements, 2**20)
            if not abs(value) <= most:
                raise ValueError(f"its layer {kind} has {name} {value}, and the file has {elements} weights")
        for first, second in _MATRICES:
            if int(args.get(first) or 0) * int(args.get(second) or 0) > max(elements, 2**20):
                raise ValueError(f"its layer {kind} has {first} {args[first]} and {second} {args[second]}")


def _numbers(value: object, name: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number in the arguments of a layer, with the argument's name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner, name)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield name, value
