"""Test the script that uses nussl's own API, on a tiny data set."""

from __future__ import annotations

import numpy as np
import soundfile

from recipes import nussl_script

RATE = 16000


def write_stems(folder, seed):
    rng = np.random.default_rng(seed)
    for number in range(2):
        (folder / f"song{number}").mkdir(parents=True)
        for pitch, label in ((220, "alto"), (110, "bass")):
            tone = 0.2 * np.sin(2 * np.pi * (pitch + 10 * number) * np.arange(3 * RATE) / RATE)
            soundfile.write(folder / f"song{number}" / f"{label}.wav", tone + 0.01 * rng.normal(size=3 * RATE), RATE)
    return folder


def test_it_pretrains_fine_tunes_and_writes_stems_that_sum_to_the_song(tmp_path):
    music, stems = write_stems(tmp_path / "music", 0), write_stems(tmp_path / "stems", 1)
    song, _ = soundfile.read(stems / "song0" / "alto.wav")
    soundfile.write(tmp_path / "song.wav", song, RATE)
    sizes = ["--iterations", "2", "--batch-size", "2", "--hidden-size", "4", "--num-layers", "1"]
    paths = [str(music), str(stems), str(tmp_path / "song.wav"), "--out", str(tmp_path / "run")]
    written = nussl_script.main([*paths, *sizes])
    assert [path.name for path in written] == ["alto.wav", "bass.wav"]
    estimates = [soundfile.read(path)[0] for path in written]
    # The masks are a softmax, so the estimates add up to the song; the files hold 16 bits.
    assert np.abs(sum(estimates) - song).max() < 1e-3
    assert (tmp_path / "run" / "pretrained" / "checkpoints" / "best.model.pth").is_file()
