"""Stem files: errors without ffmpeg, reading with ffmpeg, and with programs that imitate it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import layouts
import numpy as np
import pytest

from nussl_transfer.audio import io as audio
from nussl_transfer.audio import stem_mp4 as containers
from nussl_transfer.datasets.musdb18 import MUSDB18
from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.datasets.validation.check import check
from nussl_transfer.errors import AudioFileError, DataError
from nussl_transfer.store.prepare import prepare

RATE, FRAMES = 44100, 66150
# A fake container is a JSON file: the answers that the fake ffmpeg and ffprobe give for it.
SOUND = {"streams": 5, "frames": FRAMES, "decoded": FRAMES, "says": "", "status": 0}
FFPROBE = """
audio = {"codec_type": "audio", "codec_name": "aac", "sample_rate": "44100", "channels": 2, "time_base": "1/44100"}
streams = [{**audio, "index": 1 + n, "duration_ts": about["frames"]} for n in range(about["streams"])]
if about.get("no_rate"):
    del streams[0]["sample_rate"]
print(json.dumps({"streams": [{"index": 0, "codec_type": "video", "codec_name": "png"}, *streams]}))
"""
FFMPEG = """
number = int(words[words.index("-map") + 1].split(":")[1])
ramp = [number * frame / 1e6 for frame in range(about["decoded"])]
sys.stdout.buffer.write(array.array("f", [s for sample in ramp for s in (sample, sample / 2)]).tobytes())
sys.stdout.flush()
"""
# A path to Python may contain a space, which the first line of a script cannot express.
LAUNCHER = '#!/bin/sh\nexec "{python}" "{script}" "$@"\n'
PROGRAM = """
import array, json, sys
words = sys.argv[1:]
file = words[words.index("-i") + 1].removeprefix("file:") if "-i" in words else words[-1]
try:
    about = json.load(open(file))
