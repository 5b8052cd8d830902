"""How soon a fine-tuned network reaches what training from scratch reaches at best."""

from __future__ import annotations

from dataclasses import dataclass

from .inputs import NONE, SCRATCH, WHOLE, Study


@dataclass(frozen=True)
class Reached:
    """The best test SI-SDR of the baseline in dB, its iteration, and those of the fine-tuned networks that reached it.

    ``fine_tuned`` by pretraining; None where it was never reached. ``first`` is the earliest of them.
    """

    best: float
    baseline: int
    fine_tuned: dict[str, int | None]

    @property
    def first(self) -> tuple[str, int] | None:
        """Which pretraining reached it first, and when."""
        found = [(iteration, name) for name, iteration in self.fine_tuned.items() if iteration is not None]
        return (min(found)[1], min(found)[0]) if found else None


def shown_curves(study: Study, downstream: str) -> dict[str | None, dict]:
    """Returns the curves that Figure 3 shows, by pretraining, None for training from scratch: no augmentation, whole."""
    keys = [(None, None, SCRATCH), *((name, NONE, WHOLE) for name in study.plan["pretrainings"])]
    found = {key[0]: study.curve(downstream, *key) for key in keys}
    return {name: curve for name, curve in found.items() if curve and curve["points"]}


def reached(study: Study, downstream: str) -> Reached | None:
    """Returns when the baseline's best was reached; None where the baseline, or all fine-tuned networks, have no curve."""
    curves = shown_curves(study, downstream)
    baseline = curves.pop(None, None)
    if baseline is None or not curves:
        return None
    iteration, best = max(baseline["points"], key=lambda point: (point[1], -point[0]))
    return Reached(best, iteration, {name: curve["reaches_baseline_at"] for name, curve in curves.items()})


def at_equal_iterations(study: Study, downstream: str) -> tuple[int, float, list[float]] | None:
    """Returns an iteration, and what the baseline and the fine-tuned networks scored at it, in dB; None if not measured.

    It is the last that all of them were measured at.
    """
    curves = shown_curves(study, downstream)
    if None not in curves or len(curves) < 2:
        return None
    scored = {name: dict(map(tuple, curve["points"])) for name, curve in curves.items()}
    common = set.intersection(*(set(points) for points in scored.values())) - {0}
    if not common:
        return None
    last = max(common)
    baseline = scored.pop(None)
    return last, baseline[last], [points[last] for points in scored.values()]
