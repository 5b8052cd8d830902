"""Training, validation, scoring and separation run on torch's meta device, which has no values to read.

Tensors on two devices do not mix there, and reading a value (`.item()`, `bool()`, `.cpu()`, an index of booleans) raises.
So these tests show, without a GPU, that each path stays on its device and that a step never waits for it.
"""

from __future__ import annotations

import functools

import pytest
import torch
from ignite.engine import Engine, Events
from nussl import STFTParams
from nussl.ml.train import BackwardsEvents

from nussl_transfer.audio.si_sdr import si_sdr
from nussl_transfer.audio.stft import IstftStream, StftStream, istft, stft
from nussl_transfer.networks.forward import run_network
from nussl_transfer.networks.freezing import MODES, trainable_parameters
from nussl_transfer.networks.targets import Targets
from nussl_transfer.separation.chunks import Chunking, in_chunks
from nussl_transfer.training.closures import TransferClosure, TransferValidationClosure
from nussl_transfer.training.config import FitConfig
from nussl_transfer.training.curve import Curve
from nussl_transfer.training.skipped import SkippedSteps
from nussl_transfer.training.step import Stepping

STFT = STFTParams(64, 16, "sqrt_hann")
SAMPLES = 80  # few frames: torch decomposes recurrent layers into single steps on this device
OPTIONS = {"plain": {}, "all": {"frame_step": 4, "accumulate": 2, "phase_sensitive": True}}


def batch() -> dict:
    audio = {"mix_audio": torch.empty(2, 1, SAMPLES), "source_audio": torch.empty(2, 1, SAMPLES, 3)}
    return {name: value.to("meta") for name, value in {**audio, "index": torch.arange(2)}.items()}


def closure_of(model, mode: str, phase_sensitive: bool = False, as_floats: bool = False, **options) -> TransferClosure:
    optimizer = torch.optim.Adam(trainable_parameters(model, mode))
    return TransferClosure(
        optimizer, model, mode, targets=Targets(STFT, phase_sensitive), as_floats=as_floats, **options
    )  # fmt: skip


@pytest.fixture
def model(small_chimera):
    return small_chimera(hidden_size=4).to("meta")


@pytest.mark.parametrize("read", [torch.Tensor.item, bool, torch.Tensor.cpu, torch.Tensor.tolist])
def test_reading_a_value_of_this_device_raises(read):
    with pytest.raises((RuntimeError, NotImplementedError)):
        read(torch.zeros((), device="meta"))


def test_a_step_that_reads_its_losses_is_noticed(model):
    with pytest.raises((RuntimeError, NotImplementedError)):
        closure_of(model, "whole", as_floats=True)(None, batch())


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("mode", MODES)
def test_a_training_step_stays_on_its_device_and_reads_nothing(model, mode, options):
    closure = closure_of(model, mode, **options)
    stepping = Stepping(model, closure.optimizer, trainable_parameters(model, mode), percentile=10.0, ema_decay=0.9)
    trainer = Engine(closure)  # nussl's helper moves batches to the CPU where there is no CUDA
    trainer.register_events(*BackwardsEvents)
    skipped, curve = SkippedSteps(FitConfig()), Curve()
    trainer.add_event_handler(Events.ITERATION_STARTED, lambda _: stepping.begin())

    @trainer.on(BackwardsEvents.BACKWARDS_COMPLETED)
    def clip(engine):
        stepping.clip_and_check(engine.state.model_output["loss"])
        assert closure.optimizer.found_inf.device.type == "meta"
        del closure.optimizer.found_inf  # only Adam's fused kernel takes it, and has no version for this device

    @trainer.on(Events.ITERATION_COMPLETED)
    def note(engine):
        curve.gather(engine.state.output["loss"])
        skipped.note(engine.state.iteration, stepping.end())

    trainer.run([batch(), batch()], max_epochs=1)
    assert trainer.state.iteration == 2
    assert all(p.grad.device.type == "meta" for group in closure.optimizer.param_groups for p in group["params"])
    with pytest.raises((RuntimeError, NotImplementedError)):
        skipped.settle()  # at a validation


@pytest.mark.parametrize("mode", MODES)
def test_a_validation_step_stays_on_its_device_and_reads_nothing(model, mode):
    closure = TransferValidationClosure(model, mode, targets=Targets(STFT), frame_step=4, as_floats=False)
    assert all(value.device.type == "meta" for value in closure(None, batch()).values())


def test_scoring_stays_on_its_device_until_the_ratios(model):
    model.eval()
    mixtures, references = torch.empty(4, SAMPLES, device="meta"), torch.empty(4, 3, SAMPLES, device="meta")
    spectrum = stft(mixtures, STFT)
    masks = run_network(model, spectrum.transpose(1, 2).abs()[..., None], "mask", exact=False)[..., 0, :]
    estimates = istft(masks.permute(0, 3, 2, 1) * spectrum[:, None], STFT, SAMPLES)
    ratios = si_sdr(references, estimates)
    assert estimates.shape == references.shape and ratios.shape == (4, 3) and ratios.device.type == "meta"


def test_separating_in_chunks_stays_on_its_device_until_the_audio_is_copied(model):
    model.eval()
    analysis, synthesis = StftStream(STFT, 1, "meta"), IstftStream(STFT, "meta")

    def spectra():
        for _ in range(3):
            yield analysis.push(torch.empty(1, SAMPLES)).transpose(1, 2)[..., None]
        yield analysis.finish().transpose(1, 2)[..., None]

    network = functools.partial(run_network, model, output="mask", exact=False)
    made = []
    with torch.inference_mode():
        for spectrum, masks in in_chunks(spectra(), network, Chunking(6, 1, 2), heard=torch.abs):
            masked = (spectrum[..., None] * masks)[..., 0, :].permute(3, 0, 2, 1).flatten(0, 1)  # [ns, nf, n]
            made.append(synthesis.push(masked))
        made.append(synthesis.finish())
    assert all(audio.device.type == "meta" for audio in made)
    assert sum(audio.shape[1] for audio in made) >= 3 * SAMPLES


def test_a_network_runs_on_this_device_as_nussl_runs_it(model):
    output = model({"mix_magnitude": torch.empty(2, 9, 33, 1, device="meta")})
    assert output["mask"].shape == (2, 9, 33, 1, 3) and output["mask"].device.type == "meta"
