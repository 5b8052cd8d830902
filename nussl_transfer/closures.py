"""Stage 6, closures: a step of training, in each of the paper's three modes, inside any nussl trainer.

========== ======================= ================================ =============================
mode       trained                 loss                             computed
========== ======================= ================================ =============================
pretrain   body, embedding head    deep clustering                  no masks
whole      everything              0.01 DC + 0.99 L1 of magnitudes  everything
mask       mask head               L1 of magnitudes                 no embedding; no graph below
========== ======================= ================================ =============================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from nussl.ml import SeparationModel
from nussl.ml.train.closures import TrainClosure, ValidationClosure
from nussl.ml.train.trainer import BackwardsEvents

from .builders import EMBEDDING_HEAD, PAPER
from .errors import ConfigError
from .freezing import freeze, hold, layers_of_mode, outputs_of_mode, outputs_only, refuse_unknown


class TransferClosure(TrainClosure):
    """Trains a ChimeraNet in one of the paper's modes, inside any nussl trainer.

    Give the optimizer what the mode trains, and no more::

        from nussl_transfer.freezing import trainable_parameters

        optimizer = torch.optim.Adam(trainable_parameters(model, "mask"))
        closure = TransferClosure(optimizer, model, mode="mask")
        trainer, _ = nussl.ml.train.create_train_and_validation_engines(closure)

    Args:
        optimizer: Holds the parameters to train, and none that is frozen.
        model: The network.
        mode: 'pretrain', 'whole' or 'mask'.
        dc_weight: Weight of the deep clustering loss in mode 'whole'; the other loss has the rest.
        frozen: Layers frozen besides those that the mode freezes.
        targets: Makes spectra of a batch of audio; not needed where batches hold spectra already.
        frame_step: The deep clustering loss is taken at every so-many-th frame, starting one frame later at
            each iteration. Frames overlap by three quarters in the paper's STFT, so 4 still uses every
            sample, at a quarter of the cost of the largest layer. The paper uses every frame. The masks' loss
            always does.
        autocast: Whether linear and recurrent layers compute in bfloat16; parameters and losses stay in float32.

    Raises:
        ConfigError: The mode or a layer is unknown, the network lacks one that the mode needs, or the optimizer
            holds a frozen parameter.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        model: SeparationModel,
        mode: str = "whole",
        dc_weight: float = PAPER.dc_weight,
        frozen: Sequence[str] = (),
        targets: Callable[[dict], dict] | None = None,
        frame_step: int = 1,
        autocast: bool = False,
    ):
        super().__init__(losses_of_mode(mode, dc_weight), optimizer, model)
        self.forward = _Forward(model, mode, targets, frame_step, autocast)
        self.frozen = layers_of_mode(model, mode, frozen)
        freeze(model, self.frozen)
        _refuse_frozen(optimizer, model, self.frozen)

    def __call__(self, engine, data: dict) -> dict:
        """Takes one step on a batch and returns its losses as floats."""
        self.model.train()
        hold(self.model, self.frozen)
        self.optimizer.zero_grad(set_to_none=True)
        first_frame = 0 if engine is None else engine.state.iteration - 1
        output, target = self.forward(data, first_frame)
        losses = self.compute_loss(output, target)
        losses["loss"].backward()
        self._fire_event(engine, output, BackwardsEvents.BACKWARDS_COMPLETED)
        self.optimizer.step()
        return {name: value.item() for name, value in losses.items()}


