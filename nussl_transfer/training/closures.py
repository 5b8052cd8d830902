"""Closures for any nussl trainer: one training or validation step in each of the paper's three modes.

========== ======================= ================================ ===================================
mode       trains                  loss                             computes
========== ======================= ================================ ===================================
pretrain   body, embedding head    deep clustering                  no masks
whole      everything              0.01 DC + 0.99 L1 of magnitudes  everything
mask       mask head               L1 of magnitudes                 no embedding; no gradients below
========== ======================= ================================ ===================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypedDict, cast

import torch
from ignite.engine import Engine
from nussl.ml import SeparationModel
from nussl.ml.train.closures import TrainClosure, ValidationClosure
from nussl.ml.train.trainer import BackwardsEvents

from ..errors import ConfigError
from ..networks.chimera import PAPER
from ..networks.forward import ForwardPass
from ..networks.freezing import check_mode, freeze, freeze_buffers_and_dropout, frozen_layers
from ..runtime.reduce import average_gradients


class LossOptions(TypedDict, total=False):
    """The arguments that a training closure and its validation closure share; see :class:`TransferClosure`."""

    mode: str
    dc_weight: float
    targets: Callable[[dict], dict] | None
    frame_step: int
    mask_frame_step: int
    bf16: bool
    as_floats: bool


class EngineState(Protocol):
    """Type of ``engine.state`` in nussl's engines. ignite's own class declares batch and output as integers."""

    iteration: int
    epoch: int
    epoch_length: int | None
    max_epochs: int | None
    batch: dict[str, object]
    output: dict[str, torch.Tensor]
    model_output: dict[str, torch.Tensor]
    iter_history: dict[str, list]
    epoch_history: dict[str, list[float]]
    saved_model_path: str
    output_folder: str


def state_of(engine: Engine) -> EngineState:
    """Return the state of one of nussl's engines, with its true types."""
    return cast(EngineState, engine.state)


