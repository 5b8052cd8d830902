"""One optimizer step equals a plain implementation, and never synchronises with the device."""

from __future__ import annotations

import copy
import math

import numpy as np
import nussl
import pytest
import torch
from nussl.ml.train import BackwardsEvents, create_train_and_validation_engines
from tiny_runs import SECONDS, assert_same_runs, at_item, same, stop
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import default_collate

from nussl_transfer.checkpoints.checkpoint import read_checkpoint
from nussl_transfer.errors import ConfigError
from nussl_transfer.mixing.config import MixtureConfig
from nussl_transfer.mixing.mixtures import Mixtures
from nussl_transfer.networks.forward import cpu_has_bf16
from nussl_transfer.networks.freezing import MODES, trainable_parameters
from nussl_transfer.networks.targets import Targets
from nussl_transfer.training.closures import TransferClosure, TransferValidationClosure
from nussl_transfer.training.step import Average, Stepping

STEPS, BAD = 14, (0, 6)
EPSILON = 1e-3  # Adam's epsilon: with the usual 1e-8, a gradient of pure rounding error moves a weight as far as any other


@pytest.fixture
def audio(tiny_store) -> list[dict]:
    """Batches of audio. Two contain NaN: one in the mixture, one in the sources."""
    items = Mixtures(tiny_store, MixtureConfig(SECONDS, coherent=0.5), 2 * STEPS)
    batches = [default_collate([items[i], items[i + 1]]) for i in range(0, 2 * STEPS, 2)]
    for number, key in zip(BAD, ("mix_audio", "source_audio"), strict=True):
        batches[number][key][1, 0, 5:9] = float("nan")
    return batches


class Stepper:
    """A network in nussl's trainer, with the handlers that `fit` attaches to each step."""

    def __init__(self, model, stft_params, mode="whole", percentile=10.0, decay=0.0, **options):
        self.model = model
        parameters = trainable_parameters(model, mode)
        self.optimizer = torch.optim.Adam(parameters, 1e-2, eps=EPSILON, fused=True)
        self.stepping = Stepping(model, self.optimizer, parameters, percentile, decay)
        targets = Targets(stft_params)
        closure = TransferClosure(self.optimizer, model, mode, targets=targets, as_floats=False, **options)
        self.trainer, _ = create_train_and_validation_engines(closure)
        self.trainer.add_event_handler(
            BackwardsEvents.BACKWARDS_COMPLETED,
            lambda engine: self.stepping.clip_and_check(engine.state.model_output["loss"]),
        )
        self.closure = closure

    def __call__(self, batch: dict) -> torch.Tensor:
        self.trainer.state.iteration += 1
        self.stepping.begin()
        self.closure(self.trainer, batch)
        return self.stepping.end()


def straightforward(model, batches, stft_params, mode, percentile) -> tuple[list[bool], list[dict]]:
    """Take steps with torch's plain Adam, NumPy's percentile and an `if`; return the skipped steps and the weights."""
    optimizer = torch.optim.Adam(trainable_parameters(model, mode), 1e-2, eps=EPSILON, foreach=False)
    closure = TransferClosure(optimizer, model, mode, targets=Targets(stft_params))
    norms, skipped, states = [], [], []
    for number, batch in enumerate(batches):
        before = copy.deepcopy(model.state_dict())
        model.train()
        closure.model.zero_grad()
        output, target = closure.forward(batch, number)
        loss = closure.compute_loss(output, target)["loss"]
        loss.backward()
        gradients = [p.grad for p in trainable_parameters(model, mode)]
        norm = math.sqrt(sum(float(gradient.double().square().sum()) for gradient in gradients))
        skipped.append(not (math.isfinite(norm) and math.isfinite(loss.item())))
        if skipped[-1]:
            model.load_state_dict(before)
        else:
            norms.append(norm)
            factor = min(1.0, np.percentile(norms, percentile) / norm)
            for gradient in gradients:
                gradient *= factor
            optimizer.step()
        states.append(copy.deepcopy(model.state_dict()))
    return skipped, states


