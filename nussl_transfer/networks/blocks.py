"""Run recurrent layers and heads in blocks of time on the CPU: the same numbers in less time and memory.

For networks that do not train, `in_blocks` returns replacements for `nussl_transfer.networks.forward.forward`. Given a
whole sequence, torch holds the products of all frames with a recurrent layer's input weights, several times the layer's
input and output. Given a block of frames and the state after the block before, torch holds the products of that block only.
The backward direction takes the blocks from the last to the first. A head sees one frame at a time, and copies its input
for each of its activations.

`softmax_head` computes the softmax over the sources with the sources before the bins. Over a last axis of two or four
numbers torch's softmax takes nine times as long on a CPU. Training uses it too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from nussl.ml import SeparationModel
from nussl.ml.networks.modules import Embedding, RecurrentStack
from torch import nn

from .losses.heads import is_plain_head

# The replacement of a layer: a function of the layer's inputs, or the layer's output.
Override = Callable[..., torch.Tensor] | torch.Tensor

# Frames in a block of a recurrent layer. Torch reorders the weights for each block: with 64 frames, that takes a quarter of
# the time of the paper's network. 640 frames save a twentieth of the time and need 25 MB more. A chunk has four blocks.
BLOCK = 320
# Frames in a block of a head whose output must equal nussl's bit for bit: such a head makes several copies.
HEAD_BLOCK = 64
# Rows (frames of any items) in a block of a head with a softmax: its output stays in the processor's cache.
ROWS = 256


def in_blocks(model: SeparationModel, exact: bool = True) -> dict[str, Override]:
    """Return overrides that run recurrent layers and heads in blocks of time, for a model on the CPU; else none.

    Args:
        model: The network, in evaluation mode; no gradients are taken.
        exact: Whether a softmax must equal torch's bit for bit, which takes nine times as long.
    """
    if any(weight.device.type != "cpu" for weight in model.parameters()):
        return {}
    overrides: dict[str, Override] = {}
    for name, layer in model.layers.items():
        if type(layer) is RecurrentStack and _fits_blocks(layer.rnn):
            overrides[name] = functools.partial(_run_stack, layer.rnn)
        elif is_plain_head(layer):
            fast = not exact and ends_in_softmax(layer)
            overrides[name] = functools.partial(_softmax_rows if fast else run_head, layer)
    return overrides


def softmax_head(head: Embedding, hidden: torch.Tensor) -> torch.Tensor:
    """Run a head that ends in a softmax over its last axis, the sources; compute with the sources before the bins.

    The linear layer puts the sources before the bins, since the rows of its weights are reordered. The last bit may differ
    from that of torch's softmax over the last axis.

    Shape:
        [nb, nt, hidden] -> [nb, nt, nf, nc, ns]
    """
    masks = _sources_first(hidden.flatten(0, 1), *_by_source(head))
    return _sources_last(head, masks, hidden)


def run_head(head: Embedding, hidden: torch.Tensor) -> torch.Tensor:
    """Run a head in blocks of `HEAD_BLOCK` frames.

    Shape:
        [nb, nt, hidden] -> [nb, nt, nf, nc, n]
    """
    first = head(hidden[:, :HEAD_BLOCK])
    output = first.new_empty(hidden.shape[0], hidden.shape[1], *first.shape[2:])
    output[:, :HEAD_BLOCK] = first
    for start in range(HEAD_BLOCK, hidden.shape[1], HEAD_BLOCK):
        output[:, start : start + HEAD_BLOCK] = head(hidden[:, start : start + HEAD_BLOCK])
    return output


def run_recurrent(layer: nn.RNNBase, data: torch.Tensor) -> torch.Tensor:
    """Run all layers of an LSTM or a GRU in blocks of `BLOCK` frames.

    Shape:
        [nb, nt, features] -> [nb, nt, directions x hidden]
    """
    directions = 2 if layer.bidirectional else 1
    data = data.transpose(0, 1).contiguous()  # [nt, nb, features]: the frames of a block lie together
    frames, rows, _ = data.shape
    weights = [[getattr(layer, name) for name in names] for names in layer._all_weights]
    for number in range(layer.num_layers):
        shape = (frames, rows, directions * layer.hidden_size)
        if number < layer.num_layers - 1:
            output = data.new_empty(shape)
        else:  # laid out in the order of axes that is returned
            output = data.new_empty(rows, frames, shape[2]).transpose(0, 1)
        for direction in range(directions):
            columns = slice(direction * layer.hidden_size, (direction + 1) * layer.hidden_size)
            _run_direction(layer, data, weights[directions * number + direction], direction == 1, output[..., columns])
        data = output
    return data.transpose(0, 1)


def _run_direction(
    layer: nn.RNNBase, data: torch.Tensor, weights: list[torch.Tensor], backward: bool, output: torch.Tensor
) -> None:
    """Write one direction of one layer, [nt, nb, hidden], into ``output``."""
    zeros = data.new_zeros(1, data.shape[1], layer.hidden_size)
    state = [zeros, zeros.clone()] if isinstance(layer, nn.LSTM) else [zeros]
    starts = range(0, len(data), BLOCK)
    for start in reversed(starts) if backward else starts:
        block = data[start : start + BLOCK]
        block = block.flip(0) if backward else block
        # The last arguments are has_biases, num_layers, dropout, train, bidirectional, batch_first.
        if isinstance(layer, nn.LSTM):
            result, *state = torch.lstm(block, state, weights, True, 1, 0.0, False, False, False)
        else:
            result, *state = torch.gru(block, state[0], weights, True, 1, 0.0, False, False, False)
        output[start : start + BLOCK] = result.flip(0) if backward else result


def _run_stack(layer: nn.RNNBase, data: torch.Tensor) -> torch.Tensor:
    return run_recurrent(layer, data.flatten(2))


def _fits_blocks(layer: nn.Module) -> bool:
    return isinstance(layer, (nn.LSTM, nn.GRU)) and layer.batch_first and layer.bias and not layer.proj_size


def ends_in_softmax(layer: nn.Module) -> bool:
    """Return whether a layer is nussl's own head with a softmax as its only activation."""
    return is_plain_head(layer) and layer.activation in (["softmax"], ("softmax",))


