"""Labels of stems: one spelling for each, groups that merge them, and patterns to ignore.

Case, spaces, hyphens and underscores do not distinguish labels: ``Soprano `` and ``soprano`` are one label, and
``Practice only`` is ``practice_only``. A trailing number, arabic or roman, makes another label: ``TENOR II`` is
``tenor_ii``. A group that names the plain label takes the numbered ones as well, unless another group names the number:
``tenor`` takes ``TENOR I`` and ``Tenor 2``.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import DataError

Groups = Mapping[str, "str | Sequence[str]"]
# Digits may touch the name ('violin2'); a roman numeral must stand alone, or 'viola da i' and 'xi' would lose letters.
_NUMBERED = re.compile(r"^(?P<name>.*?[^\W\d_])(?:_?\d+|_(?:i{1,3}|iv|vi{0,3}|ix|x))$")


def normalise(name: str) -> str:
    """Return the one spelling of a label; '' for a name of spaces, hyphens and underscores alone.

    >>> normalise('Soprano '), normalise('TENOR II'), normalise('Practice only'), normalise('---')
    ('soprano', 'tenor_ii', 'practice_only', '')
    """
    return re.sub(r"[\s_-]+", "_", unicodedata.normalize("NFC", name).lower()).strip("_")


def without_number(label: str) -> str:
    """Return a normalised label without its trailing number.

    >>> without_number('tenor_ii'), without_number('violin2'), without_number('s1'), without_number('mix')
    ('tenor', 'violin', 's', 'mix')
    """
    match = _NUMBERED.match(label)
    return match["name"] if match else label


def members_of(groups: Groups) -> dict[str, str]:
    """Return member -> group, both normalised.

    Raises:
        DataError: A group is empty, or a name is in two groups.
    """
    members: dict[str, str] = {}
    for group, names in groups.items():
        names = [names] if isinstance(names, str) else list(names)
        if not names or not normalise(group):
            raise DataError(f"Group {group!r} has no {'stem' if normalise(group) else 'name'}. Name it, or leave it out.")
        for member in map(normalise, names):
            if members.setdefault(member, normalise(group)) != normalise(group):
                raise DataError(f"Stem {member!r} is in two groups, {members[member]!r} and {group!r}. Choose one.")
    return members


def group_of(label: str, members: Mapping[str, str]) -> str | None:
    """Return the group of a normalised label: by its full name first, else without its number."""
    return members.get(label) or members.get(without_number(label))


def counted(labels: Mapping[str, int], total: int) -> str:
    """Return 'alto (9 of 10 tracks), organ (1 of 10 tracks)', most frequent first."""
    ordered = sorted(labels.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{label} ({count} of {total} tracks)" for label, count in ordered)


def closest(asked: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return the known names that are spelt nearly like the given ones, sorted.

    >>> closest(["sopranno"], ["soprano", "alto"])
    ['soprano']
    """
    known = list(known)
    return sorted({match for name in asked for match in difflib.get_close_matches(name, known, n=1)})


def fitting_names(asked: str, known: Iterable[str]) -> list[str]:
    """Return the known name that equals this one, ignoring case and punctuation; else all known names that contain it.

    >>> fitting_names("dagstuhl", ["DagstuhlChoirSet", "Slakh"]), fitting_names("slakh", ["Slakh", "BabySlakh"])
    (['DagstuhlChoirSet'], ['Slakh'])
    """
    plain = {name: normalise(name).replace("_", "") for name in known}
    wanted = normalise(asked).replace("_", "")
    exact = [name for name, spelt in plain.items() if spelt == wanted]
    return exact or [name for name, spelt in plain.items() if wanted and wanted in spelt]


@dataclass(frozen=True)
class IgnorePatterns:
    """Match names of labels, files, folders and tracks against the patterns of ``ignore``.

    A pattern is compared literally first, then as a shell pattern: 'guitar [di]' fits the stem of that name, and
    '*_old.wav' all files that end so. ``used`` collects the patterns that fitted something.
    """

    patterns: tuple[str, ...] = ()
    used: set[str] = field(default_factory=set, compare=False)

    @classmethod
    def of(cls, ignore: str | Sequence[str] | IgnorePatterns) -> IgnorePatterns:
        """Return the patterns as they are, or made from a list of strings."""
        if isinstance(ignore, IgnorePatterns):
            return ignore
        return cls((ignore,) if isinstance(ignore, str) else tuple(ignore))

    def fits(self, name: str) -> bool:
        """Tell whether a pattern fits a name."""
        fitting = [pattern for pattern in self.patterns if _fits(name, pattern)]
        self.used.update(fitting)
        return bool(fitting)

    def unused(self) -> list[str]:
        """Return the patterns that fitted nothing yet."""
        return [pattern for pattern in self.patterns if pattern not in self.used]


def _fits(name: str, pattern: str) -> bool:
    names = {name.lower(), normalise(name)} - {""}
    patterns = {pattern.lower(), normalise(pattern)} - {""}
    return bool(names & patterns) or any(fnmatch.fnmatchcase(one, other) for one in names for other in patterns)
