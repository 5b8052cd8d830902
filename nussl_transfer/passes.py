"""Stage 6, passes: a batch through the network, which computes what a mode's losses need and no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from nussl.ml import SeparationModel

from .builders import EMBEDDING_HEAD, MASK_HEAD, NORMALIZATION
from .distributed import statistics_of_all
from .errors import ConfigError
from .freezing import outputs_of_mode, outputs_only


class Pass:
    """Takes batches through a network.

    Args:
        model: The network.
        mode: 'pretrain', 'whole' or 'mask'.
        targets: Makes spectra of a batch of audio; not needed where batches hold spectra already.
        frame_step: The embedding is computed at every so-many-th frame.
        autocast: Whether linear and recurrent layers compute in bfloat16.

    Raises:
        ConfigError: ``frame_step`` is below 1.
    """

    def __init__(
        self,
        model: SeparationModel,
        mode: str,
        targets: Callable[[dict], dict] | None = None,
        frame_step: int = 1,
        autocast: bool = False,
    ):
        if frame_step < 1:
            raise ConfigError(f"frame_step counts frames and must be at least 1: got {frame_step}.")
        self.model, self.targets, self.autocast = model, targets, autocast
        self.outputs = outputs_of_mode(mode)
        # Only the deep clustering loss is thinned: in mode 'mask' there may be no embedding, nor targets for it.
        self.frame_step = frame_step if EMBEDDING_HEAD in self.outputs else 1

    def __call__(self, batch: dict, first_frame: int = 0) -> tuple[dict, dict]:
        """Returns what the network makes of a batch, and what that should have been.

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
        with self._for_the_losses(frames):
            output = self._network(batch, self.outputs, given)
        if self.frame_step > 1:
            batch = {**batch, **{key: batch[key][:, frames] for key in ("ideal_binary_mask", "weights")}}
        # The Gram loss casts piece by piece; a whole embedding in float32 would be the largest tensor of the step.
        return {key: value if key == EMBEDDING_HEAD else value.float() for key, value in output.items()}, batch

    def _network(self, batch: dict, outputs: list[str], given=()) -> dict:
        device = batch["mix_magnitude"].device.type
        with (
            torch.autocast(device, dtype=torch.bfloat16, enabled=self.autocast),
            outputs_only(self.model, outputs, given),
            statistics_of_all(self.model),
        ):
            return self.model(batch)

    @contextmanager
    def _for_the_losses(self, frames: slice) -> Iterator[None]:
        """Lets the heads compute what the losses need: the embedding at some frames, and no unit vectors.

        The loss normalises what it is given, so that doing it here as well would change nothing, and cost, with
        its gradient, as much again as the loss.
        """
        with ExitStack() as stack:
            for name, activation, hook in (
                (EMBEDDING_HEAD, "unit_norm", None),
                (MASK_HEAD, "softmax", lambda _, inputs, output: _softmax(output)),
            ):
                head = self.model.layers[name] if name in self.outputs else None
                own = getattr(head, "activation", None)
                if isinstance(own, (list, tuple)) and activation in own:
                    stack.callback(setattr, head, "activation", own)
                    head.activation = [kept for kept in own if kept != activation]
                    if hook is not None:
                        stack.enter_context(head.register_forward_hook(hook))
            if frames.step > 1:
                head = self.model.layers[EMBEDDING_HEAD]
                stack.enter_context(head.register_forward_pre_hook(lambda _, inputs: (inputs[0][:, frames],)))
            yield


def _softmax(logits: torch.Tensor) -> torch.Tensor:
    """Returns the softmax over the last axis; over an axis of so few, torch's takes nine times as long on a CPU."""
    if logits.device.type != "cpu":
        return logits.softmax(dim=-1)
    return logits.movedim(-1, 0).contiguous().softmax(dim=0).movedim(0, -1)


def _items(batch: dict, part: slice, items: int) -> dict:
    """Returns these items of a batch; what does not have one row an item stays as it is."""
    rows = {k: v[part] for k, v in batch.items() if torch.is_tensor(v) and v.ndim and len(v) == items}
    return {**batch, **rows}
