"""Stage 8, the zoo: a name becomes a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

from .errors import CheckpointError

MODELS = Path(__file__).parent / "models"
REGISTRY = Path(__file__).parent / "zoo.json"


def models() -> dict[str, dict]:
    """Returns what is known of every checkpoint that has a name: its file, and what it is."""
    return json.loads(REGISTRY.read_text(encoding="utf-8"))


def resolve(model: str | Path) -> Path:
    """Returns the file of a checkpoint that is given by name or by path.

    Raises:
        CheckpointError: There is no file and no name like this.
    """
    known = models()
    if str(model) in known:
        return MODELS / known[str(model)]["file"]
    path = Path(model)
    if path.is_file():
        return path
    if (best := path / "checkpoints" / "best.model.pth").is_file():
        return best  # the folder of a run
    raise CheckpointError(
        f"Model {str(model)!r} was asked for: there is no such file, and the names are {', '.join(sorted(known))}. Give a "
        "name, a checkpoint, or the folder of a run."
    )
