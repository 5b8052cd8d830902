"""The public `separate`: paths, folders, signals and arrays in; signals or files out."""

from __future__ import annotations

import numpy as np
import nussl
import pytest
import soundfile
from nussl.separation.deep import DeepMaskEstimation

from nussl_transfer.datasets.folders import SEPARATED
from nussl_transfer.errors import AudioFileError, ConfigError, DataError
from nussl_transfer.separation.files import separate_files
from nussl_transfer.separation.separate import separate

RATE = 16000


def write(path, audio, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio.T, rate, subtype="FLOAT")
    return path


def files_under(folder):
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != SEPARATED
    )


def test_a_file_a_signal_and_an_array_give_the_estimates_of_nussl(tmp_path, checkpoint, noise, signal):
    audio = noise(2, 20000)
    expected = DeepMaskEstimation(signal(audio), str(checkpoint))()
    path = write(tmp_path / "song.wav", audio)
    for given in (path, str(path), signal(audio), (audio, RATE), (audio.astype(np.float64), RATE)):
        found = separate(given, checkpoint, device="cpu")
        assert list(found) == ["bass", "voice"] and all(isinstance(e, nussl.AudioSignal) for e in found.values())
        for ours, theirs in zip(found.values(), expected, strict=True):
            assert ours.sample_rate == RATE
            np.testing.assert_allclose(ours.audio_data, theirs.audio_data, atol=1e-6)
    mono = separate((audio[0], RATE), checkpoint)
    np.testing.assert_allclose(mono["bass"].audio_data[0], expected[0].audio_data[0], atol=1e-6)


def test_with_out_files_are_written_and_their_paths_returned(tmp_path, checkpoint, noise, signal):
    audio = noise(1, 20000)
    path = write(tmp_path / "song.wav", audio)
    found = separate(path, checkpoint, out=tmp_path / "one", format="flac", labels=["voice"], residual=True)
    assert found == {name: tmp_path / "one" / "song" / f"{name}.flac" for name in ("voice", "residual")}
    found = separate(signal(audio), checkpoint, out=tmp_path / "two")
    assert found == {name: tmp_path / "two" / f"{name}.wav" for name in ("bass", "voice")}
    assert all(soundfile.info(file).frames == 20000 for file in found.values())
    assert files_under(tmp_path / "one") == ["song/residual.flac", "song/voice.flac"]


def test_a_folder_gives_one_entry_per_file_at_any_depth_and_behind_links(tmp_path, checkpoint, noise):
    write(tmp_path / "elsewhere" / "deep" / "b.wav", noise(1, 3000))
    write(tmp_path / "music" / "a.wav", noise(1, 2000))
    (tmp_path / "music" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "music" / "loop").symlink_to(tmp_path / "music")
    found = separate(tmp_path / "music", checkpoint)
    assert {name: estimates["bass"].signal_length for name, estimates in found.items()} == {
        "a.wav": 2000,
        "link/deep/b.wav": 3000,
    }
    out = tmp_path / "music" / "separated"
    for _ in range(2):  # the first time's outputs are no inputs the second time
        found = separate(tmp_path / "music", checkpoint, out=out)
        assert {name: files["bass"] for name, files in found.items()} == {
            "a.wav": out / "a" / "bass.wav",
            "link/deep/b.wav": out / "link" / "deep" / "b" / "bass.wav",
        }


def test_one_bad_file_in_a_folder_is_reported_after_the_others_are_written(tmp_path, checkpoint, noise):
    write(tmp_path / "music" / "good.wav", noise(1, 2000))
    (tmp_path / "music" / "bad.wav").write_text("not audio")
    with pytest.raises(DataError, match=r"1 of 2 files in .*music could not be separated: .*bad.wav cannot be decoded"):
        separate(tmp_path / "music", checkpoint, out=tmp_path / "out")
    assert files_under(tmp_path / "out") == ["good/bass.wav", "good/voice.wav"]
    with pytest.raises(AudioFileError, match="bad.wav cannot be decoded"):
        separate(tmp_path / "music" / "bad.wav", checkpoint)


def test_progress_counts_up_to_the_length_and_an_exception_in_it_cancels(tmp_path, short_checkpoint, noise):
    path, told = write(tmp_path / "song.wav", noise(1, 30 * RATE)), []
    separate(path, short_checkpoint, progress=lambda done, total: told.append((done, total)))
    assert len(told) > 1 and told == sorted(told)
    assert told[-1] == pytest.approx((30, 30)) and all(total == pytest.approx(30) for _, total in told)

    class Cancelled(Exception):
        pass

    def cancel(done, total):
        assert len(list((tmp_path / "out").rglob("*.part"))) == 2  # in the middle of writing
        raise Cancelled

    with pytest.raises(Cancelled):
        separate(path, short_checkpoint, out=tmp_path / "out", progress=cancel)
    assert files_under(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("audio", "said"),
    [
        ((np.zeros((0,), np.float32), RATE), "at least one sample"),
        ((np.full(100, np.nan), RATE), "NaN or infinite"),
        ((np.zeros(100, np.int16), RATE), "float array .* got int16"),
        ((np.zeros((44100, 2)), RATE), r"\[channels, samples\].*got float64 \[44100, 2\]"),
        ((np.zeros(100), 0), "sample rate must be a whole number of Hz: got 0"),
        ((np.zeros(100), 44100.5), "got 44100.5"),
        (np.zeros(100), "got ndarray"),
        (nussl.AudioSignal(), "holds no audio"),
    ],
)
def test_audio_that_cannot_be_separated_gives_a_one_sentence_error(checkpoint, audio, said):
    with pytest.raises(DataError, match=said):
        separate(audio, checkpoint)


