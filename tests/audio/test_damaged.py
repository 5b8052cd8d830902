"""A damaged copy of every fake tree: one check names each defect, nothing crashes, no damaged file trains as silence."""

from __future__ import annotations

import os
import re
import shutil

import numpy as np
import pytest
import soundfile
from layouts import TREES

from nussl_transfer.audio import io as audio
from nussl_transfer.datasets.options import StemOptions
from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.datasets.validation.check import check
from nussl_transfer.errors import DataError
from nussl_transfer.store.prepare import prepare


def sound(path):
    return soundfile.read(path, dtype="float32", always_2d=True)


def write(path, samples, rate, **options):
    """Write in the format of the name if it can hold the samples, else as WAV under the same name."""
    known = {"format": "FLAC"} if path.suffix == ".flac" and not options else {"format": "WAV"}
    path.unlink()  # it may be a link
    soundfile.write(path, samples, rate, **{**known, **options})


def rewritten(change, **options):
    """Return a defect that changes the samples of a file."""

    def damage(path):
        samples, rate = sound(path)
        write(path, change(samples), rate, **options)

    return damage


def cut_bytes(path):
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) * 6 // 10])


def replaced(content):
    def damage(path):
        path.unlink()
        path.write_bytes(content)

    return damage


def at_half_the_rate(path):
    samples, rate = sound(path)
    write(path, samples, rate // 2)  # twice as long


def resampled(path):
    samples, rate = sound(path)
    write(path, samples[::2], rate // 2)  # as long


def no_file(path):
    path.unlink()


def a_folder(path):
    path.unlink()
    path.mkdir()


def a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def a_broken_link(path):
    path.unlink()
    path.symlink_to(path.with_name("gone.wav"))


def a_link_to_itself(path):
    path.unlink()
    path.symlink_to(path)


def with_one(value):
    def change(samples):
        samples[len(samples) // 2] = value
        return samples

    return change


BROKEN = "error.*(no audio|cannot be decoded|cannot be read)"
FLOAT = {"subtype": "FLOAT", "format": "WAV"}
# name -> (function that damages a file, pattern of the finding); these defects show in any file
ALONE = {
    "no bytes": (replaced(b""), "error.*is empty"),
    "cut in the middle": (cut_bytes, "error.*(was cut|cannot be decoded)"),
    "text": (replaced(b"not a sound " * 100), BROKEN),
    "noise for bytes": (replaced(np.random.default_rng(0).bytes(4000)), BROKEN),
    "NaN": (rewritten(with_one(np.nan), **FLOAT), "error.*NaN or infinite"),
    "infinity": (rewritten(with_one(np.inf), **FLOAT), "error.*NaN or infinite"),
    "no samples": (rewritten(lambda samples: samples[:0]), "error.*(holds no audio|cannot be decoded|is empty)"),
    "silence": (rewritten(np.zeros_like), "error.*is silent"),
    "silence with an offset": (rewritten(lambda samples: np.full_like(samples, 0.02)), "error.*is silent"),
    "an offset": (rewritten(lambda samples: 0.5 * samples + 0.05), "note.*DC offset"),
    "clipping": (rewritten(lambda samples: np.clip(40 * samples, -1, 1)), "warning.*clipped"),
    "too loud": (rewritten(lambda samples: 40 * samples, **FLOAT), "note.*peaks at"),
}
# these defects show only in comparison with other files of the track
BESIDE = {
    "gone": (no_file, "(error.*lacks|error.*is not there)"),
    "a folder in its place": (a_folder, "error.*(lacks|is not a file)"),
    "a pipe in its place": (a_pipe, "error.*(lacks|is not a file)"),
    "a broken link": (a_broken_link, "error.*(lacks|broken link)"),
    "a link to itself": (a_link_to_itself, "error.*(lacks|broken link|symbolic links)"),
    "half as long": (rewritten(lambda samples: samples[: len(samples) // 2]), "error.*differ in length"),
    "a little shorter": (rewritten(lambda samples: samples[:-40]), "note.*differ a little in length"),
    "played at half the rate": (at_half_the_rate, "error.*differ in length"),
    "another rate": (resampled, "note.*different rates"),
    "more channels": (rewritten(lambda samples: np.repeat(samples[:, :1], 6, axis=1)), "note.*numbers of channels"),
}
DEFECTS = {**ALONE, **BESIDE}
# Options that give stems of one file each: of several files that are summed, one may be silent without an error.
SINGLE = {"DagstuhlChoirSet": {"sources": "voices"}, "MUSDB18": {"sources": "stems"}, "Slakh": {"sources": "band"}}


def copies(name, folder):
    """Yield copies of a tree, each with a list of (defect, track, file) that puts at most one defect into each track."""
    names, number = list(DEFECTS), 0
    while names:
        root = TREES[name](folder / str(number))
        _, tracks = open_tracks(root, StemOptions(dataset=name, options=SINGLE.get(name, {})))
        here = []
        for place, track in enumerate(tracks):
            # Only files that are a stem by themselves: of several that are summed, one may be silent.
            single = [files[0] for files in track.stems.values() if len(files) == 1]
            alone = len([path for files in track.stems.values() for path in files]) == 1
            usable = [name for name in names if not (alone and name in BESIDE)]
            if single and usable:
                # Another stem in each track: a stem that is gone from every track would not count as missing.
                here.append((usable[0], track.name, single[place % len(single)]))
                names.remove(usable[0])
        if not here:
            return  # the remaining defects show only beside other files, and there are none
        yield root, here
        number += 1


@pytest.mark.parametrize("name", TREES)
def test_every_defect_of_a_damaged_tree_is_named_in_one_check_and_none_is_trained_on(tmp_path, name):
    tried = set()
    for root, places in copies(name, tmp_path / name):
        for defect, _, path in places:
            DEFECTS[defect][0](path)
            tried.add(defect)
        try:
            _, tracks = open_tracks(root, StemOptions(dataset=name, options=SINGLE.get(name, {})))
        except DataError as error:
            pytest.fail(f"{[defect for defect, *_ in places]}: {error}")
        inspection = check(tracks, deep=True, progress=False)
        said = [str(finding) for finding in inspection.findings]
        for defect, track, path in places:
            wanted, here = DEFECTS[defect][1], (re.escape(track), re.escape(path.stem))
            about = [line for line in said if any(re.search(part, line) for part in here)]
            gone = defect in BESIDE and "lacks" in wanted and track not in {each.name for each in tracks}
            assert gone or any(re.match(wanted, line) for line in about), (defect, about or said)
        assert inspection.table() and inspection.to_json()
        if any(DEFECTS[defect][1].startswith("error") for defect, *_ in places):
            assert inspection.fatal
            with pytest.raises(DataError, match=r"The data set has \d+ errors?:"):
                prepare(tracks, tmp_path / name / "store", dataset=name, progress=False)
            assert not (tmp_path / name / "store" / "manifest.json").exists()
    assert tried >= set(ALONE) and (tried == set(DEFECTS) or name == "Remixpacks")


@pytest.mark.parametrize("name", TREES)
def test_stray_files_are_skipped(tmp_path, name):
    root = TREES[name](tmp_path / name)
    before = open_tracks(root, StemOptions(dataset=name))[1]
    folder = before[0].stems[min(before[0].stems)][0].parent
    (folder / "._hidden.wav").write_bytes(b"\0\5\x16\7")
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / "desktop.ini").write_bytes(b"x")
    (folder / "loop").symlink_to(root, target_is_directory=True)
    (folder / "itself").symlink_to(folder / "itself")
    after = open_tracks(root, StemOptions(dataset=name))[1]
    assert [(track.name, track.stems) for track in after] == [(track.name, track.stems) for track in before]


def test_a_name_with_a_newline_stays_on_its_line(tmp_path):
    root = TREES["StemFolder"](tmp_path / "stems")
    track = next(path for path in sorted(root.iterdir()) if path.is_dir())
    shutil.move(track, track.with_name("Song\nerror: all is well\x1b[2J"))
    (track.with_name("Song\nerror: all is well\x1b[2J") / "bass.wav").write_bytes(b"")
    inspection = check(open_tracks(root)[1], deep=True, progress=False)
    table = inspection.table()
    assert "\x1b" not in table and "\nerror: all is well" not in table and "Song\\nerror: all is well\\x1b[2J" in table
    assert any("is empty" in line for line in table.splitlines())


def test_a_file_without_read_permission_is_named(tmp_path, monkeypatch):
    root = TREES["StemFolder"](tmp_path / "stems")
    _, tracks = open_tracks(root)
    forbidden = tracks[0].stems["bass"][0]
    os.chmod(forbidden, 0)
    if os.geteuid() == 0:  # root may read everything

        def refusing(path, *args, **kwargs):
            if os.fspath(path) == str(forbidden):
                raise PermissionError(13, "Permission denied", str(path))
            return open(path, *args, **kwargs)

        monkeypatch.setattr(audio, "open", refusing, raising=False)
    said = [str(finding) for finding in check(tracks, progress=False).findings if finding.level == "error"]
    assert len(said) == 1 and str(forbidden) in said[0] and "permission denied" in said[0]
