"""Prepare one excerpt to listen to: players, spectrograms and masks, for the template ``listen.html``."""

from __future__ import annotations

import base64
import io

import numpy as np
import soundfile

from . import figures
from .inputs import MIXTURE, SAMPLE_RATE, Example

# Size of all clips of a page together, base64-encoded. Clips are shortened to fit it, and to half a minute.
AUDIO_BYTES = 8_000_000
CLIP_SECONDS = 30.0


def data_uri(kind: str, content: bytes) -> str:
    """Return a data URI, a link that contains the file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def listening_part(
    example: Example,
    models: list[str],
    labels: list[str],
    audio_bytes: int = AUDIO_BYTES,
    width: int = figures.WIDTH,
) -> dict:
    """Return what the macro ``listen`` of ``listen.html`` shows of an example.

    Args:
        example: The excerpt. Masks are shown if it has any.
        models: Names of the estimates, in order.
        labels: Names of the sources, in order.
        audio_bytes: Size of all clips together, base64-encoded; clips are shortened to fit.
        width: Largest width of a picture in pixels.

    Returns:
        ``track``, ``start_seconds``, ``seconds`` that are shown, ``scored_seconds`` if more was scored, ``has_masks``, the
        clip of the ``mixture``, and ``sources``: label, number and clips (the reference, then each model).
    """
    links, samples = _players(example, audio_bytes)
    audio = {key: signal[:samples] for key, signal in example.audio.items()}
    spectra = {key: figures.spectrogram_db(signal) for key, signal in audio.items()}
    loudest = max(float(spectrum.max()) for spectrum in spectra.values())
    masks = {
        key: mask[:, : int(np.ceil(mask.shape[1] * samples / len(example.audio[key])))]
        for key, mask in example.masks.items()
    }
    for label in labels if masks else ():
        # The oracle magnitude mask min(|source| / |mixture|, 1).
        difference = spectra["references", label] - spectra[MIXTURE, ""]
        masks["references", label] = 10 ** (difference.clip(max=0) / 20)

    def clip(estimate: str, label: str, name: str) -> dict:
        key = estimate, label
        alt = f"{label}, {name}" if label else name
        spectrogram = figures.spectrogram_png(spectra[key], loudest, width)
        mask = None
        if key in masks:
            what = "oracle magnitude mask" if estimate == "references" else "mask"
            colour = figures.colour_of(labels, figures.LABELS, label, figures.DARK)
            mask = _picture(figures.mask_png(masks[key], colour), what, alt)
        si_sdr = example.si_sdr.get(estimate, {}).get(label)
        of_mixture = example.si_sdr.get(MIXTURE, {}).get(label)
        return {
            "name": name,
            "alt": alt,
            "link": links[key],
            "si_sdr": si_sdr,
            "improvement": None if si_sdr is None or of_mixture is None else si_sdr - of_mixture,
            "spectrogram": {**_picture(spectrogram, "sound", alt), "alt": f"Spectrogram: {alt}"},
            "mask": mask,
        }

    longest = max(map(len, example.audio.values()))
    return {
        "track": example.track,
        "start_seconds": example.start_seconds,
        "seconds": _seconds(samples),
        "scored_seconds": _seconds(longest) if samples < longest else None,
        "has_masks": bool(masks),
        "mixture": clip(MIXTURE, "", "mixture"),
        "sources": [
            {
                "label": label,
                "number": number % len(figures.LABELS),
                "clips": [clip("references", label, "reference"), *(clip(model, label, model) for model in models)],
            }
            for number, label in enumerate(labels)
        ],
    }


def _picture(png: bytes, what: str, alt: str) -> dict:
    return {"link": data_uri("image/png", png), "what": what, "alt": f"{what[:1].upper()}{what[1:]}: {alt}"}


def _seconds(samples: int) -> str:
    """Return a duration in seconds: whole from ten on, with a tenth below.

    >>> _seconds(32000), _seconds(8000), _seconds(200000)
    ('2', '0.5', '12')
    """
    seconds = samples / SAMPLE_RATE
    return f"{seconds:.0f}" if seconds >= 10 else f"{round(seconds, 1):g}"


def _players(example: Example, audio_bytes: int) -> tuple[dict[tuple[str, str], str], int]:
    """Return each clip as a data URI, and the number of samples that fit the page."""
    samples = int(min(max(map(len, example.audio.values())), CLIP_SECONDS * SAMPLE_RATE))
    # The same gain for all clips keeps their relative loudness, and prevents clipping.
    gain = 0.98 / max(0.98, *(float(np.abs(signal).max(initial=0)) for signal in example.audio.values()))
    while True:
        links = {key: _flac(gain * signal[:samples]) for key, signal in example.audio.items()}
        size = sum(map(len, links.values()))
        if size <= audio_bytes:
            return links, samples
        samples = int(0.95 * samples * audio_bytes / size)


def _flac(audio: np.ndarray) -> str:
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return data_uri("audio/flac", buffer.getvalue())
