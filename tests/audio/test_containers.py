"""Sizes in headers reveal files that were cut; sizes that mean "unknown" do not count."""

from __future__ import annotations

import shutil
import struct
import subprocess

import numpy as np
import pytest
import soundfile

from nussl_transfer.audio.io import header, read
from nussl_transfer.errors import AudioFileError

RATE = 16000
NOISE = np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype(np.float32)
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "big-endian.wav": ("WAV", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_24"),
    "aiff": ("AIFF", "PCM_16"),
    "aifc": ("AIFF", "FLOAT"),
    "caf": ("CAF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
}


def write(path, name, audio=NOISE):
    kind, subtype = FORMATS[name]
    endian = "BIG" if name.startswith("big") else "FILE"
    soundfile.write(path, audio, RATE, format=kind, subtype=subtype, endian=endian)
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_a_whole_file_is_read_and_a_cut_one_refused(tmp_path, name):
    path = write(tmp_path / f"a.{name}", name)
    assert read(path)[0].shape[1] == header(path).frames == len(NOISE)
    whole = path.read_bytes()
    for share in (0.3, 0.6, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(AudioFileError, match="a.* (was cut|cannot be decoded)"):
            read(path)


@pytest.mark.parametrize("name", ["wav", "rf64", "w64", "aiff", "caf", "au"])
def test_a_file_that_is_sixteen_bytes_short_counts_as_whole(tmp_path, name):
    path = write(tmp_path / f"a.{name}", name)
    path.write_bytes(path.read_bytes()[:-16])
    assert len(NOISE) - 20 <= header(path).frames < len(NOISE)
    assert read(path)[0].shape[1] == header(path).frames


def riff(size, name=b"RIFF", extra=b"", data_size=None):
    """Return a WAV of mono 16-bit noise with any size in its header."""
    pcm = (NOISE * 32767).astype("<i2").tobytes()
    form = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    return (
        name
        + struct.pack("<I", min(size + 36, 0xFFFFFFFF))
        + b"WAVE"
        + extra
        + form
        + b"data"
        + struct.pack("<I", size)
        + pcm
    )


# As left by programs that write to a pipe: ffmpeg, sox, arecord (two ways), lame.
@pytest.mark.parametrize(
    "size", [0, 0xFFFFFFFF, 0xFFFFFFFF - 44, 0x7FFFF000, 0x7FFFFFFF, 0x7FFFFFFF - 44, 0x80000000, 0x7FFFFFD8]
)
def test_sizes_of_a_wav_written_to_a_pipe_are_taken_as_unknown(tmp_path, size):
    path = tmp_path / "piped.wav"
    path.write_bytes(riff(size))
    assert header(path).frames == len(NOISE)
    np.testing.assert_allclose(read(path)[0][0], NOISE, atol=1e-4)


def test_a_wav_of_size_0_with_only_chunks_after_it_is_empty(tmp_path):
    path = tmp_path / "empty.wav"
    path.write_bytes(riff(0)[:44] + b"LIST" + struct.pack("<I", 4) + b"INFO")
    with pytest.raises(AudioFileError, match=r"holds no audio \(0 samples\)"):
        header(path)


@pytest.mark.parametrize("kind", ["wav", "aiff", "au", "flac"])
@pytest.mark.parametrize("program", ["sox", "ffmpeg"])
def test_what_sox_and_ffmpeg_write_to_a_pipe_is_read_whole(tmp_path, program, kind):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    source, path = write(tmp_path / "source.wav", "wav"), tmp_path / f"piped.{kind}"
    words = {"sox": ["sox", source, "-t", kind, "-"], "ffmpeg": ["ffmpeg", "-v", "error", "-i", source, "-f", kind, "-"]}
    path.write_bytes(subprocess.run(words[program], capture_output=True, check=True).stdout)
    assert header(path).frames == len(NOISE)
    np.testing.assert_allclose(read(path)[0][0], NOISE, atol=1e-4)


@pytest.mark.parametrize("name", [b"RF64", b"BW64"])
def test_the_size_of_an_rf64_is_that_of_its_ds64_chunk(tmp_path, name):
    path = tmp_path / "long.wav"
    for samples, cut in ((2 * len(NOISE), True), (len(NOISE), False)):
        ds64 = b"ds64" + struct.pack("<IQQQI", 28, 2 * samples + 80, 2 * samples, samples, 0)
        path.write_bytes(riff(0xFFFFFFFF, name, ds64))
        if cut:
            with pytest.raises(AudioFileError, match=f"was cut: its header promises {len(NOISE) * 2} bytes more"):
                header(path)
        elif name == b"RF64":  # libsndfile does not know BW64
            assert header(path).frames == len(NOISE)


def test_chunks_of_daws_and_recorders_before_and_after_the_samples_are_skipped(tmp_path):
    def chunk(name, content):
        return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)

    before = chunk(b"JUNK", bytes(28)) + chunk(b"bext", bytes(602)) + chunk(b"iXML", b"<BWFXML/>")
    path = tmp_path / "daw.wav"
    path.write_bytes(riff(2 * len(NOISE), extra=before) + chunk(b"LIST", bytes(31)) + chunk(b"id3 ", bytes(400)))
    assert header(path).frames == len(NOISE)
    np.testing.assert_allclose(read(path)[0][0], NOISE, atol=1e-4)


@pytest.mark.parametrize(("endian", "kind"), [("LITTLE", b"RIFF"), ("BIG", b"RIFX")])
def test_a_wav_above_4_gib_whose_size_wrapped_around_is_refused(tmp_path, endian, kind):
    path = tmp_path / "huge.wav"
    soundfile.write(path, NOISE, RATE, subtype="PCM_16", format="WAV", endian=endian)
    with open(path, "r+b") as file:
        assert file.read(4) == kind
        file.truncate(path.stat().st_size + (1 << 32))  # a sparse file: it takes no space on the disk
    with pytest.raises(AudioFileError, match="larger than the 4 GiB that its header can describe"):
        header(path)


def test_an_ogg_with_a_tag_after_its_end_is_whole(tmp_path):
    path = write(tmp_path / "a.ogg", "ogg")
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
    assert header(path).frames == len(NOISE)


def test_float_samples_above_full_scale_stay_as_they_are(tmp_path):
    path = write(tmp_path / "a.wav", "float.wav", 30 * NOISE)
    np.testing.assert_array_equal(read(path)[0][0], 30 * NOISE)
