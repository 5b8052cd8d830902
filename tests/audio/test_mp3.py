"""MP3 files with and without a true number of frames, compared with ffmpeg and with the number of encoded samples."""

from __future__ import annotations

import shutil
import struct
import subprocess

import numpy as np
import pytest
import soundfile

from nussl_transfer.audio.io import header, read
from nussl_transfer.audio.mp3 import open_whole, parse_header, scan
from nussl_transfer.errors import AudioFileError

SECONDS = 6


@pytest.fixture(params=[(16000, 1), (44100, 2)], ids=["16 kHz mono", "44.1 kHz stereo"])
def encoded(request, tmp_path):
    """Return a function that writes an MP3 of six seconds; a variable bit rate is low at the start."""
    rate, channels = request.param
    time = np.arange(SECONDS * rate) / rate
    noise = np.random.default_rng(0).normal(0, 0.05, len(time))
    audio = 0.2 * np.sin(2 * np.pi * 220 * time) * (time < 2) + noise * (time > 4)

    def write(mode="VARIABLE"):
        path = tmp_path / f"{mode}.mp3"
        options = {"format": "MP3", "bitrate_mode": mode, "compression_level": 0.5}
        with soundfile.SoundFile(path, "w", rate, channels, "MPEG_LAYER_III", **options) as file:
            file.write(np.stack([audio] * channels, axis=1))
        return path

    return write


def without_info(path):
    """Remove the Info frame, as programs that cut or join MP3 files do."""
    content = path.read_bytes()
    length = parse_header(int.from_bytes(content[:4], "big")).length
    assert b"Info" in content[:64] or b"Xing" in content[:64]
    path.write_bytes(content[length:])
    return path


def length_by_ffmpeg(path, channels):
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    words = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "f32le", "-"]
    return len(subprocess.run(words, capture_output=True, check=True).stdout) // 4 // channels


def id3(size):
    """Return an ID3v2 tag with a cover of bytes that look like frame headers."""
    sizes = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
    return (
        b"ID3\3\0\0" + sizes + b"APIC" + struct.pack(">I", size - 10) + b"\0\0" + b"\xff\xfb\x90\x64" * ((size - 10) // 4)
    )


BEHIND = {
    "nothing": b"",
    "an APE tag": b"APETAGEX" + struct.pack("<IIII", 2000, 4032, 1, 0) + bytes(4008 + 32),
    "ID3v1": b"TAG" + bytes(125),
    "zeros": bytes(50_000),
    "junk": np.random.default_rng(1).bytes(20_000),
    "half a frame": None,
}


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
def test_with_an_info_frame_the_length_is_that_of_the_audio_encoded(encoded, mode):
    path = encoded(mode)
    head = header(path)
    assert head.frames == SECONDS * head.sample_rate
    assert read(path)[0].shape == (head.channels, head.frames)


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("cover", [0, 300_002])
def test_without_an_info_frame_all_frames_are_read_and_nothing_else(encoded, mode, behind, cover):
    path = without_info(encoded(mode))
    plain = path.read_bytes()
    tail = plain[:50] if BEHIND[behind] is None else BEHIND[behind]
    path.write_bytes((id3(cover) if cover else b"") + plain + tail)
    head, about = header(path), scan(path)
    assert about.samples * about.frames - head.frames in (0, 529)  # the decoder's own delay
    assert 0 <= head.frames - SECONDS * head.sample_rate < 4 * 1152
    audio, _ = read(path)
    assert audio.shape == (head.channels, head.frames)
    # The noise of the last two seconds is there.
    assert np.sqrt(np.mean(audio[:, -head.sample_rate :] ** 2)) > 0.03
    if behind == "nothing" and not cover:
        assert abs(length_by_ffmpeg(path, head.channels) - head.frames) <= 529


def test_files_joined_end_to_end_are_read_to_the_end(encoded):
    path = encoded()
    path.write_bytes(2 * path.read_bytes())
    assert header(path).seconds == pytest.approx(2 * SECONDS, abs=0.3)


def test_an_info_frame_that_promises_more_frames_than_there_are_means_a_cut(encoded):
    path = encoded()
    content = path.read_bytes()
    path.write_bytes(content[: int(0.8 * len(content))])
    with pytest.raises(AudioFileError, match=r"was cut: it promises 6\.\d s and has [45]\.\d s"):
        header(path)


def test_a_vbri_frame_that_promises_more_frames_means_a_cut_too(encoded):
    path = encoded("CONSTANT")
    content = bytearray(path.read_bytes())
    length = parse_header(int.from_bytes(content[:4], "big")).length
    content[4:length] = bytes(length - 4)
    content[36:54] = b"VBRI" + bytes(10) + struct.pack(">I", 10_000)
    path.write_bytes(content)
    with pytest.raises(AudioFileError, match="was cut"):
        header(path)


@pytest.mark.parametrize(("name", "options"), [("a.wav", ["-c:a", "mp3", "-q:a", "2"]), ("a.mp2", ["-c:a", "mp2"])])
def test_an_mp3_in_a_wav_and_an_mp2_have_the_length_that_ffmpeg_decodes(encoded, tmp_path, name, options):
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    path = tmp_path / name
    words = ["ffmpeg", "-v", "error", "-i", str(encoded()), "-ar", "44100", "-ac", "2", *options, str(path)]
    subprocess.run(words, check=True)
    head = header(path)
    assert read(path)[0].shape == (2, head.frames)
    assert abs(length_by_ffmpeg(path, 2) - head.frames) <= 2 * 1152


def test_a_seek_reads_the_same_bytes(encoded):
    path = without_info(encoded())
    with open_whole(path, scan(path)) as file:
        whole = file.read()
        assert file.seek(-100, 2) == len(whole) - 100 == file.tell()
        assert file.read() == whole[-100:]
        file.seek(10)
        assert file.read(1000) == whole[10:1010]
    assert whole.endswith(path.read_bytes())


@pytest.mark.parametrize("content", [b"", b"\xff", b"ID3", b"\xff\xfb\x90\x64", bytes(5000), b"\xff" * 5000])
def test_bytes_without_frames_are_no_mp3(tmp_path, content):
    path = tmp_path / "a.mp3"
    path.write_bytes(content)
    assert scan(path) is None
    with pytest.raises(AudioFileError):
        header(path)
