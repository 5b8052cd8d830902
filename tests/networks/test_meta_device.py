"""Training, validation, scoring and separation run on torch's meta device, which has no values to read.

Tensors on two devices do not mix there, and reading a value (`.item()`, `bool()`, `.cpu()`, an index of booleans) raises.
So these tests show, without a GPU, that each path stays on its device and that a step never waits for it.
"""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from nussl import STFTParams
from nussl.ml.train import BackwardsEvents

from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, write_checkpoint
from nussl_transfer.evaluation.excerpts import make_excerpts
from nussl_transfer.evaluation.score import score
from nussl_transfer.mixing.config import MixtureConfig
from nussl_transfer.mixing.mixtures import Mixtures
from nussl_transfer.networks.freezing import MODES, trainable_parameters
from nussl_transfer.networks.targets import Targets
from nussl_transfer.runtime.signals import Interrupts
from nussl_transfer.separation.streaming import Mixture, StreamSeparator
from nussl_transfer.training.closures import TransferClosure, TransferValidationClosure
from nussl_transfer.training.config import FitConfig
from nussl_transfer.training.curve import Curve
from nussl_transfer.training.engine import FitJob, Training
from nussl_transfer.training.optim import optimizer_of
from nussl_transfer.training.run import Run
from nussl_transfer.training.skipped import SkippedSteps
from nussl_transfer.training.step import Stepping

STFT = STFTParams(64, 16, "sqrt_hann")
LABELS, SECONDS = ("bass", "drums", "voice"), 0.04
SAMPLES = 80  # few frames: torch decomposes recurrent layers into single steps on this device
OPTIONS = {"plain": {}, "all": {"frame_step": 4, "accumulate": 2, "phase_sensitive": True}}


def batch() -> dict:
    audio = {"mix_audio": torch.empty(2, 1, SAMPLES), "source_audio": torch.empty(2, 1, SAMPLES, 3)}
    return {name: value.to("meta") for name, value in {**audio, "index": torch.arange(2)}.items()}


def closure_of(model, mode: str, phase_sensitive: bool = False, as_floats: bool = False, **options) -> TransferClosure:
    optimizer = optimizer_of(model, FitConfig(mode=mode))
    return TransferClosure(
        optimizer, model, mode, targets=Targets(STFT, phase_sensitive), as_floats=as_floats, **options
    )  # fmt: skip


@pytest.fixture
def model(small_chimera):
    return small_chimera(hidden_size=4).to("meta")


@pytest.fixture
def fused(monkeypatch):
    """Let fused optimizers run on this device: torch has the kernel, and lists only devices where it pays."""
    module = importlib.import_module("torch.optim.optimizer")  # torch.optim has deleted the attribute
    monkeypatch.setattr(module, "_get_fused_kernels_supported_devices", lambda: ["meta"])


@pytest.mark.parametrize("read", [torch.Tensor.item, bool, torch.Tensor.cpu, torch.Tensor.tolist])
def test_reading_a_value_of_this_device_raises(read):
    with pytest.raises((RuntimeError, NotImplementedError)):
        read(torch.zeros((), device="meta"))


def test_a_step_that_reads_its_losses_is_noticed(model):
    with pytest.raises((RuntimeError, NotImplementedError)):
        closure_of(model, "whole", as_floats=True)(None, batch())


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("mode", MODES)
def test_a_training_step_stays_on_its_device_and_reads_nothing(model, mode, options):
    closure = closure_of(model, mode, **options)
    stepping = Stepping(model, closure.optimizer, trainable_parameters(model, mode), percentile=10.0, ema_decay=0.9)
    trainer = Engine(closure)  # nussl's helper moves batches to the CPU if there is no CUDA
    trainer.register_events(*BackwardsEvents)
    skipped, curve = SkippedSteps(FitConfig()), Curve()
    trainer.add_event_handler(Events.ITERATION_STARTED, lambda _: stepping.begin())

    @trainer.on(BackwardsEvents.BACKWARDS_COMPLETED)
    def clip(engine):
        stepping.clip_and_check(engine.state.model_output["loss"])
        assert closure.optimizer.found_inf.device.type == "meta"

    @trainer.on(Events.ITERATION_COMPLETED)
    def note(engine):
        curve.gather(engine.state.output["loss"])
        skipped.note(engine.state.iteration, stepping.end())

    trainer.run([batch(), batch()], max_epochs=1)
    assert trainer.state.iteration == 2
    assert all(p.grad.device.type == "meta" for group in closure.optimizer.param_groups for p in group["params"])
    with pytest.raises((RuntimeError, NotImplementedError)):
        skipped.settle()  # at a validation