class TransferClosure(TrainClosure):
    """Train a ChimeraNet in one of the paper's modes, inside any nussl trainer.

    In a group of processes (:mod:`~nussl_transfer.runtime.process_group`), each rank gets its share of a batch; the step is
    that of the whole batch.

    Args:
        optimizer: Holds exactly the parameters to train:
            ``torch.optim.Adam(trainable_parameters(model, mode, frozen))``.
        model: The network.
        mode: 'pretrain', 'whole' or 'mask'.
        dc_weight: Weight of the deep clustering loss in mode 'whole', alpha of equation 3. The mask loss has the rest.
        frozen: Layers to freeze besides those that the mode freezes.
        targets: Turns a batch of audio into spectra and targets. Not needed if batches hold spectra already.
        frame_step: Take the deep clustering loss at every ``frame_step``-th frame, starting one frame later at each
            iteration. The paper uses every frame. Its frames overlap by three quarters, so 4 still covers every sample,
            at a quarter of the cost of the largest layer.
        mask_frame_step: The same for the mask loss. It saves time with many masks, as in pretraining on families of
            instruments; fine-tuning learns more from every frame.
        bf16: Compute linear and recurrent layers in bfloat16. Parameters and losses stay in float32.
        accumulate: Number of parts in which a batch goes through the network, to save memory. The gradient is that of
            the whole batch.
        as_floats: Return losses as floats, as nussl's closures do. Reading them waits for the device. Without it, they
            are tensors on the device and nothing waits.

    Raises:
        ConfigError: The mode or a layer is unknown, the network lacks one that the mode needs, or the optimizer
            holds a frozen parameter.

    Note:
        The losses are the paper's equations, in nussl's normalisation. For one item with w the weight of a bin, V the
        unit embeddings, Y the ideal binary mask, S and S' the magnitudes of the sources and of their estimates::

            eq. 1   L_DC = |W (V V' - Y Y') W|_F^2 / (sum of w^2)^2,  W = diag(w)
            eq. 2   L_MI = mean of |S' - S| over time, frequency, channels and sources
            eq. 3   L    = alpha L_DC + (1 - alpha) L_MI

        Both are averaged over the items of a batch. The paper does not state the denominators. If its eq. 2 sums over
        the sources, as printed, its L1 term is ns times ours, and the same alpha gives clustering less weight there.

    References:
        Bugler, Pardo, Seetharaman, "A Study of Transfer Learning in Music Source Separation", 2020, section 2.2.

    Example:
        >>> from nussl_transfer.networks.chimera import build_transfer_chimera
        >>> from nussl_transfer.networks.freezing import trainable_parameters
        >>> model = SeparationModel(build_transfer_chimera(num_sources=2, hidden_size=4, num_layers=1))
        >>> optimizer = torch.optim.Adam(trainable_parameters(model, "mask"))
        >>> closure = TransferClosure(optimizer, model, mode="mask")
        >>> sorted(closure.frozen)
        ['embedding', 'estimates', 'log_spectrogram', 'normalization', 'recurrent_stack']
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
        mask_frame_step: int = 1,
    ):
        super().__init__(losses_of_mode(mode, dc_weight), optimizer, model)
        if accumulate < 1:
            raise ConfigError(f"accumulate must be at least 1: got {accumulate}.")
        self.forward = ForwardPass(model, mode, targets, frame_step, bf16, mask_frame_step)
        self.accumulate, self.as_floats = accumulate, as_floats
        self.frozen = frozen_layers(model, mode, frozen)
        self._always_frozen = self.frozen
        freeze(model, self.frozen)
        _check_none_frozen(optimizer, model, self.frozen)

    def freeze_for_now(self, layers: Sequence[str] = ()) -> None:
        """Freeze these layers as well, until the next call; without any, unfreeze them.

        The optimizer may hold their parameters: torch's optimizers skip a parameter without a gradient, so neither
        momentum nor weight decay moves it.

        Args:
            layers: Names of layers.
        """
        self.frozen = [*self._always_frozen, *(name for name in layers if name not in self._always_frozen)]
        freeze(self.model, self.frozen)

    def __call__(self, engine: Engine | None, data: dict) -> dict:
        """Take one step on a batch and return its losses.

        Handlers of ``BACKWARDS_COMPLETED`` find outputs and losses in ``engine.state.model_output``. If a batch goes
        through in parts, the outputs are those of the last part.
        """
        self.model.train()
        freeze_buffers_and_dropout(self.model, self.frozen)
        self.optimizer.zero_grad(set_to_none=True)
        first_frame = 0 if engine is None else engine.state.iteration - 1
        losses: dict[str, torch.Tensor] = {}
        for share, output, target in self.forward.in_parts(data, first_frame, self.accumulate):
            part_losses = self.compute_loss(output, target)
            (share * part_losses["loss"]).backward()
            for name, value in part_losses.items():
                losses[name] = losses.get(name, 0) + share * value.detach()
        trained = (parameter for group in self.optimizer.param_groups for parameter in group["params"])
        losses = average_gradients(trained, losses)
        self._fire_event(engine, {**output, **losses}, BackwardsEvents.BACKWARDS_COMPLETED)
        self.optimizer.step()
        return _returned(losses, self.as_floats)


class TransferValidationClosure(ValidationClosure):
    """Compute the losses of :class:`TransferClosure` on validation batches, without training.

    Args:
        model: The network.
        mode: 'pretrain', 'whole' or 'mask'.
        dc_weight: Weight of the deep clustering loss in mode 'whole'.
        targets: Turns a batch of audio into spectra and targets.
        frame_step: As in :class:`TransferClosure`.
        bf16: As in :class:`TransferClosure`.
        as_floats: As in :class:`TransferClosure`.
        mask_frame_step: As in :class:`TransferClosure`.
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
        mask_frame_step: int = 1,
    ):
        super().__init__(losses_of_mode(mode, dc_weight), model)
        self.forward = ForwardPass(model, mode, targets, frame_step, bf16, mask_frame_step)
        self.as_floats = as_floats

    def __call__(self, engine: Engine | None, data: dict) -> dict:
        """Return the losses of a batch, by name; 'loss' is their weighted sum."""
        self.model.eval()
        with torch.no_grad():
            output, target = self.forward(data)
            losses = {**self.compute_loss(output, target), **self.measure(output, target)}
        return _returned(losses, self.as_floats)

    def measure(self, output: dict, target: dict) -> dict[str, torch.Tensor]:
        """Return more measures of a batch, by name. A subclass can override this.

        Args:
            output: The outputs of the network, by layer.
            target: The batch, with spectra and targets.
        """
        return {}


def losses_of_mode(mode: str, dc_weight: float = PAPER.dc_weight) -> dict:
    """Return nussl's loss dictionary for a mode: equations 1 to 3 of the paper, as :class:`TransferClosure` writes them.

    >>> losses_of_mode("whole")
    {'GramDeepClusteringLoss': {'weight': 0.01}, 'L1Loss': {'weight': 0.99}}
    """
    check_mode(mode)
    if not 0 <= dc_weight <= 1:
        raise ConfigError(f"dc_weight must be a number from 0 to 1: got {dc_weight}.")
    clustering, masking = {"weight": dc_weight}, {"weight": 1 - dc_weight}
    return {
        "pretrain": {"GramDeepClusteringLoss": {"weight": 1.0}},
        "whole": {"GramDeepClusteringLoss": clustering, "L1Loss": masking},
        "mask": {"L1Loss": {"weight": 1.0}},
    }[mode]


def _returned(losses: dict[str, torch.Tensor], as_floats: bool) -> dict:
    return dict(zip(losses, torch.stack([*losses.values()]).tolist(), strict=True)) if as_floats else losses


def _check_none_frozen(optimizer: torch.optim.Optimizer, model: SeparationModel, frozen: Sequence[str]) -> None:
    names = {id(p): f"{layer}.{name}" for layer in frozen for name, p in model.layers[layer].named_parameters()}
    found = [names[id(p)] for group in optimizer.param_groups for p in group["params"] if id(p) in names]
    if found:
        raise ConfigError(
            f"The optimizer holds {len(found)} frozen parameters, first {found[0]}. Weight decay and momentum would still "
            "move them. Give it trainable_parameters(model, mode, frozen)."
        )
