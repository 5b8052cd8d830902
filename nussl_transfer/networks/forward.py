"""Run only those layers of a network that some outputs need, with some layers replaced for one call.

`forward` is nussl's own loop over ``model.connections`` with two additions: it stops at the requested outputs, and a layer
can be replaced for one call. `ForwardPass` runs the outputs that a training mode's losses use; `run_network` runs one
output without gradients. Two kinds of replacement give the same numbers as the layers: those of
`nussl_transfer.networks.blocks`, and batch normalisation over the parts of a batch that several processes hold
(`over_processes`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from nussl.ml import SeparationModel
from nussl.ml.networks.modules import BatchNorm
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import ConfigError
from ..runtime.log import logger
from ..runtime.process_group import is_single_process
from ..runtime.reduce import normalize_over_processes
from .blocks import Override, ends_in_softmax, in_blocks, softmax_head
from .chimera import EMBEDDING_HEAD, MASK_HEAD, NORMALIZATION
from .freezing import outputs_of_mode
from .losses.heads import DeferredEmbedding


def forward(
    model: SeparationModel, batch: Mapping, outputs: Sequence[str], overrides: Mapping[str, Override] | None = None
) -> dict:
    """Run the layers that some outputs need, and return these outputs.

    Args:
        model: The network; nothing in it is changed.
        batch: Its inputs, by name.
        outputs: Names of layers, such as 'mask'.
        overrides: By name of the layer: a function that is called with the layer's inputs instead of the layer, or the
            layer's output; then the layers that only this one needs are not run.

    Returns:
        The output of each layer in ``outputs``, by name.

    Raises:
        ConfigError: The batch lacks an input of the network.
    """
    overrides = overrides or {}
    given = {name: value for name, value in overrides.items() if torch.is_tensor(value)}
    values = {**batch, **given}
    for name, *inputs in needed_connections(model, outputs, given):
        arguments, keywords = [], {}
        for source in inputs[0] if inputs else ():
            if isinstance(source, dict):
                # nussl's rule: the output or input named by the value; else the input named by the key; else a constant.
                for key, value in source.items():
                    keywords[key] = values.get(value, values.get(key, value)) if isinstance(value, str) else value
            elif source in values:
                arguments.append(values[source])
            else:
                found = ", ".join(sorted(batch))
                raise ConfigError(f"The batch lacks {source!r}, an input of layer {name!r}: it has {found}. Add it.")
        output = overrides.get(name, model.layers[name])(*arguments, **keywords)
        if isinstance(output, dict):
            values.update({f"{name}:{key}": value for key, value in output.items()})
        elif isinstance(output, tuple):
            values.update({f"{name}:{number}": value for number, value in enumerate(output)})
        else:
            values[name] = output
    return {name: values[name] for name in outputs}


def needed_connections(model: SeparationModel, outputs: Sequence[str], given: Sequence[str] | Mapping = ()) -> list:
    """Return the connections that some outputs need, in the order in which they run.

    Args:
        model: The network.
        outputs: Names of layers.
        given: Names of layers whose outputs are known.
    """
    needed, kept = set(outputs), []
    for connection in reversed(model.connections):
        if connection[0] in needed and connection[0] not in given:
            kept.append(connection)
            # An input is a name or {argument: name}; a name with ':' is one of several outputs of a layer.
            for source in connection[1] if len(connection) == 2 else ():
                names = source.values() if isinstance(source, dict) else (source,)
                needed.update(str(name).split(":")[0] for name in names)
    return kept[::-1]


def run_network(
    model: SeparationModel, magnitude: torch.Tensor, output: str, bf16: bool = False, exact: bool = True
) -> torch.Tensor:
    """Return one output of a network without gradients, computing only what that output needs.

    Args:
        model: The network, in evaluation mode.
        magnitude: Magnitude spectrograms; they are moved to the network's device.
        output: 'mask' or 'embedding'.
        bf16: Whether matrices are multiplied in bfloat16; spectra, their normalisation and the result are float32.
        exact: Whether a softmax on the CPU must equal nussl's bit for bit. False is faster.

    Shape:
        [nb, nt, nf, nc] -> float32 [nb, nt, nf, nc, ns] on the network's device
    """
    device = next(model.parameters()).device
    with torch.inference_mode(), autocast(device.type, bf16):
        batch = {"mix_magnitude": magnitude.to(device)}
        return forward(model, batch, [output], in_blocks(model, exact))[output].float()


def autocast(device: str, bf16: bool) -> AbstractContextManager:
    """Return a context in which matrices are multiplied in bfloat16, if wanted; else one that does nothing.

    A processor without instructions for bfloat16 computes in float32: torch has no recurrent layer for it there.
    """
    return torch.autocast(device, torch.bfloat16) if can_use_bf16(device, bf16) else nullcontext()


def can_use_bf16(device: str, bf16: bool) -> bool:
    """Return whether to compute in bfloat16: it is wanted, and the device can. A processor that cannot is logged once."""
    if bf16 and device == "cpu" and not cpu_has_bf16():
        _warn_of_float32()
        return False
    return bf16


def cpu_has_bf16() -> bool:
    """Return whether torch can run all layers in bfloat16 on this processor."""
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


@functools.cache
def _warn_of_float32() -> None:
    logger.warning("This processor has no instructions for bfloat16: computing in float32.")


class ForwardPass:
    """Run batches through a network, computing only what a mode's losses use.

    Args:
        model: The network.
        mode: 'pretrain', 'whole' or 'mask'.
        targets: Makes spectra and targets of a batch of audio; not needed where batches hold them already.
        frame_step: The embedding is computed at every ``frame_step``-th frame.
        bf16: Whether linear and recurrent layers compute in bfloat16.
        mask_frame_step: The masks are computed at every ``mask_frame_step``-th frame.

    Raises:
        ConfigError: ``frame_step`` or ``mask_frame_step`` is below 1.
    """

    def __init__(
        self,
        model: SeparationModel,
        mode: str,
        targets: Callable[[dict], dict] | None = None,
        frame_step: int = 1,
        bf16: bool = False,
        mask_frame_step: int = 1,
    ):
        for name, step in (("frame_step", frame_step), ("mask_frame_step", mask_frame_step)):
            if step < 1:
                raise ConfigError(f"{name} is {step}. Give a number of frames of at least 1.")
        self.model, self.targets, self.bf16 = model, targets, bf16
        self.outputs = outputs_of_mode(mode)
        # Only the deep clustering loss skips frames: in mode 'mask' there may be no embedding, nor targets for it.
        self.frame_step = frame_step if EMBEDDING_HEAD in self.outputs else 1
        self.mask_frame_step = mask_frame_step if MASK_HEAD in self.outputs else 1

    def __call__(self, batch: dict, first_frame: int = 0) -> tuple[dict, dict]:
        """Return the network's outputs for a batch, and the targets.

        The embedding is a :class:`~nussl_transfer.networks.losses.heads.DeferredEmbedding` where its head allows: the loss
        computes it, and nothing else needs it.

        Args:
            batch: Audio, or nussl's spectra and targets.
            first_frame: One of the frames at which outputs with a frame step are computed.
        """
        return self._run(self._with_targets(batch), first_frame)

    def in_parts(self, batch: dict, first_frame: int, count: int) -> Iterator[tuple[float, dict, dict]]:
        """Yield (share of the items, outputs, targets) for parts of a batch, one after the other.

        The gradients of share x loss, summed over the parts, are the gradient of the whole batch, and need the memory of
        one part.
        Batch normalisation of the spectra sees the whole batch; elsewhere in a network it would see a part.

        Args:
            batch: Audio, or nussl's spectra and targets.
            first_frame: One of the frames at which outputs with a frame step are computed.
            count: Number of parts.
        """
        batch = self._with_targets(batch)
        if count == 1:
            yield 1.0, *self._run(batch, first_frame)
            return
        whole: torch.Tensor | None = None
        leaf: torch.Tensor | None = None
        if NORMALIZATION in self.model.layers:
            whole = self._forward(batch, [NORMALIZATION], {})[NORMALIZATION]
            leaf = whole.detach().requires_grad_(whole.requires_grad)
        items, start = len(batch["mix_magnitude"]), 0
        for number in range(min(count, items)):
            end = start + items // count + (number < items % count)
            part = _items(batch, slice(start, end), items)
            given = {} if leaf is None else {NORMALIZATION: leaf[start:end]}
            yield (end - start) / items, *self._run(part, first_frame, given)
            start = end
        # Each part has added its gradient to the leaf's; the layers below run backward once, for the whole batch.
        if whole is not None and leaf is not None and leaf.grad is not None:
            whole.backward(leaf.grad)

    def _with_targets(self, batch: dict) -> dict:
        # nussl's trainer leaves batches on the CPU where there is no CUDA, as on a Mac.
        device = next(self.model.parameters()).device
        batch = {name: value.to(device) if torch.is_tensor(value) else value for name, value in batch.items()}
        if "mix_magnitude" in batch:
            return batch
        if self.targets is None:
            raise ConfigError(
                f"The batch has {', '.join(sorted(batch))} and no mix_magnitude, and the closure makes no spectra. Give "
                "the data set nussl's MagnitudeSpectrumApproximation, or the closure `targets=Targets(stft_params)`."
            )
        return self.targets(batch)

    def _run(self, batch: dict, first_frame: int, given: Mapping[str, torch.Tensor] | None = None) -> tuple[dict, dict]:
        frames = slice(first_frame % self.frame_step, None, self.frame_step)
        mask_frames = slice(first_frame % self.mask_frame_step, None, self.mask_frame_step)
        overrides: dict[str, Override] = dict(given or {})
        if self.mask_frame_step > 1:
            overrides.update(self._masks_at(mask_frames))
        if self._defers():
            output = self._run_deferred(batch, frames, overrides)
        else:
            if self.frame_step > 1:
                head = self.model.layers[EMBEDDING_HEAD]
                overrides[EMBEDDING_HEAD] = lambda hidden: head(hidden[:, frames])
            output = self._forward(batch, self.outputs, overrides)
            output = {name: value.float() for name, value in output.items()}
        if self.frame_step > 1:
            batch = {**batch, **{key: batch[key][:, frames] for key in ("ideal_binary_mask", "weights")}}
        if self.mask_frame_step > 1:
            batch = {**batch, "source_magnitudes": batch["source_magnitudes"][:, mask_frames]}
        return output, batch

    def _masks_at(self, frames: slice) -> dict[str, Override]:
        """Return overrides that compute masks and estimates at some frames only."""
        head, estimates = self._mask_head(), self.model.layers["estimates"]
        return {
            MASK_HEAD: lambda hidden: head(hidden[:, frames]),
            "estimates": lambda mask, magnitude: estimates(mask, magnitude[:, frames]),
        }

    def _mask_head(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the mask head, on the CPU with a faster softmax."""
        head = self.model.layers[MASK_HEAD]
        on_cpu = next(head.parameters()).device.type == "cpu"
        return functools.partial(softmax_head, head) if on_cpu and ends_in_softmax(head) else head

    def _defers(self) -> bool:
        """Return whether the loss can compute the embedding, piece by piece."""
        return EMBEDDING_HEAD in self.outputs and DeferredEmbedding.supports(self.model.layers[EMBEDDING_HEAD])

    def _run_deferred(self, batch: dict, frames: slice, overrides: Mapping[str, Override]) -> dict:
        (below,) = next(connection[1] for connection in self.model.connections if connection[0] == EMBEDDING_HEAD)
        others = [name for name in self.outputs if name != EMBEDDING_HEAD]
        output = self._forward(batch, [*others, below], overrides)
        hidden = output.pop(below)[:, frames]
        dtype = torch.bfloat16 if can_use_bf16(hidden.device.type, self.bf16) else torch.float32
        embedding = DeferredEmbedding(hidden, self.model.layers[EMBEDDING_HEAD], dtype)
        return {**{name: value.float() for name, value in output.items()}, EMBEDDING_HEAD: embedding}

    def _forward(self, batch: dict, outputs: Sequence[str], overrides: Mapping[str, Override]) -> dict:
        device = batch["mix_magnitude"].device.type
        own = over_processes(self.model)
        if MASK_HEAD in outputs:
            own[MASK_HEAD] = self._mask_head()
        with autocast(device, self.bf16):
            return forward(self.model, batch, outputs, {**own, **overrides})


