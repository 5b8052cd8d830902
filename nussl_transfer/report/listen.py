"""The part of the page to listen to: players, spectrograms, masks."""

from __future__ import annotations

import io
from html import escape

import numpy as np
import soundfile

from . import figures
from .elements import chip, number, shown, uri
from .inputs import MIXTURE, SAMPLE_RATE, Example
from .style import DARK, LABELS, colour_of

# All clips of a page together, as they stand in it; a clip is shortened to what fits, and to half a minute.
AUDIO_BYTES = 8_000_000
CLIP_SECONDS = 30.0


def listen(
    example: Example,
    models: list[str],
    labels: list[str],
    audio_bytes: int = AUDIO_BYTES,
    width: int = figures.WIDTH,
) -> str:
    """Returns the HTML of the example: mixture, then for each label its reference and each model's estimate.

    Args:
        example: With masks, they are shown as well.
        models: Names of the estimates, in order.
        labels: Names of the sources, in order.
        audio_bytes: Of all clips together, as they stand in the page; they are shortened to what fits.
        width: Of pictures, in pixels, at most.
    """
    players, samples = _players(example, audio_bytes)
    audio = {key: signal[:samples] for key, signal in example.audio.items()}
    spectra = {key: figures.spectrogram_db(signal) for key, signal in audio.items()}
    loudest = max(float(spectrum.max()) for spectrum in spectra.values())
    masks = {}
    for key, mask in example.masks.items():
        masks[key] = mask[:, : int(np.ceil(mask.shape[1] * samples / len(example.audio[key])))]
    for label in labels if masks else ():
        # The mask that would be best: as much of each bin of the mixture as the source has, at most all.
        below = spectra["references", label] - spectra[MIXTURE, ""]
        masks["references", label] = 10 ** (below.clip(max=0) / 20)

    def clip(key: tuple[str, str], name: str) -> str:
        estimate, label = key
        told = f"{label}, {name}" if label else name
        spectrogram = _picture(
            figures.spectrogram_png(spectra[key], loudest, width), f"Spectrogram: {told}", "sound"
        )
        mask = ""
        if key in masks:
            what = "best mask" if estimate == "references" else "mask"
            picture = figures.mask_png(masks[key], colour_of(labels, LABELS, label, DARK))
            mask = _picture(picture, f"{shown(what)}: {told}", what)
        ratio = example.si_sdr.get(estimate, {}).get(label)
        ratio = f"<span>{number(ratio)} dB</span>" if ratio is not None else ""
        return (
            f'<div class="clip"><div class="name">{escape(shown(name))}{ratio}</div>{spectrogram}'
            f'<audio controls preload="metadata" aria-label="{escape(told, quote=True)}" '
            f'src="{players[key]}"></audio>{mask}</div>'
        )

    longest = max(map(len, example.audio.values()))
    # The scores are of all of it, whatever fits the page.
    scored = f", over all its {_seconds(longest)} seconds" if samples < longest else ""
    about_masks = (
        "; below its player, in the source's colour, the mask: how much of the mixture the network gives to the source, "
        "from nothing (black) to all. Below the reference, the mask that would be best"
    )
    parts = [
        f"<p>{escape(example.track)}, {_seconds(samples)} seconds from {example.start_seconds:.0f} s on. "
        f"Beside each estimate's name stands its SI-SDR in this excerpt{scored}{about_masks if masks else ''}.</p>",
        f'<div class="mixture row">{clip((MIXTURE, ""), "mixture")}</div>',
    ]
    for label in labels:
        clips = clip(("references", label), "reference")
        clips += "".join(clip((model, label), model) for model in models)
        variable = f"var(--label{labels.index(label) % len(LABELS)})"
        parts.append(
            f'<div class="source" style="--colour: {variable}"><h3>{chip(labels, label)}{escape(label)}</h3>'
            f'<div class="row">{clips}</div></div>'
        )
    return "".join(parts)


def _seconds(samples: int) -> str:
    """Returns a duration: whole seconds, or, below ten, tenths where there are some.

    >>> _seconds(32000), _seconds(8000), _seconds(200000)
    ('2', '0.5', '12')
    """
    seconds = samples / SAMPLE_RATE
    return f"{seconds:.0f}" if seconds >= 10 else f"{round(seconds, 1):g}"


def _players(example: Example, audio_bytes: int) -> tuple[dict[tuple[str, str], str], int]:
    """Returns each clip as a link, and how many samples of it fit the page."""
    samples = int(min(max(map(len, example.audio.values())), CLIP_SECONDS * SAMPLE_RATE))
    # One gain for all, so that what is louder stays louder, and none clips.
    gain = 0.98 / max(0.98, *(float(np.abs(signal).max(initial=0)) for signal in example.audio.values()))
    while True:
        players = {key: _flac(gain * signal[:samples]) for key, signal in example.audio.items()}
        size = sum(map(len, players.values()))
        if size <= audio_bytes:
            return players, samples
        samples = int(0.95 * samples * audio_bytes / size)


def _picture(png: bytes, alt: str, what: str) -> str:
    marks = "".join(
        f'<span aria-hidden="true" style="bottom: {100 * height:.1f}%">{name}</span>'
        for name, height in figures.frequency_marks()
    )
    return (
        f'<div class="picture"><img alt="{escape(alt, quote=True)}" src="{uri("image/png", png)}">{marks}'
        f'<span aria-hidden="true" class="what">{what}</span></div>'
    )


def _flac(audio: np.ndarray) -> str:
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return uri("audio/flac", buffer.getvalue())
