"""Reading whole, damaged, cut and misnamed audio files."""

from __future__ import annotations

import os
import pickle

import layouts
import numpy as np
import pytest
import soundfile
import soxr

from nussl_transfer.audio.io import align, blocks, header, mono, read
from nussl_transfer.errors import AudioFileError, DataError


@pytest.fixture
def wav(tmp_path):
    return layouts.write(tmp_path / "a.wav", layouts.tone(440))


def cut(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    return path


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".aiff"])
def test_blocks_together_are_the_file(tmp_path, suffix):
    path = layouts.write(tmp_path / f"a{suffix}", np.stack([layouts.tone(440), layouts.tone(220)], axis=1))
    expected, rate = soundfile.read(path, dtype="float32")
    assert np.array_equal(np.concatenate(list(blocks(path, 1000))), expected)
    assert np.array_equal(read(path)[0], expected.T)
    assert (header(path).sample_rate, header(path).channels, header(path).frames) == (rate, 2, len(expected))


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_mono_is_the_mean_of_the_channels_resampled_whatever_the_blocks(tmp_path, rate, monkeypatch):
    path = layouts.write(tmp_path / "a.wav", np.stack([layouts.tone(440), layouts.tone(220)], axis=1))
    expected = soxr.resample(soundfile.read(path, dtype="float32")[0].mean(axis=1), 44100, rate, "HQ")
    monkeypatch.setattr(blocks, "__defaults__", (7001,))
    assert np.allclose(mono(path, rate), expected, atol=1e-7)


@pytest.mark.parametrize(("suffix", "share"), [(".wav", 0.5), (".aiff", 0.5), (".flac", 0.5), (".wav", 0.98)])
def test_a_file_that_was_cut_is_refused(tmp_path, suffix, share):
    path = cut(layouts.write(tmp_path / f"a{suffix}", layouts.tone(440)), share)
    with pytest.raises(AudioFileError, match="a.*(was cut|cannot be decoded).*[Cc]opy it again"):
        read(path)


def test_an_mp3_with_fewer_frames_than_its_info_frame_promises_is_refused(tmp_path):
    path = cut(layouts.write(tmp_path / "a.mp3", layouts.tone(440, 4)), 0.5)
    with pytest.raises(AudioFileError, match="was cut: it promises 4.0 s"):
        read(path)


def test_a_wav_that_lacks_a_few_bytes_is_read(wav):
    """Some programs count bytes of the header as samples."""
    wav.write_bytes(wav.read_bytes()[:-16])
    assert header(wav).frames == 44100 - 8
    assert len(read(wav)[0][0]) == 44100 - 8


@pytest.mark.parametrize("name", [b"fl\xf6te.wav", b"\xff\xfe.flac", "ü😀.mp3".encode()])
def test_a_name_that_is_not_utf8_is_read(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    with open(path, "wb") as file:
        soundfile.write(file, layouts.tone(440), 44100, format=path.suffix[1:].upper())
    assert header(path).seconds == 1
    assert read(path)[0].shape == (1, 44100)


def test_a_file_that_is_not_audio_is_named_by_its_kind(tmp_path):
    path = tmp_path / "a.mp3"
    for content, what in (
        (b"\0\0\0\x20ftypM4A \0\0\0\0" + bytes(100), "it is an MP4 or M4A file"),
        (b"\xff\xf1\x50\x80\x2e\x7f\xfc" + bytes(400), "it is an AAC file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "it is a Git LFS pointer"),
        (b"<!DOCTYPE html><html>404</html>", "it is a web page"),
    ):
        path.write_bytes(content)
        with pytest.raises(AudioFileError, match=f"a.mp3 cannot be decoded: {what}"):
            header(path)


def test_empty_files_files_without_audio_and_other_files_are_refused(tmp_path):
    empty, text = tmp_path / "empty.wav", tmp_path / "text.wav"
    empty.write_bytes(b"")
    text.write_text("not a sound")
    silent = layouts.write(tmp_path / "nothing.wav", np.zeros(0))
    for path, what in ((empty, "is empty"), (text, "cannot be decoded"), (silent, r"holds no audio \(0 samples\)")):
        with pytest.raises(AudioFileError, match=f"{path.name} {what}"):
            header(path)


def test_broken_links_missing_files_and_forbidden_files_have_different_errors(tmp_path, monkeypatch):
    (tmp_path / "link.wav").symlink_to(tmp_path / "elsewhere.wav")
    with pytest.raises(AudioFileError, match="is a broken link to .*elsewhere.wav. Mend the link"):
        header(tmp_path / "link.wav")
    with pytest.raises(AudioFileError, match="is not there"):
        header(tmp_path / "gone.wav")
    path = layouts.write(tmp_path / "mine.wav", layouts.tone(440))

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)  # the tests may run as root, who may open every file
    with pytest.raises(AudioFileError, match="may not be read .*chmod u"):
        header(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_sample_that_is_not_a_number_is_refused_with_its_position(tmp_path, value):
    audio = layouts.tone(440, rate=16000)
    audio[8000] = value
    soundfile.write(tmp_path / "a.wav", audio, 16000, subtype="FLOAT")
    with pytest.raises(AudioFileError, match="holds NaN or infinite samples, the first at 0.50 s"):
        read(tmp_path / "a.wav")


def test_a_wav_that_was_written_to_a_pipe_is_read_to_its_end(wav):
    content = bytearray(wav.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff\xff\xff\xff"
    wav.write_bytes(content)
    assert len(read(wav)[0][0]) == 44100


def test_an_error_from_another_process_keeps_its_parts(tmp_path):
    error = pickle.loads(pickle.dumps(AudioFileError(tmp_path / "a.wav", "is odd", "Look.")))
    assert (str(error), error.what) == (f"{tmp_path}{os.sep}a.wav is odd. Look.", "is odd")


def test_aligned_signals_are_as_long_as_the_longest_and_keep_every_sample():
    out = align({"a": np.ones((2, 100)), "b": np.ones((2, 99))})
    assert out["b"].shape == (2, 100) and out["b"].sum() == 198 and not out["b"][:, 99].any()
    with pytest.raises(DataError, match="to within 1%: found a 100, b 98 samples"):
        align({"a": np.ones(100), "b": np.ones(98)})
