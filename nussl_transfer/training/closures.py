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

from collections.abc import Callable, Sequence

import torch
from nussl.ml import SeparationModel
from nussl.ml.train.closures import TrainClosure, ValidationClosure
from nussl.ml.train.trainer import BackwardsEvents

from ..errors import ConfigError
from ..networks.chimera import PAPER
from ..networks.forward import ForwardPass
from ..networks.freezing import check_mode, freeze, freeze_buffers_and_dropout, layers_of_mode
from ..runtime.reduce import average_gradients


class TransferClosure(TrainClosure):
    """Trains a ChimeraNet in one of the paper's modes, inside any nussl trainer.

    Give the optimizer what the mode trains, and no more::

        from nussl_transfer.networks.freezing import trainable_parameters

        optimizer = torch.optim.Adam(trainable_parameters(model, "mask"))
        closure = TransferClosure(optimizer, model, mode="mask")
        trainer, _ = nussl.ml.train.create_train_and_validation_engines(closure)

    Where processes work together (:mod:`~nussl_transfer.runtime.process_group`), each is given its part of a batch, and the step is
    that of the whole batch.

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
        bf16: Whether linear and recurrent layers compute in bfloat16; parameters and losses stay in float32.
        accumulate: Parts in which a batch goes through the network, one after the other, for the memory of one and
            the gradient of all.
        as_floats: Whether losses are returned as floats, as nussl's closures do. Reading them waits for the device;
            without it they are returned as tensors there, and a step waits for nothing.

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
        bf16: bool = False,
        accumulate: int = 1,
        as_floats: bool = True,
    ):
        super().__init__(losses_of_mode(mode, dc_weight), optimizer, model)
        if accumulate < 1:
            raise ConfigError(f"accumulate counts parts of a batch and must be at least 1: got {accumulate}.")
        self.forward = ForwardPass(model, mode, targets, frame_step, bf16)
        self.accumulate, self.as_floats = accumulate, as_floats
        self.frozen = layers_of_mode(model, mode, frozen)
        freeze(model, self.frozen)
        _check_none_frozen(optimizer, model, self.frozen)

    def __call__(self, engine, data: dict) -> dict:
        """Takes one step on a batch and returns its losses.

        Handlers of ``BACKWARDS_COMPLETED`` find outputs and losses in ``engine.state.model_output``; the outputs of
        the last part, where a batch goes in parts.
        """
        self.model.train()
        freeze_buffers_and_dropout(self.model, self.frozen)
        self.optimizer.zero_grad(set_to_none=True)
        first_frame = 0 if engine is None else engine.state.iteration - 1
        losses: dict[str, torch.Tensor] = {}
        for share, output, target in self.forward.in_parts(data, first_frame, self.accumulate):
            of_part = self.compute_loss(output, target)
            (share * of_part["loss"]).backward()
            for name, value in of_part.items():
                losses[name] = losses.get(name, 0) + share * value.detach()
        trained = (parameter for group in self.optimizer.param_groups for parameter in group["params"])
        losses = average_gradients(trained, losses)
        self._fire_event(engine, {**output, **losses}, BackwardsEvents.BACKWARDS_COMPLETED)
        self.optimizer.step()
        return _given_back(losses, self.as_floats)


class TransferValidationClosure(ValidationClosure):
    """Takes the losses of :class:`TransferClosure` on held-out batches, without training.

    Args:
        model: The network.
        mode: 'pretrain', 'whole' or 'mask'.
        dc_weight: Weight of the deep clustering loss in mode 'whole'.
        targets: Makes spectra of a batch of audio.
        frame_step: As in :class:`TransferClosure`.
        autocast: As in :class:`TransferClosure`.
        as_floats: As in :class:`TransferClosure`.
    """

    def __init__(
        self,
        model: SeparationModel,
        mode: str = "whole",
        dc_weight: float = PAPER.dc_weight,
        targets: Callable[[dict], dict] | None = None,
        frame_step: int = 1,
        bf16: bool = False,
        as_floats: bool = True,
    ):
        super().__init__(losses_of_mode(mode, dc_weight), model)
        self.forward = ForwardPass(model, mode, targets, frame_step, bf16)
        self.as_floats = as_floats

    def __call__(self, engine, data: dict) -> dict:
        """Returns the losses of a batch."""
        self.model.eval()
        with torch.no_grad():
            losses = self.compute_loss(*self.forward(data))
        return _given_back(losses, self.as_floats)


def losses_of_mode(mode: str, dc_weight: float = PAPER.dc_weight) -> dict:
    """Returns nussl's loss dictionary for a mode (equations 1 to 3 of the paper)."""
    check_mode(mode)
    if not 0 <= dc_weight <= 1:
        raise ConfigError(f"The weight of the deep clustering loss must lie between 0 and 1: got {dc_weight}.")
    clustering, masking = {"weight": dc_weight}, {"weight": 1 - dc_weight}
    return {
        "pretrain": {"GramDeepClusteringLoss": {"weight": 1.0}},
        "whole": {"GramDeepClusteringLoss": clustering, "L1Loss": masking},
        "mask": {"L1Loss": {"weight": 1.0}},
    }[mode]


def _given_back(losses: dict[str, torch.Tensor], as_floats: bool) -> dict:
    return dict(zip(losses, torch.stack([*losses.values()]).tolist(), strict=True)) if as_floats else losses


def _check_none_frozen(optimizer: torch.optim.Optimizer, model: SeparationModel, frozen: Sequence[str]) -> None:
    names = {id(p): f"{layer}.{name}" for layer in frozen for name, p in model.layers[layer].named_parameters()}
    found = [names[id(p)] for group in optimizer.param_groups for p in group["params"] if id(p) in names]
    if found:
        raise ConfigError(
            f"The optimizer holds {len(found)} frozen parameters, the first of them {found[0]}; weight decay and "
            "momentum would still move them. Give it trainable_parameters(model, mode, frozen)."
        )
