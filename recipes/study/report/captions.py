"""What stands below the figures."""

from __future__ import annotations

from . import paper
from .inputs import Study


def captions(study: Study) -> dict[str, str]:
    """Returns the captions by figure, plain text."""
    star = f"* significant (p < {study.threshold:g}); \u2020 not after Holm\u2019s correction over the grid"
    seeds = " A whisker spans the means of the seeds." if len(study.plan["seeds"]) > 1 else ""
    return {
        "figure1": "Figure 1. Mean SI-SDR in dB by downstream set and pretraining set; fine-tuned whole, no augmentation. "
        "Bars stand on the mixture (dashed), so that their length is the improvement; dotted, the oracle mask."
        f"{seeds} Better than from scratch: {star}.",
        "figure2": "Figure 2. Gain in SI-SDR of each augmentation in pretraining over none, fine-tuned whole: the median "
        "over excerpts in dB, its interval with songs drawn anew, filled where the gain is significant after Holm\u2019s "
        f"correction. {star[0].upper()}{star[1:]}. The paper\u2019s best gave {paper.BEST_GAIN} dB.",
        "figure3": "Figure 3. Test SI-SDR against iteration, on a logarithmic axis. Rings: where the baseline is at its "
        "best, and where a fine-tuned network first reached it (dotted). The paper, on Dagstuhl ChoirSet: "
        f"{paper.BASELINE_REACHED_IN:,} iterations from scratch, {paper.REACHED_IN:,} fine-tuned, to 5 dB.",
    }
