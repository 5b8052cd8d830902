"""Tests of nussl on today's packages: each repair works, and nothing else is changed."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import pickle
import re
import subprocess
import sys
import types
from pathlib import Path

import librosa
import numcodecs
import numpy as np
import nussl
import pandas as pd
import pytest
import scipy.signal
import soundfile
import soxr
import torch
import zarr
from nussl.datasets import transforms as tfm

from nussl_transfer import compat
from nussl_transfer.compat import cache, imports, patches
from nussl_transfer.compat.patches import View
from nussl_transfer.errors import DataError, TransferError

ROOT = Path(__file__).parents[2]

# ---------------------------------------------------------------- imports, each in its own process

# Finds what an import changed in other libraries: replaced names, and added names of other modules.
LEFT_BEHIND = """
import importlib, json, shutil, sys, types, warnings
LIBRARIES = ["scipy.signal", "numpy", "librosa", "librosa.filters", "torch", "torch.serialization", "zarr",
             "numcodecs", "sklearn", "ignite.handlers", "shutil", "warnings", "os", "pickle"]
def contents():
    return {name: dict(vars(importlib.import_module(name))) for name in LIBRARIES}
def left_behind(before, after):
    def own(name, thing):  # submodules that were imported meanwhile, and librosa's functions, which it loads late
        late = name.startswith("librosa") and getattr(thing, "__module__", "").startswith("librosa.")
        return late or isinstance(thing, types.ModuleType) and thing.__name__.split(".")[0] == name.split(".")[0]
    return ([f"{name}.{key} changed" for name in before for key in before[name]
             if key not in after[name] or after[name][key] is not before[name][key]]
            + [f"{name}.{key} is new" for name in before for key in after[name]
               if key not in before[name] and not own(name, after[name][key])])
"""

# Neither sox nor ffmpeg is on the PATH, and any warning is an error.
BARE = (
    LEFT_BEHIND
    + """
before = contents()
warnings.simplefilter("error")
filters = list(warnings.filters)
import nussl_transfer
import nussl
after = contents()
facts = {
    "left_behind": left_behind(before, after),
    "filters_kept": warnings.filters == filters,
    "windows": [nussl.constants.WINDOW_HAMMING, nussl.constants.WINDOW_HANN, nussl.constants.WINDOW_BLACKMAN],
    "musdb": nussl.datasets.hooks.musdb.DB.__module__,
    "sox_imported": "sox" in sys.modules,
}
warnings.simplefilter("ignore")  # numcodecs warns of itself as Python ends
"""
)

# `import nussl` fails first: museval needs ffmpeg. And ignite lacks its old path.
FAILED = """
import sys, scipy.signal, scipy.signal.windows as windows
sys.modules["ignite.contrib.handlers"] = None
vars(scipy.signal).update(hann=windows.hann, hamming=windows.hamming, blackman=windows.blackman)
try:
    import nussl
except Exception as error:
    failure = type(error).__name__
