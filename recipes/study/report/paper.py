"""The values and statements of the paper, to print beside those of a study.

A. Bugler, B. Pardo, P. Seetharaman, "A study of transfer learning in music source separation", arXiv:2010.12650 (2020):
Tables 1 and 2, and the sentences of Section 4. Figures 1 to 3 are pictures without numbers, so no value comes from them.
"""

from __future__ import annotations

SOURCE = "Bugler, Pardo, Seetharaman (2020), arXiv:2010.12650"
PRETRAININGS = ("musdb", "slakh", "musdb_slakh")
CONDITIONS = ("none", "pitch", "stretch", "incoherent")
DOWNSTREAMS = ("bach10", "choir", "remixpacks")
MODES = ("whole", "mask")
# Section 3.2: H1 compares 12 models: 3 baselines from scratch and 9 fine-tuned models. The whole study fine-tunes 72.
BASELINES, FINE_TUNED = 3, 72

# Table 1: minutes to train on, minutes to test on, sources.
DATA: dict[str, tuple[float, float, str]] = {
    "musdb": (600, 300, "accompaniment, vocals"),
    "slakh": (7830, 870, "piano+guitar, drums"),
    "musdb_slakh": (8430, 1170, "bass, drums, other"),
    "bach10": (5, 0.5, "violin, saxophone, bassoon, clarinet"),
    "choir": (70, 7, "male, female"),
    "remixpacks": (192, 96, "snare, kick drum, cymbals"),
}

# Table 2: SI-SDR of the mask model minus that of the whole model, in dB, by condition and pretraining.
_TABLE_2 = {
    ("none", "musdb"): {"remixpacks": -4.04, "choir": -1.27, "bach10": -5.05},
    ("none", "slakh"): {"remixpacks": -2.32, "choir": -1.76, "bach10": -3.43},
    ("none", "musdb_slakh"): {"remixpacks": -4.78, "choir": -3.03, "bach10": -4.94},
    ("pitch", "musdb"): {"remixpacks": -5.34, "choir": 1.16, "bach10": -3.78},
    ("pitch", "slakh"): {"remixpacks": -2.80, "choir": -2.29, "bach10": -4.72},
    ("pitch", "musdb_slakh"): {"remixpacks": -2.38, "choir": -2.02, "bach10": -4.91},
    ("stretch", "musdb"): {"remixpacks": -4.08, "choir": 0.85, "bach10": -4.68},
    ("stretch", "slakh"): {"remixpacks": -3.33, "choir": -0.34, "bach10": -3.60},
    ("stretch", "musdb_slakh"): {"remixpacks": -1.69, "choir": -2.17, "bach10": -3.99},
    ("incoherent", "musdb"): {"remixpacks": -4.50, "choir": 0.69, "bach10": -4.57},
    ("incoherent", "slakh"): {"remixpacks": -3.40, "choir": -0.10, "bach10": -2.32},
    ("incoherent", "musdb_slakh"): {"remixpacks": -1.75, "choir": -0.63, "bach10": -4.85},
}

# Section 4, on Figure 1: "For both Bach10 and Remixpacks [...] the fine-tuned models far outperform models that start
# from scratch. For Dagstuhl [...] only the model that is pre-trained from Slakh".
_BETTER_THAN_SCRATCH = {
    **{("bach10", name): True for name in PRETRAININGS},
    **{("remixpacks", name): True for name in PRETRAININGS},
    ("choir", "musdb"): False,
    ("choir", "slakh"): True,
    ("choir", "musdb_slakh"): False,
}

# Section 4, on Figure 2: "ambiguous at best"; "the best augmentation was incoherent mixing, which gave a .13 SI-SDR boost".
BEST_CONDITION, BEST_GAIN = "incoherent", 0.13

# Section 4, on Figure 3: on Dagstuhl ChoirSet the best fine-tuned model reached 5 dB in 100 iterations, the
# baseline in 2,500.
REACHED_IN, BASELINE_REACHED_IN = 100, 2500


def same_set(downstream: str) -> str | None:
    """Return which of the paper's sets a downstream set is, or is another version of; None if it is another.

    >>> same_set("bach10_recorded"), same_set("choir"), same_set("gamelan")
    ('bach10', 'choir', None)
    """
    return next((name for name in DOWNSTREAMS if downstream == name or downstream.startswith(f"{name}_")), None)


def mask_minus_whole(downstream: str, pretraining: str, condition: str) -> float | None:
    """Return the value of Table 2 in dB; None if the paper has none."""
    return _TABLE_2.get((condition, pretraining), {}).get(same_set(downstream) or "")


def is_bold(value: float) -> bool:
    """Return whether a value of Table 2 is a statistically significant increase, which the paper prints in bold.

    Those are its positive ones: "a drop in performance, except for the specific case where a Dagstuhl fine-tuned model is
    pretrained on MUSDB, and a data augmentation is applied" (Section 4).
    """
    return value > 0


def better_than_scratch(downstream: str, pretraining: str) -> bool | None:
    """Return whether the paper found fine-tuning better than training from scratch; None if it does not say."""
    return _BETTER_THAN_SCRATCH.get((same_set(downstream) or "", pretraining))
