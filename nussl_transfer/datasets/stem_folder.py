"""A folder of one's own stems: a folder for each track, or a folder for each stem.

Structure alone cannot always tell the two apart, since one is the transpose of the other. So names decide. These rules
apply in turn:

* A folder called mix means stem-major, files called mixture mean track-major.
* Names that the user's groups use, else names of instruments and voices, are names of stems. If only the files have such
  names, the layout is track-major; if only the folders have them, it is stem-major.
* A few file names that repeat over many more folders mean track-major; many more file names than folders mean stem-major.

A stem-major folder whose file names hardly repeat is a pool. If no rule decides, an error asks the user to choose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import DataError
from ..runtime.log import logger
from .base import StemDataset
from .folders import MIXTURES, SUBMIXES, AudioFolder, LayoutError, few, find_audio, find_audio_folders, is_reserved
from .labels import Groups, IgnorePatterns, group_of, members_of, normalise, without_number
from .options import check_choice
from .tracks import Track

LAYOUTS = ("track-major", "stem-major", "pool")
# A folder with more files is a pool of files, not the stems of one track.
_MOST_STEMS = 64
# <track>, or <artist or album>/<track>.
_DEEPEST = 2
STEM_WORDS = frozenset(
    "accordion acoustic alto altos altus backing banjo baritone bass basses basson bassoon bassus bells "
    "brass cantus cello cellos celesta choir chorus clap clarinet claps clav congas cornet cymbal cymbals "
    "drum drums dulcimer fiddle flute fx glockenspiel guitar guitars harmonica harp harpsichord hat hats "
    "hihat horn horns keyboard keyboards keys kick lead mandolin marimba mezzo oboe organ other others "
    "overhead overheads pad pads perc percussion piano piccolo rhodes sax saxophone snare soprano sopranos "
    "speech strings sub sxf synth synths tambourine tenor tenors timpani tom toms trombone trumpet tuba "
    "tubular ukulele vibraphone viola violas violin violins violoncello vocal vocals voice "
    "voices vox whistle winds woodwind woodwinds xylophone".split()
)


class StemFolder(StemDataset):
    """Hook for a folder of stems, in the layout of any tool.

    Track-major, as MUSDB18-HQ, Open-Unmix, Demucs::

        folder[/train|valid|test]/<track>/<stem>.wav

    or stem-major, as nussl's MixSourceFolder, with the same file name in every folder::

        folder[/train|valid|test]/<stem>/<track>.wav

    or a pool: stem-major with unrelated file names; every file is a track of one stem, and mixtures of them can only be
    incoherent. Or the stems of one track, side by side in the folder itself. Names decide which of these it is; where they
    cannot, set ``layout``.

    Files called mixture, mix or linear_mixture are mixtures, used for checking only. Files called accompaniment,
    instrumental or residual are sums of other stems and left out, unless a group names them or they are one of two stems
    in all (vocals and accompaniment).

    Args:
        folder: Folder of the stems.
        layout: 'track-major', 'stem-major' or 'pool'; None: the names decide.
        kwargs: As ``StemDataset``.
    """

    NAME = "StemFolder"
    LABELS = ()  # whatever the folder holds
    LICENSE = "the owner's"
    URL = ""
    CITATION = ""

    def __init__(self, folder: str | Path, layout: str | None = None, **kwargs: Any) -> None:
        super().__init__(folder, find={"layout": layout}, **kwargs)

    @classmethod
    def _find(cls, folder: Path, groups: Groups | None, ignore: IgnorePatterns, layout: str | None = None) -> list[Track]:
        if layout is not None:
            check_choice("layout", layout, LAYOUTS)
        audio_folders = find_audio_folders(folder, find_audio(folder, ignore))
        members = members_of(groups) if groups else {}
        layout = layout or choose_layout(folder, audio_folders, members)
        if layout == "track-major":
            tracks = _tracks_of_folders(folder, audio_folders, members)
        else:
            tracks = _tracks_of_files(folder, audio_folders, members, layout == "pool")
        tracks = _with_submixes(tracks)
        tracks = [track for track in tracks if track.stems]
        if not tracks:
            raise DataError(
                f"{folder} holds only mixtures, such as {audio_folders[0].files[0]}. Give a folder that has stems as well."
            )
        return tracks


def tracks_of_pool(folder: Path, files: Sequence[PurePosixPath]) -> list[Track]:
    """Return a track with one stem for each audio file, given relative to the folder whose folders are the stems."""
    return [track for track in _tracks_of_files(folder, find_audio_folders(folder, files), {}, pool=True) if track.stems]


def choose_layout(folder: Path, audio_folders: Sequence[AudioFolder], members: Mapping[str, str]) -> str:
    """Return 'track-major', 'stem-major' or 'pool'.

    Args:
        folder: The data set, for the message.
        audio_folders: Its folders of audio.
        members: The names in the user's groups, which are names of stems.

    Raises:
        LayoutError: Names and counts do not decide.
    """
    folders = Counter(normalise(audio_folder.path.name) for audio_folder in audio_folders)
    files = Counter(normalise(path.stem) for audio_folder in audio_folders for path in audio_folder.files)
    names = {name: count for name, count in files.items() if not is_reserved(name)}
    # How often a file name repeats: near 1, the folders have nothing in common.
    repeats = sum(names.values()) / max(1, len(names))
    stem_major = "stem-major" if repeats >= 1.5 else "pool"
    if len(folders) == 1:
        return "track-major"
    if any(name in MIXTURES for name in folders):
        return stem_major
    if any(name in MIXTURES for name in files):
        return "track-major"
    # Groups may leave out most stems, so one fitting name is enough. Titles may contain instruments, so half must fit.
    grouped = [_share(these, lambda name: group_of(name, members) is not None) for these in (names, folders)]
    worded = [_share(these, has_stem_word) for these in (names, folders)]
    for (inside, outside), enough in ((grouped, 1e-9), (worded, 0.5)):
        if inside >= enough > outside:
            return "track-major"
        if outside >= enough > inside:
            return stem_major
    prefixed = any(
        normalise(path.stem).startswith(normalise(audio_folder.path.name))
        for audio_folder in audio_folders
        for path in audio_folder.files
    )
    if not prefixed and repeats >= 1.5 and 2 * len(names) <= len(folders):
        return "track-major"
    if not prefixed and 2 * len(folders) <= len(names):
        return stem_major
    raise LayoutError(
        f"{folder} has folders such as {few(folders)} with files such as {few(names)}: it is not clear which of them name "
        "the stems. Add --options layout=track-major if each folder is one track; "
        "layout=stem-major if each folder is one stem, and files of the same name are one track; layout=pool if each "
        "folder is one stem and the files do not belong together. In Python: StemOptions(options={'layout': 'pool'})."
    )


def has_stem_word(name: str) -> bool:
    """Tell whether a normalised name has a word for an instrument or a voice in it."""
    return any(without_number(word) in STEM_WORDS for word in name.split("_"))


def _share(names: Mapping[str, int], is_stem: Callable[[str], bool]) -> float:
    """Return the share of the names, weighted by how often they occur, that name a stem."""
    return sum(count for name, count in names.items() if is_stem(name)) / max(1, sum(names.values()))


def _tracks_of_folders(folder: Path, audio_folders: Sequence[AudioFolder], members: Mapping[str, str]) -> list[Track]:
    by_path = {(audio_folder.split, audio_folder.path): audio_folder for audio_folder in audio_folders}
    deeper: dict[AudioFolder, list[Path]] = {}
    tracks = []
    for audio_folder in audio_folders:
        # Sorted, so a folder comes before the folders in it. Audio below a track (submixes, takes) is no track.
        parents = ((audio_folder.split, parent) for parent in audio_folder.path.parents)
        above = next((by_path[parent] for parent in parents if parent in by_path), None)
        if above is None:
            tracks.append(audio_folder)
        else:
            deeper.setdefault(above, []).extend(audio_folder.files)
    depths = {len(audio_folder.path.parts) for audio_folder in tracks}
    if len(depths) > 1 or max(depths) > _DEEPEST:
        raise LayoutError(
            f"{folder} should have a folder for each track: the folders that hold audio, such as "
            f"{few((audio_folder.name for audio_folder in tracks), 3)}, lie "
            f"{'at different depths' if len(depths) > 1 else 'too deep'}. Give the folder whose folders are the tracks."
        )
    return [_track_of_folder(folder, audio_folder, members, deeper.get(audio_folder, [])) for audio_folder in tracks]


def _track_of_folder(folder: Path, audio_folder: AudioFolder, members: Mapping[str, str], deeper: Sequence[Path]) -> Track:
    if len(audio_folder.files) > _MOST_STEMS:
        raise LayoutError(
            f"{folder / audio_folder.name} has {len(audio_folder.files)} audio files "
            f"({few(path.name for path in audio_folder.files)}): too many for the stems of one track. Put each track, or "
            "each stem, into a folder of its own; if these are all of one stem, use --options layout=pool."
        )
    stems: dict[str, tuple[Path, ...]] = {}
    mixtures: dict[str, Path] = {}
    left_out = list(deeper)
    for path in audio_folder.files:
        label = _label_of(path, path.stem)
        if group_of(label, members) is None and is_reserved(label):
            left_out.append(path)
            mixtures[label] = path
        elif label in stems:
            raise DataError(_two_files(label, audio_folder.name or folder.name, stems[label][0], path))
        else:
            stems[label] = (path,)
    mixture = next((mixtures[name] for name in MIXTURES if name in mixtures), None)
    others = tuple(sorted(path for path in left_out if path != mixture))
    name = audio_folder.name or folder.absolute().name
    return Track(name, dict(sorted(stems.items())), audio_folder.split, mixture, others)


def _tracks_of_files(
    folder: Path, audio_folders: Sequence[AudioFolder], members: Mapping[str, str], pool: bool
) -> list[Track]:
    stems: dict[str, dict[str, tuple[Path, ...]]] = {}
    splits: dict[str, str | None] = {}
    mixtures: dict[str, Path] = {}
    left_out: dict[str, list[Path]] = {}
    for audio_folder in audio_folders:
        if len(audio_folder.path.parts) != 1:
            raise LayoutError(
                f"{folder} should have a folder for each stem: {audio_folder.name or folder} does not lie directly in it, "
                "or in its splits. Give the folder whose folders are the stems."
            )
        label = _label_of(folder / audio_folder.name, audio_folder.path.name)
        reserved = is_reserved(label) and group_of(label, members) is None
        for path in audio_folder.files:
            name = str(PurePosixPath(audio_folder.prefix, label if pool else "", path.stem))
            splits[name] = audio_folder.split
            if reserved and label in MIXTURES:
                mixtures[name] = path
            elif reserved:
                left_out.setdefault(name, []).append(path)
            elif label in stems.get(name, {}):
                raise DataError(_two_files(label, name, stems[name][label][0], path))
            else:
                stems.setdefault(name, {})[label] = (path,)
    names = list(dict.fromkeys([*stems, *left_out]))
    return [
        Track(
            name, dict(sorted(stems.get(name, {}).items())), splits[name], mixtures.get(name), tuple(left_out.get(name, ()))
        )
        for name in names
    ]


def _with_submixes(tracks: Sequence[Track]) -> list[Track]:
    """Use a sum of stems (accompaniment, instrumental, ...) as a stem if there are then two stems in all."""

    def submix(path: Path) -> str | None:
        """Return the name of a sum of stems, which the file or its folder has; None if neither has one."""
        return next((name for name in (normalise(path.stem), normalise(path.parent.name)) if name in SUBMIXES), None)

    labels = {label for track in tracks for label in track.stems}
    found = {name for track in tracks for path in track.left_out if (name := submix(path))}
    if len(labels) > 1 or len(labels) + len(found) != 2:
        return list(tracks)
    logger.info("using %s as the two stems", " and ".join(sorted(labels | found)))
    taken = []
    for track in tracks:
        own: dict[str, list[Path]] = {}
        for path in track.left_out:
            if name := submix(path):
                own.setdefault(name, []).append(path)
        stems = {**track.stems, **{name: (paths[0],) for name, paths in own.items()}}
        used = {path for paths in stems.values() for path in paths}
        left = tuple(path for path in track.left_out if path not in used)
        taken.append(replace(track, stems=dict(sorted(stems.items())), left_out=left))
    return taken


def _label_of(path: Path, name: str) -> str:
    label = normalise(name)
    if not label:
        raise DataError(f"{path} has a name without letters or digits, which cannot be a label. Rename it, or ignore it.")
    return label


def _two_files(label: str, track: str, first: Path, second: Path) -> str:
    return f"Track {track!r} has two files for stem {label!r}, {first} and {second}. Remove one, or rename one."