def _softmax_rows(head: Embedding, hidden: torch.Tensor) -> torch.Tensor:
    """Run `softmax_head` in blocks of `ROWS` rows."""
    frames, (weight, bias, sizes) = hidden.flatten(0, 1), _by_source(head)
    masks = hidden.new_empty(len(frames), *sizes)
    for start in range(0, len(frames), ROWS):
        masks[start : start + ROWS] = _sources_first(frames[start : start + ROWS], weight, bias, sizes)
    return _sources_last(head, masks, hidden)


def _by_source(head: Embedding) -> tuple[torch.Tensor, torch.Tensor | None, tuple[int, int]]:
    """Return a head's weights and bias with rows in the order of (source, bin), and the numbers of sources and bins."""
    sizes = head.embedding_size, head.num_features * head.num_audio_channels

    def reorder(values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(0, sizes[::-1]).transpose(0, 1).flatten(0, 1).contiguous()

    bias = head.linear.bias
    return reorder(head.linear.weight), None if bias is None else reorder(bias), sizes


def _sources_first(
    rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, sizes: tuple[int, int]
) -> torch.Tensor:
    """Return the masks of some rows: [rows, hidden] -> [rows, ns, nf * nc]."""
    return nn.functional.linear(rows, weight, bias).unflatten(-1, sizes).softmax(dim=1)


def _sources_last(head: Embedding, masks: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Return masks in nussl's order of axes: [nb * nt, ns, nf * nc] -> [nb, nt, nf, nc, ns]."""
    bins = head.num_features, head.num_audio_channels
    return masks.unflatten(-1, bins).unflatten(0, hidden.shape[:2]).movedim(2, -1)
