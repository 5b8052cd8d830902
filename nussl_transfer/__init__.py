"""Turn a folder of stems into a nussl checkpoint: transfer learning for music source separation.

Importing this package is cheap: it loads neither torch nor nussl. Whether nussl is imported before or after it, this
package repairs nussl for today's packages (``compat``), and adds its data sets, networks, losses and separators to
nussl's own modules (``registration``)::

    import nussl_transfer
    import nussl

    nussl.separation.deep.DeepMaskEstimation(signal, model_path="quartet")

The names in ``__all__`` are the public API. Each is imported when it is first used. Everything else is internal.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import compat, registration

if TYPE_CHECKING:  # the names of _HOMES, for type checkers and editors
    from .checkpoints.checkpoint import load as load
    from .datasets.options import StemOptions as StemOptions
    from .datasets.validation.check import check as check
    from .errors import AudioFileError as AudioFileError
    from .errors import CheckpointError as CheckpointError
    from .errors import ConfigError as ConfigError
    from .errors import DataError as DataError
    from .errors import FetchError as FetchError
    from .errors import TransferError as TransferError
    from .evaluation.evaluate import evaluate as evaluate
    from .mixing.config import MixtureConfig as MixtureConfig
    from .mixing.mixtures import Mixtures as Mixtures
    from .pipelines.finetune import finetune as finetune
    from .separation.clustering import TransferDeepClustering as TransferDeepClustering
    from .separation.masks import TransferMaskEstimation as TransferMaskEstimation
    from .separation.separate import separate as separate
    from .store.prepare import prepare as prepare
    from .store.store import Store as Store
    from .training.closures import TransferClosure as TransferClosure
    from .training.config import FitConfig as FitConfig
    from .training.fit import fit as fit
    from .training.run import Run as Run

__version__ = "0.1.0"

# Each public name and the module that defines it.
_HOMES = {
    "finetune": "pipelines.finetune",
    "separate": "separation.separate",
    "evaluate": "evaluation.evaluate",
    "prepare": "store.prepare",
    "check": "datasets.validation.check",
    "load": "checkpoints.checkpoint",
    "fit": "training.fit",
    "Store": "store.store",
    "Mixtures": "mixing.mixtures",
    "Run": "training.run",
    "FitConfig": "training.config",
    "MixtureConfig": "mixing.config",
    "StemOptions": "datasets.options",
    "TransferClosure": "training.closures",
    "TransferMaskEstimation": "separation.masks",
    "TransferDeepClustering": "separation.clustering",
    "TransferError": "errors",
    "AudioFileError": "errors",
    "CheckpointError": "errors",
    "ConfigError": "errors",
    "DataError": "errors",
    "FetchError": "errors",
}
__all__ = sorted(_HOMES)

compat.repair()
registration.register_all()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