@pytest.mark.parametrize("mode", ["pretrain", "whole"])
def test_steps_equal_plain_adam_with_numpys_percentile_and_skipping(small_chimera, audio, tiny_stft, mode):
    skipped, states = straightforward(small_chimera(), audio, tiny_stft, mode, 10)
    step = Stepper(small_chimera(), tiny_stft, mode)
    for number, batch in enumerate(audio):
        assert step(batch).item() == skipped[number]
        for name, tensor in states[number].items():
            torch.testing.assert_close(step.model.state_dict()[name], tensor, rtol=1e-3, atol=1e-5, msg=name)
    # NaN sources have no ideal binary mask, so the deep clustering loss stays finite.
    assert [number for number, flag in enumerate(skipped) if flag] == list(BAD if mode == "whole" else BAD[:1])


def test_a_skipped_step_changes_nothing_but_the_history_of_norms(small_chimera, audio, tiny_stft):
    clean, spoilt = (Stepper(small_chimera(), tiny_stft) for _ in range(2))
    good = [batch for number, batch in enumerate(audio) if number not in BAD]
    for number, batch in enumerate(audio):
        spoilt.trainer.state.iteration = 0  # so that both take the same frames
        assert spoilt(batch).item() == (number in BAD)
    for batch in good:
        clean.trainer.state.iteration = 0
        clean(batch)
    assert same(clean.model.state_dict(), spoilt.model.state_dict())
    states = [one.optimizer.state_dict()["state"] for one in (clean, spoilt)]
    assert all(same(states[0][number], states[1][number]) for number in states[0])
    assert len(spoilt.stepping.autoclip.history) == len(clean.stepping.autoclip.history) + len(BAD)


# No value is read from the device -------------------------------------------------------------------------------------

READS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique", "is_nonzero")