class TransferValidationClosure(ValidationClosure):
    """Takes the losses of :class:`TransferClosure` on held-out batches, without training.

    Args:
        model: The network.
        mode: 'pretrain', 'whole' or 'mask'.
        dc_weight: Weight of the deep clustering loss in mode 'whole'.
        targets: Makes spectra of a batch of audio.
        frame_step: As in :class:`TransferClosure`.
        autocast: As in :class:`TransferClosure`.
    """

    def __init__(
        self,
        model: SeparationModel,
        mode: str = "whole",
        dc_weight: float = PAPER.dc_weight,
        targets: Callable[[dict], dict] | None = None,
        frame_step: int = 1,
        autocast: bool = False,
    ):
        super().__init__(losses_of_mode(mode, dc_weight), model)
        self.forward = _Forward(model, mode, targets, frame_step, autocast)

    def __call__(self, engine, data: dict) -> dict:
        """Returns the losses of a batch as floats."""
        self.model.eval()
        with torch.no_grad():
            output, target = self.forward(data, 0)
            losses = self.compute_loss(output, target)
        return {name: value.item() for name, value in losses.items()}


class _Forward:
    """Runs what a mode needs of the network, and no more."""

    def __init__(self, model, mode, targets, frame_step, autocast):
        if frame_step < 1:
            raise ConfigError(f"frame_step counts frames and must be at least 1: got {frame_step}.")
        self.model, self.mode, self.targets = model, mode, targets
        self.frame_step, self.autocast = frame_step, autocast

    def __call__(self, data: dict, first_frame: int) -> tuple[dict, dict]:
        if "mix_magnitude" not in data:
            if self.targets is None:
                raise ConfigError(
                    f"A batch with {', '.join(sorted(data))} came to a closure that makes no spectra. Give the data set "
                    "nussl's MagnitudeSpectrumApproximation, or the closure `targets=Targets(stft_params)`."
                )
            data = self.targets(data)
        outputs = outputs_of_mode(self.mode)
        # Only the deep clustering loss is thinned: in mode 'mask' there may be no embedding, nor targets for it.
        step = self.frame_step if EMBEDDING_HEAD in outputs else 1
        frames = slice(first_frame % step, None, step)
        cast = nullcontext()
        if self.autocast:
            cast = torch.autocast(data["mix_magnitude"].device.type, dtype=torch.bfloat16)
        with cast, outputs_only(self.model, outputs), self._thinned(frames):
            output = self.model(data)
        if step > 1:
            data = {**data, **{key: data[key][:, frames] for key in ("ideal_binary_mask", "weights")}}
        # The Gram loss casts piece by piece; a whole embedding in float32 would be the largest tensor of the
        # step.
        return {key: value if key == EMBEDDING_HEAD else value.float() for key, value in output.items()}, data

    @contextmanager
    def _thinned(self, frames: slice) -> Iterator[None]:
        """Lets the embedding head see these frames only of what the body gives."""
        if frames.step == 1:
            yield
            return
        hook = self.model.layers[EMBEDDING_HEAD].register_forward_pre_hook(
            lambda _, inputs: (inputs[0][:, frames],)
        )
        try:
            yield
        finally:
            hook.remove()


def losses_of_mode(mode: str, dc_weight: float = PAPER.dc_weight) -> dict:
    """Returns nussl's loss dictionary for a mode (equations 1 to 3 of the paper)."""
    refuse_unknown(mode)
    if not 0 <= dc_weight <= 1:
        raise ConfigError(f"The weight of the deep clustering loss must lie between 0 and 1: got {dc_weight}.")
    clustering, masking = {"weight": dc_weight}, {"weight": 1 - dc_weight}
    return {
        "pretrain": {"GramDeepClusteringLoss": {"weight": 1.0}},
        "whole": {"GramDeepClusteringLoss": clustering, "L1Loss": masking},
        "mask": {"L1Loss": {"weight": 1.0}},
    }[mode]


def _refuse_frozen(optimizer: torch.optim.Optimizer, model: SeparationModel, frozen: Sequence[str]) -> None:
    names = {
        id(p): f"{layer}.{name}" for layer in frozen for name, p in model.layers[layer].named_parameters()
    }
    found = [names[id(p)] for group in optimizer.param_groups for p in group["params"] if id(p) in names]
    if found:
        raise ConfigError(
            f"The optimizer holds {len(found)} frozen parameters, the first of them {found[0]}; weight decay and "
            "momentum would still move them. Give it trainable_parameters(model, mode, frozen)."
        )
