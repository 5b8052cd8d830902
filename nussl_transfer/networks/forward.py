"""Stage 6, passes: a batch through the network, which computes what a mode's losses need and no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from nussl.ml import SeparationModel
from torch import nn

from ..errors import ConfigError
from ..runtime.reduce import statistics_of_all
from .chimera import EMBEDDING_HEAD, MASK_HEAD, NORMALIZATION
from .freezing import outputs_of_mode, outputs_only
from .losses.heads import DeferredEmbedding


class ForwardPass:
    """Takes batches through a network.

    Args:
        model: The network.
        mode: 'pretrain', 'whole' or 'mask'.
        targets: Makes spectra of a batch of audio; not needed where batches hold spectra already.
        frame_step: The embedding is computed at every so-many-th frame.
        bf16: Whether linear and recurrent layers compute in bfloat16.

    Raises:
        ConfigError: ``frame_step`` is below 1.
    """

    def __init__(
        self,
        model: SeparationModel,
        mode: str,
        targets: Callable[[dict], dict] | None = None,
        frame_step: int = 1,
        bf16: bool = False,
    ):
        if frame_step < 1:
            raise ConfigError(f"frame_step counts frames and must be at least 1: got {frame_step}.")
        self.model, self.targets, self.bf16 = model, targets, bf16
        self.outputs = outputs_of_mode(mode)
        # Only the deep clustering loss is thinned: in mode 'mask' there may be no embedding, nor targets for it.
        self.frame_step = frame_step if EMBEDDING_HEAD in self.outputs else 1

    def __call__(self, batch: dict, first_frame: int = 0) -> tuple[dict, dict]:
        """Returns what the network makes of a batch, and what that should have been.

        The embedding is a :class:`~nussl_transfer.networks.losses.heads.DeferredEmbedding`, where the head allows: its loss makes
        it, and nothing else needs it.

        Args:
            batch: Audio, or nussl's spectra and targets.
            first_frame: Of those at which the embedding is computed.
        """
        return self._through(self._with_targets(batch), first_frame)

    def in_parts(self, batch: dict, first_frame: int, count: int) -> Iterator[tuple[float, dict, dict]]:
        """Yields (share of the items, outputs, targets) for parts of a batch, one after the other.

        Whoever goes through all, and takes the gradient of share x loss at each, has the gradient of the whole
        batch, for the memory of a part. Batch normalisation of the spectra sees the whole batch; in another
        place of the network it would see a part.
        """
        batch = self._with_targets(batch)
        if count == 1:
            yield 1.0, *self._through(batch, first_frame)
            return
        whole, leaf = None, {}
        if NORMALIZATION in self.model.layers:
            whole = self._network(batch, [NORMALIZATION])[NORMALIZATION]
            leaf = {NORMALIZATION: whole.detach().requires_grad_(whole.requires_grad)}
        items, start = len(batch["mix_magnitude"]), 0
        for number in range(min(count, items)):
            end = start + items // count + (number < items % count)
            part = _items({**batch, **leaf}, slice(start, end), items)
            yield (end - start) / items, *self._through(part, first_frame, leaf)
            start = end
        # Each part has left its gradient at the leaf; from there it goes on in one.
        if leaf and leaf[NORMALIZATION].grad is not None:
            whole.backward(leaf[NORMALIZATION].grad)

    def _with_targets(self, batch: dict) -> dict:
        if "mix_magnitude" in batch:
            return batch
        if self.targets is None:
            raise ConfigError(
                f"A batch with {', '.join(sorted(batch))} came to a closure that makes no spectra. Give the data set "
                "nussl's MagnitudeSpectrumApproximation, or the closure `targets=Targets(stft_params)`."
            )
        return self.targets(batch)

    def _through(self, batch: dict, first_frame: int, given=()) -> tuple[dict, dict]:
        frames = slice(first_frame % self.frame_step, None, self.frame_step)
        output = self._deferred(batch, frames, given) if self._defers() else self._whole(batch, frames, given)
        if self.frame_step > 1:
            batch = {**batch, **{key: batch[key][:, frames] for key in ("ideal_binary_mask", "weights")}}
        return output, batch

    def _defers(self) -> bool:
        """Whether the embedding can be left to its loss to make, piece by piece."""
        return EMBEDDING_HEAD in self.outputs and DeferredEmbedding.can_be(self.model.layers[EMBEDDING_HEAD])

    def _deferred(self, batch: dict, frames: slice, given) -> dict:
        (below,) = next(connection[1] for connection in self.model.connections if connection[0] == EMBEDDING_HEAD)
        others = [name for name in self.outputs if name != EMBEDDING_HEAD]
        output = self._network(batch, [*others, below], given)
        hidden = output.pop(below)[:, frames]
        dtype = torch.bfloat16 if self.bf16 else torch.float32
        embedding = DeferredEmbedding(hidden, self.model.layers[EMBEDDING_HEAD], dtype)
        return {**{name: value.float() for name, value in output.items()}, EMBEDDING_HEAD: embedding}

    def _whole(self, batch: dict, frames: slice, given) -> dict:
        with ExitStack() as stack:
            if self.frame_step > 1:
                head = self.model.layers[EMBEDDING_HEAD]
                stack.enter_context(head.register_forward_pre_hook(lambda _, inputs: (inputs[0][:, frames],)))
            output = self._network(batch, self.outputs, given)
        return {name: value.float() for name, value in output.items()}

    def _network(self, batch: dict, outputs: list[str], given=()) -> dict:
        device = batch["mix_magnitude"].device.type
        with (
            torch.autocast(device, dtype=torch.bfloat16, enabled=self.bf16),
            outputs_only(self.model, outputs, given),
            statistics_of_all(self.model),
            _fast_softmax(self.model.layers[MASK_HEAD] if MASK_HEAD in outputs else None),
        ):
            return self.model(batch)


@contextmanager
def _fast_softmax(head: nn.Module | None) -> Iterator[None]:
    """Takes a mask head's softmax elsewhere; over a last axis of so few, torch's takes nine times as long on a CPU."""
    own = getattr(head, "activation", None)
    if not isinstance(own, (list, tuple)) or "softmax" not in own:
        yield
        return
    head.activation = [name for name in own if name != "softmax"]
    try:
        with head.register_forward_hook(lambda _, inputs, output: _softmax(output)):
            yield
    finally:
        head.activation = own


def _softmax(logits: torch.Tensor) -> torch.Tensor:
    """Returns the softmax over the last axis."""
    if logits.device.type != "cpu":
        return logits.softmax(dim=-1)
    return logits.movedim(-1, 0).contiguous().softmax(dim=0).movedim(0, -1)


def _items(batch: dict, part: slice, items: int) -> dict:
    """Returns these items of a batch; what does not have one row an item stays as it is."""
    rows = {k: v[part] for k, v in batch.items() if torch.is_tensor(v) and v.ndim and len(v) == items}
    return {**batch, **rows}