@pytest.fixture
def training(model, tiny_store, tiny_stft, tmp_path, monkeypatch):
    """Return a function that sets up a run of three iterations; the first validation would come after the fourth."""
    monkeypatch.setattr("nussl_transfer.training.config.check_device", lambda device: None)

    def make(*callbacks, **options) -> Training:
        config = FitConfig(
            iterations=3, validate_every=4, batch_size=2, warmup_iterations=2, device="meta", progress=False, **options
        )
        job = FitJob(
            model=model,
            train=Mixtures(tiny_store, MixtureConfig(SECONDS / 2), 6),
            valid=None,
            config=config,
            run=Run(tmp_path / "run", {}, None),
            info=CheckpointInfo(LABELS, config.mode, 8000, tiny_stft, SECONDS / 2),
            targets=Targets(tiny_stft),
            callbacks=callbacks,
        )
        with Interrupts() as interrupts, monkeypatch.context() as patch:
            patch.setattr(torch.cuda, "is_available", lambda: True)  # else nussl's engines move batches to the CPU
            return Training(job, interrupts)

    return make


def run_to_the_validation(training: Training) -> None:
    training.trainer.load_state_dict({"iteration": 0, "epoch_length": 4, "max_epochs": 1})
    with training.progress:
        training.trainer.run(training.train_batches)


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize(
    ("options", "kind"),
    [({"ema_decay": 0.9, "accumulate": 2}, torch.optim.Adam), ({"weight_decay": 0.1}, torch.optim.AdamW)],
)
def test_a_run_takes_a_fused_optimizer_and_reads_nothing_between_two_validations(training, options, kind):
    run = training(**options)
    assert type(run.optimizer) is kind and all(group["fused"] for group in run.optimizer.param_groups)
    run_to_the_validation(run)
    assert run.trainer.state.iteration == 3
    steps = [state["step"] for state in run.optimizer.state.values()]
    # The counters are on the device, since the optimizer there subtracts a step that it skips.
    assert steps and all(step.device.type == "meta" for step in steps)
    with pytest.raises((RuntimeError, NotImplementedError)):
        run.skipped.settle()


@pytest.mark.usefixtures("fused")
def test_a_handler_that_reads_the_loss_of_each_iteration_is_noticed(training):
    def read_losses(trainer, _):
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: float(engine.state.output["loss"]))

    with pytest.raises((RuntimeError, NotImplementedError)):
        run_to_the_validation(training(read_losses))


@pytest.mark.parametrize("mode", MODES)
def test_a_validation_step_stays_on_its_device_and_reads_nothing(model, mode):
    closure = TransferValidationClosure(model, mode, targets=Targets(STFT), frame_step=4, as_floats=False)
    assert all(value.device.type == "meta" for value in closure(None, batch()).values())


@pytest.fixture
def checkpoint(small_chimera, tiny_stft, tmp_path):
    info = CheckpointInfo(LABELS, "whole", 8000, tiny_stft, SECONDS)
    return write_checkpoint(tmp_path / "model.pth", small_chimera(hidden_size=4), info)


@pytest.fixture
def copies(monkeypatch) -> list[torch.Size]:
    """Let tensors be copied to the host, as zeros, and return the shapes of all copies. Other ways to read still raise."""
    made: list[torch.Size] = []

    def copy(tensor: torch.Tensor) -> torch.Tensor:
        assert tensor.device.type == "meta"
        made.append(tensor.shape)
        return torch.zeros(tensor.shape, dtype=tensor.dtype)

    monkeypatch.setattr(torch.Tensor, "cpu", copy)
    return made


def test_scores_leave_the_device_once_after_all_batches(checkpoint, tiny_store, monkeypatch, copies):
    for module in ("evaluation.score", "separation.ensemble"):
        monkeypatch.setattr(f"nussl_transfer.{module}.resolve_device", lambda name: name)
    excerpts = make_excerpts(tiny_store, SECONDS)
    rows = score(checkpoint, tiny_store, excerpts, batch_size=40, device="meta", progress=False)
    assert len(excerpts) > 2 * 40 and len(rows) == len(excerpts) * len(LABELS)
    assert copies == [(len(excerpts), len(LABELS))] * 2  # SI-SDR of the mixture and of the estimate


def test_separated_audio_leaves_the_device_once_a_chunk(checkpoint, monkeypatch, copies):
    monkeypatch.setattr("nussl_transfer.separation.ensemble.resolve_device", lambda name: name)
    separator = StreamSeparator(checkpoint, device="meta", chunk_seconds=SECONDS)
    samples = 4000
    found = separator.collect(Mixture.of_array(np.zeros((1, samples), np.float32), 8000))
    assert {label: audio.shape for label, audio in found.items()} == {label: (1, samples) for label in LABELS}
    chunks = separator.chunking.starts(samples // 16 + 1)
    assert len(chunks) > 2 and len(copies) == len(chunks) + 1  # the inverse STFT holds back the end
    assert sum(shape[0] for shape in copies) == samples


def test_nussls_own_forward_runs_on_this_device(model):
    output = model({"mix_magnitude": torch.empty(2, 9, 33, 1, device="meta")})
    assert output["mask"].shape == (2, 9, 33, 1, 3) and output["mask"].device.type == "meta"