@pytest.mark.parametrize("keep_rate", [False, True])
def test_an_input_that_overflows_is_an_error_and_leaves_no_file(tmp_path, checkpoint, noise, keep_rate):
    path = write(tmp_path / "loud.wav", 1e30 * noise(1, 20000), 22050)
    with pytest.raises(
        DataError, match=r"loud.wav cannot be separated: the estimates are not finite .* samples reach [\d.]+e\+29"
    ):
        separate(path, checkpoint, out=tmp_path / "out", keep_rate=keep_rate)
    assert files_under(tmp_path / "out") == []


def test_an_output_never_replaces_an_input(tmp_path, checkpoint, noise):
    path = write(tmp_path / "bass" / "bass.wav", noise(1, 2000))
    (tmp_path / "link").symlink_to(tmp_path)
    before = path.read_bytes()
    for out in (tmp_path, tmp_path / "link", tmp_path / "bass" / ".."):
        with pytest.raises(ConfigError, match="bass.wav would replace an input file"):
            separate(path, checkpoint, out=out)
    assert path.read_bytes() == before and files_under(tmp_path) == ["bass/bass.wav"]


def test_a_file_that_is_no_earlier_output_is_never_replaced(tmp_path, checkpoint, noise):
    audio = noise(1, 2000)
    song = write(tmp_path / "song.wav", audio)
    mine = write(tmp_path / "song" / "bass.wav", noise(1, 3000))
    before = mine.read_bytes()
    for given, out in ((song, tmp_path), ((audio, RATE), tmp_path / "song")):
        with pytest.raises(ConfigError, match="bass.wav exists, and separating did not write it. Choose another"):
            separate(given, checkpoint, out=out)
    with pytest.raises(ConfigError, match="bass.wav exists, and separating did not write it"):
        separate_files([song], checkpoint, tmp_path, progress=False)
    assert mine.read_bytes() == before and files_under(tmp_path) == ["song.wav", "song/bass.wav"]
    mine.rename(tmp_path / "song" / "my bass.wav")
    for label in ("voice", "bass", "voice"):  # each run replaces the outputs of the run before
        separate(song, checkpoint, out=tmp_path, labels=[label])
        separate_files([song], checkpoint, tmp_path, progress=False)
        separate((audio, RATE), checkpoint, out=tmp_path / "song")
    assert (tmp_path / "song" / "my bass.wav").read_bytes() == before
    assert files_under(tmp_path / "song") == ["bass.wav", "my bass.wav", "voice.wav"]


def test_outputs_never_lie_among_the_inputs(tmp_path, checkpoint, noise):
    write(tmp_path / "music" / "song.wav", noise(1, 2000))
    write(tmp_path / "music.wav", noise(1, 2000))
    for given, out in ((tmp_path / "music", tmp_path / "music"), (tmp_path, tmp_path)):
        with pytest.raises(ConfigError, match="Outputs would lie among the files of .* Choose another output folder"):
            separate(given, checkpoint, out=out)
    assert files_under(tmp_path) == ["music.wav", "music/song.wav"]


@pytest.mark.parametrize("seconds", [1e6, 1e300])
def test_a_chunk_of_absurd_length_takes_no_more_memory_than_the_file(tmp_path, checkpoint, noise, seconds):
    audio = noise(1, 3 * RATE)
    long = separate((audio, RATE), checkpoint, chunk_seconds=seconds)
    np.testing.assert_allclose(long["bass"].audio_data, separate((audio, RATE), checkpoint)["bass"].audio_data, atol=1e-6)


def test_shifts_average_the_estimates_of_delayed_copies(short_checkpoint, noise):
    audio, delay = noise(1, 20000), round(0.25 * RATE)
    plain = separate((audio, RATE), short_checkpoint)["bass"].audio_data
    later = separate((np.pad(audio, ((0, 0), (delay, 0))), RATE), short_checkpoint)["bass"].audio_data[:, delay:]
    found = separate((audio, RATE), short_checkpoint, shifts=2)["bass"].audio_data
    np.testing.assert_allclose(found, (plain + later) / 2, atol=1e-6)
    both = separate((audio, RATE), short_checkpoint, shifts=3)
    np.testing.assert_allclose(sum(estimate.audio_data for estimate in both.values()), audio, atol=1e-5)
    for shifts in (0, -1, 65):
        with pytest.raises(ConfigError, match=f"got {shifts}, expected 1 to 64"):
            separate((audio, RATE), short_checkpoint, shifts=shifts)
