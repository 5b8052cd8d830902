"""A folder of one's own stems: a folder for each track, or a folder for each stem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from ..errors import ConfigError, DataError
from .base import StemDataset, Track
from .folders import MIXTURES, AudioFolder, LayoutError, few, find_units, is_reserved
from .labels import Groups, group_of, members_of, normalise
from .layout import LAYOUTS, choose_layout
from .scan import find_audio

# More files than this in one folder are a pool of files, not the stems of one track.
_MOST_STEMS = 64
# <track>, or <artist or album>/<track>.
_DEEPEST = 2


class StemFolder(StemDataset):
    """Hook for a folder of stems, whatever tool it was made for.

    Track-major, as MUSDB18-HQ, Open-Unmix, Demucs::

        folder[/train|valid|test]/<track>/<stem>.wav

    or stem-major, as nussl's MixSourceFolder, with the same file name in every folder::

        folder[/train|valid|test]/<stem>/<track>.wav

    or a pool: stem-major with names that have nothing to do with each other; every file is a track of one
    stem, and mixtures of them can only be incoherent. Or the stems of one track, side by side in the folder
    itself. Which of these it is, is decided by names (``layout.py``); ``layout`` says it where that fails.

    Mixtures are recognised by name (mixture, mix, linear_mixture) and used for checking only; accompaniment,
    residuals and instrumental are left out unless a group names them. wav, flac, ogg, mp3 and aiff are read.

    Args:
        folder: Where the stems lie.
        layout: 'track-major', 'stem-major' or 'pool'; None decides.
        kwargs: As ``StemDataset``.
    """

    NAME = "StemFolder"
    LABELS = ()  # whatever the folder holds
    LICENSE = "the owner's"
    URL = ""
    CITATION = ""

    def __init__(self, folder: str | Path, layout: str | None = None, **kwargs):
        super().__init__(folder, find={"layout": layout}, **kwargs)

    @classmethod
    def _find(
        cls, folder: Path, groups: Groups | None = None, ignore: Sequence[str] = (), layout: str | None = None
    ) -> list[Track]:
        if layout not in (None, *LAYOUTS):
            raise ConfigError(f"layout={layout!r} was asked for. It is one of {', '.join(LAYOUTS)}, or none to decide.")
        units = find_units(folder, find_audio(folder, ignore))
        members = members_of(groups) if groups else {}
        layout = layout or choose_layout(folder, units, members)
        if layout == "track-major":
            tracks = _tracks_of_folders(folder, units, members)
        else:
            tracks = _tracks_of_files(folder, units, members, layout == "pool")
        tracks = [track for track in tracks if track.stems]
        if not tracks:
            raise DataError(
                f"Stems were asked for in {folder}: only mixtures were found (such as {units[0].files[0]}). "
                "Separation is learnt from stems; give a folder that has them."
            )
        return tracks


def tracks_of_pool(folder: Path, files: Sequence[PurePosixPath]) -> list[Track]:
    """Returns a track with one stem for each audio file, given relative to the folder whose folders are the stems."""
    return [track for track in _tracks_of_files(folder, find_units(folder, files), {}, pool=True) if track.stems]


def _tracks_of_folders(folder: Path, units: Sequence[AudioFolder], members: Mapping[str, str]) -> list[Track]:
    places = {(unit.split, unit.place): unit for unit in units}
    deeper: dict[AudioFolder, list[Path]] = {}
    tracks = []
    for unit in units:
        # Sorted, so a folder comes before what lies in it. Audio below a track (submixes, takes) is not a
        # track.
        above = next((places[unit.split, up] for up in unit.place.parents if (unit.split, up) in places), None)
        if above is None:
            tracks.append(unit)
        else:
            deeper.setdefault(above, []).extend(unit.files)
    depths = {len(unit.place.parts) for unit in tracks}
    if len(depths) > 1 or max(depths) > _DEEPEST:
        raise LayoutError(
            f"A folder for each track was looked for in {folder}: the folders that hold audio, such as "
            f"{few((unit.name for unit in tracks), 3)}, lie "
            f"{'at different depths' if len(depths) > 1 else 'too deep'}. Give the folder whose folders are "
            "the tracks."
        )
    return [_track_of_folder(folder, unit, members, deeper.get(unit, [])) for unit in tracks]


def _track_of_folder(folder: Path, unit: AudioFolder, members: Mapping[str, str], deeper: Sequence[Path]) -> Track:
    if len(unit.files) > _MOST_STEMS:
        raise LayoutError(
            f"The stems of one track were looked for in {folder / unit.name}: {len(unit.files)} audio files "
            f"lie there ({few(path.name for path in unit.files)}). Put each track, or each stem, into a "
            "folder of its own; if these are all of one stem, say layout='pool'."
        )
    stems: dict[str, tuple[Path, ...]] = {}
    mixtures: dict[str, Path] = {}
    left_out = list(deeper)
    for path in unit.files:
        label = normalise(path.stem)
        if group_of(label, members) is None and is_reserved(label):
            left_out.append(path)
            mixtures[label] = path
        elif label in stems:
            raise DataError(_two_files(label, unit.name or folder.name, stems[label][0], path))
        else:
            stems[label] = (path,)
    mixture = next((mixtures[name] for name in MIXTURES if name in mixtures), None)
    left_out = tuple(sorted(path for path in left_out if path != mixture))
    return Track(unit.name or folder.absolute().name, dict(sorted(stems.items())), unit.split, mixture, left_out)


def _tracks_of_files(folder: Path, units: Sequence[AudioFolder], members: Mapping[str, str], pool: bool) -> list[Track]:
    stems: dict[str, dict[str, tuple[Path, ...]]] = {}
    splits: dict[str, str | None] = {}
    mixtures: dict[str, Path] = {}
    left_out: dict[str, list[Path]] = {}
    for unit in units:
        if len(unit.place.parts) != 1:
            raise LayoutError(
                f"A folder for each stem was looked for in {folder}: {unit.name or folder} does not lie "
                "directly in it, or in its splits. Give the folder whose folders are the stems."
            )
        label = normalise(unit.place.name)
        reserved = is_reserved(label) and group_of(label, members) is None
        for path in unit.files:
            name = str(PurePosixPath(unit.prefix, label if pool else "", path.stem))
            if reserved and label in MIXTURES:
                mixtures[name] = path
            elif reserved:
                left_out.setdefault(name, []).append(path)
            elif label in stems.get(name, {}):
                raise DataError(_two_files(label, name, stems[name][label][0], path))
            else:
                stems.setdefault(name, {})[label] = (path,)
                splits[name] = unit.split
    return [
        Track(name, dict(sorted(files.items())), splits[name], mixtures.get(name), tuple(left_out.get(name, ())))
        for name, files in stems.items()
    ]


def _two_files(label: str, track: str, first: Path, second: Path) -> str:
    return (
        f"Track {track!r} must have one file for each stem: found two for {label!r}, {first} and {second}. "
        "Remove one, or rename one."
    )
