"""Layers in blocks of time on the CPU: the same numbers in a fraction of the memory, and out of the processor's cache.

For a whole sequence torch holds the products of all frames with a recurrent layer's input weights, several times what
goes in and comes out. A layer that is given a block of frames at a time, with the state that the block before left,
holds those of the block; the backward direction takes the blocks from the last to the first. A head looks at one frame
at a time; it makes copies for each of its activations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from nussl.ml.networks.modules import Embedding
from torch import nn

# Frames, for a recurrent layer: at each block torch brings its weights into another order, which at 64 takes a fourth of
# the time of the paper's network; twice as many as here save a twentieth, and take 25 MB more. A chunk has four.
BLOCK = 320
# Frames, for a head that is to give the very bits: it makes several copies.
HEAD_BLOCK = 64
# Frames of any items, for a head: what it makes of them stays in the processor's cache.
ROWS = 256


@contextmanager
def layers_in_blocks(model: nn.Module, exact: bool = True) -> Iterator[None]:
    """Within the block, the recurrent layers and the heads of a model that lies on the CPU run in blocks of time.

    Args:
        model: The network.
        exact: Whether a softmax is to give the very bits that it gives elsewhere; it takes nine times as long.
    """
    changed = []
    for layer in model.modules() if _on_cpu(model) else ():
        if isinstance(layer, (nn.LSTM, nn.GRU)) and layer.batch_first and layer.bias and not layer.proj_size:
            changed.append(layer)
            layer.forward = lambda data, layer=layer: (_run_recurrent(layer, data), None)
        elif isinstance(layer, Embedding) and layer.dim_to_embed == [-1] and layer.reshape:
            changed.append(layer)
            if not exact and layer.activation in (["softmax"], ("softmax",)):
                layer.forward = _softmax_head(layer)
            else:
                layer.forward = lambda data, forward=layer.forward: _run_head(forward, data)
    try:
        yield
    finally:
        for layer in changed:
            del layer.forward  # the instance's; that of its class is there again


def _on_cpu(model: nn.Module) -> bool:
    return all(weight.device.type == "cpu" for weight in model.parameters())


def _run_head(forward: Callable[[torch.Tensor], torch.Tensor], data: torch.Tensor) -> torch.Tensor:
    """Returns the output of a head, [nb, nt, nf, nc, n], of [nb, nt, hidden]."""
    output = None
    for start in range(0, data.shape[1], HEAD_BLOCK):
        block = forward(data[:, start : start + HEAD_BLOCK])
        if output is None:
            output = block.new_empty(data.shape[0], data.shape[1], *block.shape[2:])
        output[:, start : start + HEAD_BLOCK] = block
    return output


def _softmax_head(head: Embedding) -> Callable[[torch.Tensor], torch.Tensor]:
    """Returns what computes a head that ends in a softmax over its last axis.

    Over a last axis of two or four numbers torch's softmax takes nine times as long as over an axis whose neighbours lie
    apart. With the rows of the weights in another order, the linear layer gives it that. The last bit may be another.
    """
    bins = head.num_features, head.num_audio_channels
    sizes = bins[0] * bins[1], head.embedding_size

    def by_source(values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(0, sizes).transpose(0, 1).flatten(0, 1).contiguous()

    weight, bias = by_source(head.linear.weight), head.linear.bias
    bias = None if bias is None else by_source(bias)

    def run(data: torch.Tensor) -> torch.Tensor:
        frames = data.flatten(0, 1)  # [nb * nt, hidden]
        masks = data.new_empty(len(frames), *sizes[::-1])  # [nb * nt, n, nf * nc]
        for start in range(0, len(frames), ROWS):
            logits = nn.functional.linear(frames[start : start + ROWS], weight, bias).unflatten(-1, sizes[::-1])
            masks[start : start + ROWS] = logits.softmax(dim=1)
        return masks.unflatten(-1, bins).unflatten(0, data.shape[:2]).movedim(2, -1)  # [nb, nt, nf, nc, n]

    return run


def _run_recurrent(layer: nn.RNNBase, data: torch.Tensor) -> torch.Tensor:
    """Returns the output of all layers, [nb, nt, directions x hidden], of [nb, nt, features]."""
    directions = 2 if layer.bidirectional else 1
    data = data.transpose(0, 1).contiguous()  # [nt, nb, features]: a block of time lies together
    frames, rows, _ = data.shape
    weights = [[getattr(layer, name) for name in names] for names in layer._all_weights]
    for number in range(layer.num_layers):
        shape = (frames, rows, directions * layer.hidden_size)
        if number < layer.num_layers - 1:
            output = data.new_empty(shape)
        else:  # the order of axes that is returned
            output = data.new_empty(rows, frames, shape[2]).transpose(0, 1)
        for direction in range(directions):
            columns = slice(direction * layer.hidden_size, (direction + 1) * layer.hidden_size)
            _run_direction(layer, data, weights[directions * number + direction], direction == 1, output[..., columns])
        data = output
    return data.transpose(0, 1)


def _run_direction(
    layer: nn.RNNBase, data: torch.Tensor, weights: list[torch.Tensor], backward: bool, output: torch.Tensor
) -> None:
    """Writes one direction of one layer, [nt, nb, hidden], into ``output``."""
    state = data.new_zeros(1, data.shape[1], layer.hidden_size)
    state = (state, state.clone()) if isinstance(layer, nn.LSTM) else state
    function = torch.lstm if isinstance(layer, nn.LSTM) else torch.gru
    starts = range(0, len(data), BLOCK)
    for start in reversed(starts) if backward else starts:
        block = data[start : start + BLOCK]
        block = block.flip(0) if backward else block
        # has_biases, num_layers, dropout, train, bidirectional, batch_first
        result, *state = function(block, state, weights, True, 1, 0.0, False, False, False)
        state = tuple(state) if isinstance(layer, nn.LSTM) else state[0]
        output[start : start + BLOCK] = result.flip(0) if backward else result