except ValueError:
    sys.exit("first line\\nmoov atom not found")
{what}
print(about["says"], file=sys.stderr)
sys.exit(about["status"] if "-i" in words else 0)
"""


@pytest.fixture
def without_programs(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))


@pytest.fixture
def programs(monkeypatch, tmp_path):
    """Programs that answer as ffmpeg and ffprobe do: stream n is a ramp of slope n, on the right half as loud."""
    for name, what in (("ffmpeg", FFMPEG), ("ffprobe", FFPROBE)):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        script = path.with_suffix(".py")
        script.write_text(PROGRAM.format(what=what))
        path.write_text(LAUNCHER.format(python=sys.executable, script=script))
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def container(folder: Path, name: str = "A - B.stem.mp4", **about) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(SOUND | about))
    return path


def test_without_ffmpeg_songs_are_found_and_opening_one_says_what_to_install(tmp_path, without_programs):
    folder = layouts.musdb18_containers(tmp_path, content=b"mp4")
    name, tracks = open_tracks(folder)
    assert (name, len(tracks)) == ("MUSDB18", 4)
    sentence = "which ffmpeg reads: ffmpeg and ffprobe are not installed. Install ffmpeg .*or use MUSDB18-HQ"
    for opened in (lambda: audio.header(tracks[0].stems["vocals"][0]), lambda: MUSDB18(folder), lambda: check(tracks),
                   lambda: prepare(tracks, tmp_path / "store")):  # fmt: skip
        with pytest.raises(DataError, match=sentence) as caught:
            opened()
        assert not isinstance(caught.value, AudioFileError)  # else the message would be repeated for each of 600 stems


def test_one_absent_program_is_named_alone(tmp_path, programs):
    (tmp_path / "bin" / "ffprobe").unlink()
    with pytest.raises(DataError, match="which ffmpeg reads: ffprobe is not installed"):
        audio.header(container(tmp_path) / "vocals")


def test_each_stream_is_read_as_if_its_container_were_a_folder(tmp_path, programs):
    path = container(tmp_path)
    assert audio.header(path / "bass") == audio.Header(RATE, 2, FRAMES, "AAC")
    for number, label in enumerate(("mixture", "drums", "bass", "other", "vocals"), start=1):
        samples, rate = audio.read(path / label)
        ramp = number * np.arange(FRAMES) / 1e6  # the cover is stream 0
        assert rate == RATE and samples.dtype == np.float32 and np.allclose(samples, [ramp, ramp / 2], atol=1e-6)


def test_blocks_come_one_by_one_and_the_reader_may_stop(tmp_path, programs):
    path = container(tmp_path) / "drums"
    assert [len(block) for block in audio.blocks(path, 30000)] == [30000, 30000, 6150]
    reading = audio.blocks(path, 1000)
    assert next(reading).shape == (1000, 2)
    reading.close()


def test_a_name_that_looks_like_an_option_or_a_protocol_is_a_name(tmp_path, programs, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("-version - B.stem.mp4", "pipe:0 - B.stem.mp4", "A & B, 'C' - 100%d.stem.mp4"):
        container(tmp_path, name)
        assert audio.read(Path(name) / "vocals")[0].shape == (2, FRAMES)


def test_a_folder_of_that_name_is_a_folder(tmp_path, without_programs):
    path = layouts.write(tmp_path / "A - B.stem.mp4" / "vocals.wav", layouts.tone(440))
    assert containers.on_disk(path) == path and audio.header(path).frames == 44100


@pytest.mark.parametrize(
    ("about", "label", "message"),
    [
        ({"decoded": 44100}, "bass", "was cut: it promises 1.5 s and decodes to 1.0 s"),
        ({"decoded": 100, "says": "first\n[aac @ 0x56ab] Invalid data found.", "status": 1}, "bass",
         r"bass cannot be decoded \(ffmpeg: Invalid data found\). Copy it again"),
        ({"status": 9}, "bass", r"cannot be decoded \(ffmpeg: status 9\)"),
        ({"streams": 4}, "bass", "has 4 audio streams, where MUSDB18's files have 5"),
        ({"no_rate": True}, "bass", "does not describe its streams .*sample_rate"),
        ({}, "guitar", "guitar is no stream of a stem file. Its streams are mixture, drums"),
    ],
)  # fmt: skip
def test_a_wrong_container_is_an_error_that_says_why(tmp_path, programs, about, label, message):
    path = container(tmp_path, **about)
    with pytest.raises(AudioFileError, match=message):
        audio.read(path / label)


def test_a_container_that_ffprobe_cannot_read_is_named_with_ffprobes_last_line(tmp_path, programs):
    path = tmp_path / "A - B.stem.mp4"
    path.write_bytes(b"not an mp4")
    with pytest.raises(AudioFileError, match=r"A - B.stem.mp4 cannot be read \(ffprobe: moov atom not found\)"):
        audio.header(path / "vocals")
    path.write_bytes(b"")
    with pytest.raises(AudioFileError, match=r"A - B.stem.mp4 is empty \(0 bytes\)"):
        audio.header(path / "vocals")
    path.unlink()
    with pytest.raises(AudioFileError, match="A - B.stem.mp4 is not there"):
        audio.header(path / "vocals")


def test_a_container_that_was_cut_is_noticed_without_a_program(tmp_path, without_programs):
    boxes = (24).to_bytes(4, "big") + b"ftypisom" + bytes(12) + (1).to_bytes(4, "big") + b"mdat" + (1016).to_bytes(8, "big")
    path = tmp_path / "A - B.stem.mp4"
    path.write_bytes(boxes + bytes(500))
    with pytest.raises(AudioFileError, match="A - B.stem.mp4 was cut: its header promises 500 bytes more"):
        audio.header(path / "vocals")
    for whole in (boxes + bytes(1000), boxes + bytes(1000) + (0).to_bytes(4, "big") + b"free"):
        path.write_bytes(whole)
        with pytest.raises(DataError, match="not installed"):
            audio.header(path / "vocals")


def test_audio_decoded_before_ffmpeg_failed_is_not_used(tmp_path, programs):
    reading = audio.blocks(container(tmp_path, decoded=1500, status=1) / "bass", 1000)
    assert len(next(reading)) == 1000
    with pytest.raises(AudioFileError, match="cannot be decoded"):
        next(reading)


def test_a_store_knows_the_size_and_time_of_the_container_and_is_prepared_again_when_they_change(tmp_path, programs):
    path = container(tmp_path / "musdb18" / "train", "A - B.stem.mp4")
    tracks = MUSDB18.find_tracks(tmp_path / "musdb18")
    store = prepare(tracks, tmp_path / "store")
    status = path.stat()
    stems = store.tracks[0].stems
    assert [Path(of["path"]).name for of in stems["accompaniment"].sources] == ["bass", "drums", "other"]
    sources = [of for stem in stems.values() for of in stem.sources]
    assert {(of["size"], of["mtime_ns"]) for of in sources} == {(status.st_size, status.st_mtime_ns)}
    made = tmp_path / "store" / stems["vocals"].file
    before = made.stat().st_mtime_ns
    prepare(tracks, tmp_path / "store")
    assert made.stat().st_mtime_ns == before
    container(tmp_path / "musdb18" / "train", "A - B.stem.mp4", frames=2 * FRAMES, decoded=2 * FRAMES)
    assert prepare(tracks, tmp_path / "store").tracks[0].frames == 48000
    assert made.stat().st_mtime_ns > before


@pytest.mark.skipif(not (shutil.which("ffmpeg") and shutil.which("ffprobe")), reason="takes the program ffmpeg")
def test_a_real_stem_file_is_decoded_as_stempeg_does(tmp_path):
    import stempeg

    path = tmp_path / "musdb18" / "test" / "The Easton Ellises - Falcon 69.stem.mp4"
    path.parent.mkdir(parents=True)
    with stempeg.as_file(stempeg.files("stempeg") / "data" / path.name) as example:
        os.link(example, path) if example.stat().st_dev == path.parent.stat().st_dev else shutil.copy(example, path)
    expected, rate = stempeg.read_stems(str(path))  # [streams, frames, channels]
    for label, stem in zip(containers.STREAMS, expected, strict=True):
        assert audio.header(path / label) == audio.Header(rate, 2, len(stem), "AAC")
        assert np.array_equal(audio.read(path / label)[0], stem.T.astype(np.float32))
    ((name, (track,)),) = [open_tracks(tmp_path / "musdb18")]
    assert (name, track.name, track.split) == ("MUSDB18", "The Easton Ellises - Falcon 69", "test")
    assert not check([track], deep=True).fatal
