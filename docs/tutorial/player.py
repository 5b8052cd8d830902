"""Show audio in the executed page of the manual."""

from __future__ import annotations

import html
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import soundfile

from nussl_transfer.report.listen import data_uri

if TYPE_CHECKING:
    from nussl import AudioSignal


@dataclass(frozen=True)
class Players:
    """Audio players: as the last line of a block, Sphinx-Gallery puts them into the page.

    Attributes:
        sounds: Files or signals, by the name to show.
        seconds: Length to show of each.
    """

    sounds: dict[str, Path | AudioSignal]
    seconds: float = 12.0

    def _repr_html_(self) -> str:
        players = (
            f"<figure><figcaption>{html.escape(name)}</figcaption>"
            f'<audio controls preload="metadata" src="{self._flac(sound)}"></audio></figure>'
            for name, sound in self.sounds.items()
        )
        return f'<div class="players">{"".join(players)}</div>'

    def _flac(self, sound: Path | AudioSignal) -> str:
        """Return the sound as a link that contains it."""
        audio, rate = soundfile.read(sound) if isinstance(sound, Path) else (sound.audio_data.T, sound.sample_rate)
        buffer = io.BytesIO()
        soundfile.write(buffer, audio[: round(self.seconds * rate)].clip(-1, 1), rate, format="FLAC", subtype="PCM_16")
        return data_uri("audio/flac", buffer.getvalue())