def over_processes(model: SeparationModel) -> dict[str, Override]:
    """Return overrides that normalise over the parts of a batch in all processes; a single process needs none.

    Raises:
        ConfigError: A layer other than nussl's BatchNorm holds a batch normalisation in training.
    """
    if is_single_process():
        return {}
    overrides: dict[str, Override] = {}
    for name, layer in model.layers.items():
        if not any(isinstance(module, _BatchNorm) and module.training for module in layer.modules()):
            continue
        if type(layer) is not BatchNorm:
            raise ConfigError(
                f"Layer {name!r} holds a batch normalisation, and several processes train only networks that have it in a "
                "BatchNorm layer of nussl. Train in one process, or freeze that layer."
            )
        overrides[name] = functools.partial(_normalize_layer, layer)
    return overrides


def _normalize_layer(layer: BatchNorm, data: torch.Tensor) -> torch.Tensor:
    """Run nussl's BatchNorm layer with the statistics of the batch in all processes."""
    data = data.transpose(layer.feature_dim, 1)
    shape = data.shape
    data = normalize_over_processes(layer.batch_norm, data.reshape(shape[0], layer.num_features, -1))
    return data.reshape(shape).transpose(layer.feature_dim, 1)


def _items(batch: dict, part: slice, items: int) -> dict:
    """Return some items of a batch; what does not have one row for each item stays as it is."""
    rows = {k: v[part] for k, v in batch.items() if torch.is_tensor(v) and v.ndim and len(v) == items}
    return {**batch, **rows}