class Listening(TorchDispatchMode):
    """Records the operations that make a program wait for its GPU."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        masks = [index for index in (args[1] if name.startswith("index") else ()) if torch.is_tensor(index)]
        if name.startswith(READS) or any(mask.dtype == torch.bool for mask in masks):
            self.found.add(name)
        return func(*args, **(kwargs or {}))


def refuse(*_, **__):
    raise AssertionError("a tensor was read")


@pytest.fixture
def listening(monkeypatch):
    """Return a recorder. Reading a tensor in Python, which no dispatcher sees, raises an error as well."""
    for name in ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "__index__", "__array__"):
        monkeypatch.setattr(torch.Tensor, name, refuse)
    return Listening()


@pytest.mark.parametrize("options", [{}, {"frame_step": 4}, {"accumulate": 2}, {"decay": 0.9}, {"bf16": True}])
@pytest.mark.parametrize("mode", MODES)
def test_a_step_never_synchronises_with_the_device(small_chimera, audio, tiny_stft, listening, mode, options):
    step = Stepper(small_chimera(), tiny_stft, mode, **options)
    with listening:
        for batch in audio[:4]:
            step(batch)
    assert listening.found == set()


def test_the_detector_of_synchronisation_detects_it(listening):
    with listening:
        values = torch.arange(3.0)
        torch.nonzero(values)
        values[values > 1]
        torch.ops.aten._local_scalar_dense(values[0])
        with pytest.raises(AssertionError, match="was read"):
            bool(values[0])
    assert listening.found == {"nonzero", "index", "_local_scalar_dense"}


def test_a_step_copies_only_the_batch_to_the_device(small_chimera, audio, tiny_stft, monkeypatch):
    step = Stepper(small_chimera(), tiny_stft)
    step(audio[1])
    monkeypatch.setattr(nussl.AudioSignal, "get_window", refuse)
    monkeypatch.setattr(torch, "from_numpy", refuse)
    monkeypatch.setattr(torch, "tensor", refuse)
    step(audio[2])


# The average ----------------------------------------------------------------------------------------------------------


def test_the_average_follows_its_definition(small_chimera):
    model = small_chimera()
    average = Average(model, 0.5)
    expected = {name: p.detach().numpy().astype(np.float64) for name, p in model.named_parameters()}
    rng = np.random.default_rng(0)
    for step in range(1, 16):
        decay = min(0.5, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter += torch.from_numpy(rng.standard_normal(parameter.shape).astype(np.float32))
                expected[name] = decay * expected[name] + (1 - decay) * parameter.numpy()
            model.layers["normalization"].batch_norm.running_mean += 1
        average.update(model)
    for name, parameter in average.model.named_parameters():
        np.testing.assert_allclose(parameter, expected[name], rtol=1e-4, atol=1e-5)
        assert not parameter.requires_grad
    assert average.model.layers["normalization"].batch_norm.running_mean == 15


def test_the_average_is_validated_and_written(train, tiny_store, tiny_stft, small_chimera):
    model, run = train(ema_decay=0.9, validate_every=12, valid=Mixtures)
    shown, _ = read_checkpoint(run.latest)
    raw = torch.load(run.folder / "state.pt", weights_only=True)["model"]
    assert same(shown.state_dict(), model.state_dict()), "the network that fit was given has the average at the end"
    assert not same(shown.state_dict(), raw)
    held_out = Mixtures(tiny_store, MixtureConfig(SECONDS, coherent=1.0), 3, 2)
    validation = TransferValidationClosure(shown, "whole", targets=Targets(tiny_stft), frame_step=2)
    losses = [validation(None, default_collate([held_out[i] for i in batch]))["loss"] for batch in ((0, 1), (2,))]
    assert run.read_curve()["points"][-1]["valid_loss"] == pytest.approx(sum(losses) / 2, rel=1e-5)


def test_a_frozen_layer_is_bit_identical_in_the_average(train, small_chimera):
    before = small_chimera(num_layers=2, dropout=0.5).state_dict()
    model, _ = train(ema_decay=0.9, mode="mask")
    changed = {name.split(".")[1] for name, tensor in model.state_dict().items() if not torch.equal(before[name], tensor)}
    assert changed == {"mask"}


def test_a_run_with_average_and_accumulation_resumes_exactly(train, tmp_path):
    options = {"ema_decay": 0.9, "accumulate": 2}
    model, unbroken = train(out=tmp_path / "unbroken", **options)
    with pytest.raises(Exception, match="that is all"):
        train(mixtures=at_item(13, stop), **options)
    again, run = train(**options)
    assert_same_runs(run.folder, unbroken.folder)
    assert same(again.state_dict(), model.state_dict())
    finished, _ = train(**options)
    assert same(finished.state_dict(), model.state_dict()), "a second call returns the average again"


# In parts, in bfloat16 ------------------------------------------------------------------------------------------------


def test_accumulation_gives_the_curve_of_whole_batches(train, small_chimera, tmp_path):
    runs = [train(small_chimera(), out=tmp_path / str(parts), accumulate=parts, batch_size=4)[1] for parts in (1, 3)]
    whole, parts = ([point["valid_loss"] for point in run.read_curve()["points"]] for run in runs)
    assert parts == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"accumulate": 0}, "accumulate must be a whole number from 1 .*got 0"),
        ({"accumulate": 3}, "accumulate must be at most batch_size, 2: got 3"),
        ({"ema_decay": 1.0}, "ema_decay must be .* below 1: got 1.0"),
        ({"ema_decay": -0.1}, "ema_decay must be .* below 1: got -0.1"),
    ],
)
def test_invalid_accumulation_and_decay_are_errors(train, options, said):
    with pytest.raises(ConfigError, match=said):
        train(**options)


@pytest.mark.parametrize("mode", MODES)
def test_training_in_bfloat16_ends_within_one_percent_of_float32(train, small_chimera, tmp_path, mode):
    losses = []
    for bf16 in (False, True):
        model = small_chimera(hidden_size=16)
        _, run = train(
            model, out=tmp_path / str(bf16), mode=mode, bf16=bf16, iterations=60, validate_every=60, learning_rate=1e-2
        )
        assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
        losses.append([point["valid_loss"] for point in run.read_curve()["points"]])
    (start, full), (_, half) = losses
    assert full < 0.9 * start, "the network must learn something"
    assert (half != full) == cpu_has_bf16(), "a processor with bfloat16 must compute in it"
    assert half == pytest.approx(full, rel=0.01)
