"""Validate a network: its losses on held-out batches, and the SI-SDR of its separated sources."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from ignite.engine import Engine
from nussl import STFTParams
from nussl.ml import SeparationModel

from ..audio.si_sdr import si_sdr
from ..audio.stft import istft, spectrogram
from ..errors import ConfigError
from ..networks.chimera import MASK_HEAD
from ..runtime.process_group import all_reduce_max, all_reduce_sum, synchronized
from ..runtime.signals import Interrupts
from .closures import LossOptions, TransferValidationClosure, state_of
from .loader import Batches

if TYPE_CHECKING:
    from typing_extensions import Unpack  # in typing from Python 3.11 on

MASK_LOSS = "L1Loss"


class ValidationInterrupted(Exception):
    """A signal came during a validation. The resumed run validates again."""


@dataclass(frozen=True)
class Measures:
    """What a validation measured. None: not measured.

    Attributes:
        loss: Mean of the loss over the batches.
        mask_loss: Mean of the mask head's loss over the batches.
        si_sdr: Mean SI-SDR in dB over all sources that are not silent; infinite ratios are left out.
    """

    loss: float | None = None
    mask_loss: float | None = None
    si_sdr: float | None = None


class SiSdrClosure(TransferValidationClosure):
    """Like :class:`~nussl_transfer.training.closures.TransferValidationClosure`, and adds SI-SDR.

    Its outputs ``si_sdr_sum`` and ``si_sdr_count`` are the sum of the finite SI-SDRs in dB, and their number.

    Args:
        model: The network.
        stft_params: Its STFT.
        options: Arguments of :class:`~nussl_transfer.training.closures.TransferValidationClosure`.
    """

    def __init__(self, model: SeparationModel, stft_params: STFTParams, **options: Unpack[LossOptions]):
        super().__init__(model, **options)
        self.stft_params = stft_params

    def measure(self, output: dict, target: dict) -> dict[str, torch.Tensor]:
        """Return the sum and the number of the SI-SDRs of a batch."""
        ratios = separation_si_sdr(output[MASK_HEAD], target, self.stft_params)
        finite = ratios.isfinite()
        return {"si_sdr_sum": ratios[finite].sum(), "si_sdr_count": finite.sum()}


def separation_si_sdr(mask: torch.Tensor, batch: dict, stft_params: STFTParams) -> torch.Tensor:
    """Return the SI-SDR in dB of the sources that masks separate from the mixtures of a batch; NaN for a silent source.

    Args:
        mask: Masks.
        batch: ``mix_audio`` and ``source_audio``.
        stft_params: STFT that the masks apply to.

    Shape:
        mask [nb, nt, nf, nc, ns], mix_audio [nb, nc, samples], source_audio [nb, nc, samples, ns]
        -> float64 [nb, nc, ns] on the CPU

    Raises:
        ConfigError: The batch holds no audio.
    """
    if "mix_audio" not in batch or "source_audio" not in batch:
        raise ConfigError(
            "choose_by='si_sdr' needs validation items with 'mix_audio' and 'source_audio': got "
            f"{', '.join(sorted(batch))}. Give audio, or choose by 'loss' or 'mask_loss'."
        )
    mix, sources = batch["mix_audio"], batch["source_audio"]
    estimates = mask * spectrogram(mix, stft_params)[..., None]  # [nb, nt, nf, nc, ns]
    audio = istft(estimates.permute(0, 3, 4, 2, 1), stft_params, mix.shape[-1])  # [nb, nc, ns, samples]
    # On the CPU: SI-SDR is computed in float64, which not every device has.
    return si_sdr(sources.movedim(-1, -2).cpu(), audio.cpu())


class Validation:
    """Run the validator over the validation batches, in step with the other ranks.

    Args:
        validator: nussl's validator. Its closure is one of this module or its base class.
        batches: Validation batches.
        interrupts: Where signals are noted; a signal ends a validation after the current batch.
    """

    def __init__(self, validator: Engine, batches: Batches, interrupts: Interrupts):
        self.validator, self.batches, self.interrupts = validator, batches, interrupts

    def measure(self) -> Measures:
        """Return what a validation measures.

        Raises:
            ValidationInterrupted: A signal came, in this process or in another rank.
        """
        found: dict[str, list[float]] = {}
        done = 0
        with synchronized():
            if len(self.batches):  # with a small data set, a rank may have no item
                self.validator.run(self.batches)
                history = state_of(self.validator).iter_history
                found = {name: [float(value) for value in values] for name, values in history.items()}
                done = len(found["loss"])
        incomplete = all_reduce_max(int(done < len(self.batches)))
        self.interrupts.agree()
        if incomplete:
            raise ValidationInterrupted
        losses = self.batches.whole_batch_losses(found.get("loss", ()))
        mask_losses = None
        if all_reduce_max(int(MASK_LOSS in found)):
            mask_losses = self.batches.whole_batch_losses(found.get(MASK_LOSS, ()))
        total, count = all_reduce_sum([sum(found.get("si_sdr_sum", ())), sum(found.get("si_sdr_count", ()))])
        return Measures(
            loss=sum(losses) / len(losses),
            mask_loss=None if mask_losses is None else _finite(sum(mask_losses) / len(mask_losses)),
            si_sdr=total / count if count else None,
        )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