del scipy.signal.hann, scipy.signal.hamming, scipy.signal.blackman
halves = [name for name in sys.modules if name.startswith("nussl.")]
import nussl_transfer
import ignite.contrib, ignite.handlers, nussl, nussl.core
facts = {
    "failure": failure,
    "halves": len(halves),
    "unbound": [name for name in sys.modules if name.startswith("nussl.")
                and not hasattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2])],
    "progress_bar": nussl.ml.train.trainer.ProgressBar is ignite.handlers.ProgressBar,
    "contrib_still_gone": sys.modules["ignite.contrib.handlers"] is None,
    "contrib_back": sys.modules["ignite.contrib"] is ignite.contrib,
    "resampled": nussl.AudioSignal(audio_data_array=__import__("numpy").zeros((1, 100)),
                                   sample_rate=100).resample(50).signal_length,
}
"""

# A user's own repairs, and sox and ffmpeg on the PATH, let `import nussl` work; then the package is imported.
AFTERWARDS = """
import sys, scipy.signal, scipy.signal.windows as windows
mine = windows.hann
vars(scipy.signal).update(hann=mine, hamming=windows.hamming, blackman=windows.blackman)
import nussl
signal_class = nussl.AudioSignal
import nussl_transfer
facts = {
    "same": sys.modules["nussl"] is nussl and nussl.AudioSignal is signal_class,
    "users_own_kept": scipy.signal.hann is mine,
    "sox": nussl.core.effects.sox is sys.modules["sox"],
    "resampled": nussl.AudioSignal(audio_data_array=__import__("numpy").zeros((1, 100)),
                                   sample_rate=100).resample(50).signal_length,
    "registered": hasattr(nussl.datasets, "Bach10"),
}
"""


def run(code: str, folder: Path, programs: tuple[str, ...] = ()) -> tuple[dict, str]:
    """Return the facts that a script gathered in a fresh Python, and what it printed."""
    path = folder / "bin"
    path.mkdir()
    for program in programs:
        (path / program).write_text("#!/bin/sh\necho AUDIO FILE FORMATS: wav\n")
        (path / program).chmod(0o755)
    env = {"PATH": str(path), "HOME": str(folder), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    script = f"{code}\nimport json, pathlib; pathlib.Path('facts.json').write_text(json.dumps(facts))\n"
    ended = subprocess.run([sys.executable, "-c", script], env=env, cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return json.loads((folder / "facts.json").read_text()), ended.stdout + ended.stderr


def test_importing_on_a_bare_machine_is_silent_and_leaves_other_libraries_unchanged(tmp_path):
    facts, printed = run(BARE, tmp_path)
    assert printed == ""
    assert facts == {
        "left_behind": [],
        "filters_kept": True,
        "windows": ["hamming", "hann", "blackman"],
        "musdb": "musdb",  # there without ffmpeg
        "sox_imported": False,
    }


def test_the_package_imports_after_a_failed_import_of_nussl_and_without_ignite_contrib(tmp_path):
    facts, _ = run(FAILED, tmp_path)
    assert facts["failure"] == "RuntimeError" and facts["halves"] > 0, (
        "no module was half-imported, so this test shows nothing"
    )
    assert facts["unbound"] == []
    assert facts["progress_bar"] and facts["contrib_still_gone"] and facts["contrib_back"]
    assert facts["resampled"] == 50


def test_the_package_repairs_a_nussl_that_was_imported_before(tmp_path):
    facts, _ = run(AFTERWARDS, tmp_path, programs=("sox", "ffmpeg", "ffprobe"))
    assert facts == {"same": True, "users_own_kept": True, "sox": True, "resampled": 50, "registered": True}


# ---------------------------------------------------------------- changes that last only during the import


def test_window_functions_exist_only_inside_the_block(monkeypatch):
    kept = object()
    monkeypatch.setattr(scipy.signal, "hann", kept, raising=False)
    with imports.window_functions():
        assert scipy.signal.hamming is scipy.signal.windows.hamming
        assert scipy.signal.hann is kept
    assert not hasattr(scipy.signal, "hamming")
    assert scipy.signal.hann is kept


def test_ffmpeg_gets_its_bare_name_only_if_absent_and_only_inside(monkeypatch, tmp_path):
    which = imports.shutil.which
    monkeypatch.setenv("PATH", str(tmp_path))
    with imports.ffmpeg_by_name():
        assert imports.shutil.which("ffprobe") == "ffprobe"
        assert imports.shutil.which("no-such-program") is None
    assert imports.shutil.which is which and which("ffprobe") is None
    for program in ("ffmpeg", "ffprobe"):
        (tmp_path / program).touch(0o755)
    with imports.ffmpeg_by_name():
        assert imports.shutil.which is which


def test_sox_is_deferred_only_where_the_program_is_absent(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delitem(sys.modules, "sox", raising=False)
    with imports.sox_on_first_use():
        stand_in = sys.modules["sox"]
    assert "sox" not in sys.modules
    monkeypatch.setitem(sys.modules, "sox", types.SimpleNamespace(Transformer="the real one"))
    assert stand_in.Transformer == "the real one"
    monkeypatch.delitem(sys.modules, "sox")
    (tmp_path / "sox").touch(0o755)
    with imports.sox_on_first_use():
        assert "sox" not in sys.modules


def test_ignite_contrib_is_left_alone_where_it_exists():
    import ignite.contrib.handlers as real

    with imports.ignite_contrib():
        assert sys.modules["ignite.contrib.handlers"] is real


# ---------------------------------------------------------------- repairs of nussl's modules


def test_resample_equals_soxr(signals):
    (signal,) = signals(1, sample_rate=44100)
    expected = soxr.resample(signal.audio_data[0], 44100, 16000, "HQ")
    signal.resample(16000)
    assert signal.sample_rate == 16000
    np.testing.assert_allclose(signal.audio_data[0], expected, atol=1e-6)


def test_a_file_at_another_rate_is_resampled_when_it_is_read(tmp_path):
    soundfile.write(tmp_path / "tone.wav", np.sin(np.arange(44100) / 10), 44100)
    signal = nussl.AudioSignal(str(tmp_path / "tone.wav"), sample_rate=16000)
    assert (signal.sample_rate, signal.signal_length) == (16000, 16000)


def test_mel_projection_has_librosas_filters():
    projection = nussl.ml.networks.modules.MelProjection(16000, 257, 40, normalize=False)
    expected = librosa.filters.mel(sr=16000, n_fft=512, n_mels=40)
    np.testing.assert_array_equal(projection.transform.weight.detach().numpy(), expected)


def test_hanning_is_hann_wherever_nussl_takes_a_window(signals):
    np.testing.assert_array_equal(nussl.AudioSignal.get_window("hanning", 64), scipy.signal.windows.hann(64, sym=False))
    (signal,) = signals(1)
    signal.stft_params = nussl.STFTParams(512, 128, "hanning")
    assert signal.stft().shape[0] == 257


def test_overlap_add_takes_its_default_window(signals):
    class Halves(nussl.separation.base.SeparationBase):
        def run(self):
            return self

        def make_audio_signals(self):
            return [self.audio_signal.make_copy_with_audio_data(self.audio_signal.audio_data / 2) for _ in range(2)]

    (signal,) = signals(1, seconds=3)
    whole = signal.audio_data.copy()
    halves = nussl.separation.composite.OverlapAdd(Halves(signal), window_duration=1)()
    np.testing.assert_allclose(halves[0].audio_data, whole / 2, atol=1e-6)


def test_si_sdr_is_that_of_the_closed_form(signals):
    reference, noise = (signal.audio_data[0] - signal.audio_data.mean() for signal in signals(2))
    noise -= reference * (noise @ reference) / (reference @ reference)
    audio = [nussl.AudioSignal(audio_data_array=row[None], sample_rate=16000) for row in (reference, reference + noise)]
    scores = nussl.evaluation.BSSEvalScale([audio[0]], [audio[1]], compute_sir_sar=False).evaluate()
    expected = 10 * np.log10((reference @ reference) / (noise @ noise))
    assert scores["source_0"]["SI-SDR"][0] == pytest.approx(expected, abs=1e-3)


def test_bss_eval_4_runs_and_ranks(signals):
    first, second = signals(2)
    near = first.make_copy_with_audio_data(first.audio_data + 0.01 * second.audio_data)
    scores = nussl.evaluation.BSSEvalV4([first, second], [near, first]).evaluate()
    assert scores["source_0"]["SDR"][0] > 20 > 0 > scores["source_1"]["SDR"][0]


def test_a_folder_of_scapers_is_read_through_jams(tmp_path):
    events = tmp_path / "a_events"
    events.mkdir()
    names = ["a.wav", "a_events/foreground0_bass.wav", "a_events/foreground1_drums.wav"]
    for name in names:
        soundfile.write(tmp_path / name, np.full(100, 0.1), 16000)
    paths = [str(tmp_path / name) for name in names]
    made = {"soundscape_audio_path": paths[0], "isolated_events_audio_path": paths[1:]}
    made |= {"fg_labels": ["bass", "drums"], "bg_labels": []}
    labels = [{"time": 0, "duration": 1, "value": {"label": label}} for label in ("bass", "drums")]
    annotation = {"namespace": "scaper", "data": labels, "sandbox": {"scaper": made}, "annotation_metadata": {}}
    scape = {"annotations": [annotation], "file_metadata": {"duration": 1}, "sandbox": {}}
    (tmp_path / "a.jams").write_text(json.dumps(scape))
    item = nussl.datasets.Scaper(str(tmp_path))[0]
    assert list(item["sources"]) == ["bass::0", "drums::0"]
    assert item["mix"].signal_length == 100


def test_the_report_card_has_the_means_and_medians_of_the_numbers():
    rows = {"source": ["bass", "bass", "drums"], "file": ["a.json", "b.json", "a.json"], "SI-SDR": [1.0, 2.0, 6.0]}
    card = nussl.evaluation.report_card(pd.DataFrame(rows))
    means, medians = card.split("MEDIAN OF METRICS")
    numbers = [re.findall(r"-?\d+\.\d+", line) for line in (means + medians).splitlines() if "SI-SDR" in line]
    # Mean and standard deviation (n - 1), then the median: over all, of bass, of drums. One row has no deviation.
    assert numbers == [["3.00", "2.64", "1.50", "0.70", "6.00"], ["2.00", "1.50", "6.00"]]


def test_plain_torch_load_reads_a_model_that_nussl_saved(tmp_path, tiny_model):
    data = Noise("noise", transform=tfm.Compose([tfm.MagnitudeSpectrumApproximation(), tfm.ToSeparationModel()]))
    path = tiny_model().save(str(tmp_path / "model.pth"), train_data=data)
    loaded = torch.load(path)  # weights only, by torch's default
    assert type(loaded["metadata"]["stft_params"]) is type(data.stft_params)
    foreign = tmp_path / "foreign.pth"
    torch.save({"separator": nussl.separation.base.SeparationBase}, foreign)
    with pytest.raises(pickle.UnpicklingError, match="SeparationBase"):
        torch.load(foreign)


@pytest.mark.parametrize("installed", [False, True])
def test_interact_says_what_to_call_without_gradio_or_with_todays(monkeypatch, signals, installed):
    spec = importlib.machinery.ModuleSpec("gradio", None) if installed else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: spec)
    monkeypatch.setitem(sys.modules, "gradio", types.ModuleType("gradio"))
    separator = nussl.separation.primitive.HPSS(signals(1)[0])
    with pytest.raises(
        TransferError, match=r"interact\(\) needs gradio 3 or older. For a page in the browser, run `nussl-t"
    ):
        separator.interact()


def test_interact_is_nussls_own_where_gradio_is_old_enough(monkeypatch, signals):
    shown = []
    gradio = types.ModuleType("gradio")
    gradio.inputs = types.SimpleNamespace(Audio=lambda **options: "audio")
    gradio.Interface = lambda **options: types.SimpleNamespace(launch=lambda **how: shown.append(options["inputs"]))
    gradio.__spec__ = importlib.machinery.ModuleSpec("gradio", None)
    monkeypatch.setitem(sys.modules, "gradio", gradio)
    nussl.separation.primitive.HPSS(signals(1)[0]).interact()
    assert shown == ["audio"]


def test_layer_sources_are_those_of_inspect_and_each_file_is_parsed_once(monkeypatch):
    modules, found = nussl.ml.networks.modules, nussl.ml.networks.separation_model.inspect.getsource
    kinds = [kind for kind in vars(modules).values() if isinstance(kind, type) and issubclass(kind, torch.nn.Module)]
    assert len(kinds) > 15
    assert all(found(kind) == inspect.getsource(kind) for kind in kinds)
    monkeypatch.setattr(ast, "parse", None)
    assert found(modules.Embedding).startswith("class Embedding")


def test_a_class_without_a_file_raises_the_error_of_inspect():
    made = type("Made", (torch.nn.Module,), {"__module__": "__main__"})
    with pytest.raises((OSError, TypeError)):
        inspect.getsource(made)
    with pytest.raises((OSError, TypeError)):
        nussl.ml.networks.separation_model.inspect.getsource(made)


def test_repairing_again_changes_nothing():
    places = [
        (nussl.core.audio_signal, "librosa"),
        (nussl.core.audio_signal, "scipy"),
        (nussl.ml.networks.modules.blocks, "librosa"),
        (nussl.core.migration, "torch"),
        (tfm, "zarr"),
        (tfm, "numcodecs"),
        (nussl.ml.networks.separation_model, "inspect"),
    ]
    before = [getattr(module, name) for module, name in places]
    assert all(isinstance(view, View) for view in before)
    compat.repair()
    assert [getattr(module, name) for module, name in places] == before


def test_a_module_that_needs_no_repair_is_not_changed(monkeypatch):
    old = types.ModuleType("librosa")
    old.__version__ = "0.9.2"
    old.resample = lambda y, orig_sr, target_sr, res_type="kaiser_best": None
    old.filters = types.SimpleNamespace(mel=lambda sr, n_fft, n_mels=128: None)
    monkeypatch.setattr(nussl.core.audio_signal, "librosa", old)
    monkeypatch.setattr(nussl.ml.networks.modules.blocks, "librosa", old)
    monkeypatch.setattr(nussl.core.audio_signal, "scipy", scipy)
    monkeypatch.setattr(patches, "_knows_window", lambda name: True)
    compat.repair()
    assert nussl.core.audio_signal.librosa is old
    assert nussl.ml.networks.modules.blocks.librosa is old
    assert nussl.core.audio_signal.scipy is scipy


# ---------------------------------------------------------------- Cache and cache_dataset


class Noise(nussl.datasets.BaseDataset):
    """Three mixtures of two sources, all of them noise."""

    def get_items(self, folder):
        return [0, 1, 2]

    def process_item(self, item):
        noise = np.random.default_rng(item).standard_normal((2, 1, 2000)).astype(np.float32)
        first, second = (self._load_audio_from_array(row, 16000) for row in noise)
        sources = {"a": first, "b": second}
        return {
            "mix": first + second,
            "sources": sources,
            "metadata": {"labels": ["a", "b"], "gain": np.float64(item)},
        }


def pipeline(*steps):
    return tfm.Compose(list(steps))


@pytest.mark.filterwarnings("ignore")  # ignite's progress bar and zarr 2 warn, too
@pytest.mark.parametrize("place", [0, 2], ids=["signals", "tensors"])
def test_a_cached_data_set_gives_the_same_items_in_the_next_run(tmp_path, place):
    steps = [tfm.MagnitudeSpectrumApproximation(), tfm.ToSeparationModel()]
    fresh = Noise("noise", transform=pipeline(*steps))
    steps.insert(place, tfm.Cache(str(tmp_path / "cache"), overwrite=True))
    cached = Noise("noise", transform=pipeline(*steps))
    nussl.ml.train.cache_dataset(cached)
    assert cached.cache_populated
    steps[place] = tfm.Cache(str(tmp_path / "cache"))
    next_run = Noise("noise", transform=pipeline(*steps), cache_populated=True)
    next_run.process_item = None  # it has to come from the cache
    for index in range(3):
        for items in (cached, next_run):
            for key in ("mix_magnitude", "source_magnitudes", "ideal_binary_mask"):
                torch.testing.assert_close(items[index][key], fresh[index][key], rtol=0, atol=0)


def test_an_item_with_signals_and_numbers_comes_back_unchanged():
    item = Noise("noise").process_item(2)
    item["mix"].stft()
    (copy,) = cache.ItemCodec().decode(cache.ItemCodec().encode(np.array([item], dtype=object)))
    assert isinstance(copy["mix"], nussl.AudioSignal)
    assert copy["mix"] == item["mix"] and list(copy["sources"]) == ["a", "b"]
    np.testing.assert_array_equal(copy["mix"].stft_data, item["mix"].stft_data)
    assert copy["mix"].stft_params == item["mix"].stft_params
    assert copy["metadata"] == item["metadata"]


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_cache_of_plain_nussl_is_refused_and_not_run(tmp_path):
    store = zarr.open(
        str(tmp_path / "cache"),
        mode="w",
        shape=(1,),
        chunks=(1,),
        dtype=object,
        object_codec=numcodecs.Pickle(),
    )
    store[0] = {"index": 0, "trap": Touch(tmp_path / "sprung")}
    with pytest.raises(DataError, match=r"was written with \[Pickle.*overwrite=True"):
        Noise("noise", transform=pipeline(tfm.Cache(str(tmp_path / "cache"))), cache_populated=True)
    assert not (tmp_path / "sprung").exists()
    pickle.loads(pickle.dumps(Touch(tmp_path / "sprung")))
    assert (tmp_path / "sprung").exists(), "the trap does not work, so this test shows nothing"


def test_an_item_that_names_a_function_is_refused_and_not_run(tmp_path):
    trap = cache.ItemCodec().encode(np.array([{"trap": Touch(tmp_path / "sprung")}], dtype=object))
    with pytest.raises(DataError, match=r"posix\.mkdir.*Nothing in it was run"):
        cache.ItemCodec().decode(trap)
    assert not (tmp_path / "sprung").exists()


def test_an_item_cannot_make_a_signal_open_a_file(tmp_path):
    class Opened:
        def __reduce__(self):
            return nussl.AudioSignal, (str(tmp_path / "tone.wav"),)

    soundfile.write(tmp_path / "tone.wav", np.zeros(100), 16000)
    with pytest.raises(DataError, match="Nothing in it was run"):
        cache.ItemCodec().decode(cache.ItemCodec().encode(np.array([Opened()], dtype=object)))


def test_zarr_3_is_an_error_that_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(zarr, "__version__", "3.1.0")
    monkeypatch.delattr(zarr, "ThreadSynchronizer")
    with pytest.raises(DataError, match=r"got zarr 3\.1\.0, expected zarr 2. Install 'zarr<3'"):
        tfm.Cache(str(tmp_path / "cache"), overwrite=True)
