"""A checkpoint as ``model.safetensors`` with ``config.json`` beside it, the form of the Hugging Face hub.

Both hold plain values only. Reading them gives the same dictionary as a nussl checkpoint file, which
:func:`~nussl_transfer.safe_loading.safe_load.safe_load` then checks in the same way.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import CheckpointError

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
FORMAT = "nussl_transfer"
KEY = "nussl_transfer"  # in nussl's metadata: the key under which this package stores its own
# The configuration of the paper's network takes 2 kB.
MOST_CONFIG_BYTES = 2**20


def content_of(
    state: dict, config: dict, sample_rate: int, stft_params: Any, ours: dict, training: dict | None = None
) -> dict:
    """Return what nussl's ``SeparationModel.save`` would write: weights, configuration and metadata.

    Args:
        state: Weights and buffers by name.
        config: nussl's configuration of the network.
        sample_rate: Sample rate in Hz.
        stft_params: nussl's STFTParams.
        ours: Labels, mode and the like, as plain values.
        training: Metadata of nussl's trainer.
    """
    import nussl
    from nussl.datasets import transforms as tfm

    data = ours.get("data")
    dataset = {
        "name": KEY,
        "folder": str(data.get("name", "")) if isinstance(data, dict) else "",
        "num_channels": 1,
        "sample_rate": sample_rate,
        "stft_params": stft_params,
        # The transforms that nussl's separators apply before the network, even if the training used others.
        "transforms": tfm.Compose([tfm.MagnitudeSpectrumApproximation(), tfm.MagnitudeWeights(), tfm.ToSeparationModel()]),
    }
    metadata = {
        "config": config,
        "nussl_version": nussl.__version__,
        "num_channels": 1,
        "sample_rate": sample_rate,
        "stft_params": stft_params,
        "train_dataset": dataset,
        "val_dataset": dataset,
        **(training or {}),
        KEY: ours,
    }
    return {"state_dict": state, "config": json.dumps(config), "metadata": metadata}


def read_hub_format(path: Path) -> dict:
    """Return the content of ``model.safetensors`` and the ``config.json`` beside it, in the form of a nussl checkpoint.

    Raises:
        CheckpointError: A file is missing or damaged, or the configuration lacks a value.
    """
    from nussl import STFTParams
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    about = _read_config(path.with_name(CONFIG))
    try:
        state = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"Checkpoint {path} is damaged ({error}). Download or copy it again.") from error
    try:
        stft = about["stft_params"]
        ours = {key: about[key] for key in ("labels", "mode", "excerpt_seconds", "parent", "data") if key in about}
        return content_of(
            state, about["network"], about["sample_rate"],
            STFTParams(stft["window_length"], stft["hop_length"], stft["window_type"]), ours,
        )  # fmt: skip
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path.with_name(CONFIG)} lacks a value of a nussl_transfer model ({error!r}). Download it again, or ask its "
            "author."
        ) from error


def _read_config(path: Path) -> dict:
    try:
        if path.stat().st_size > MOST_CONFIG_BYTES:
            raise ValueError(f"it has {path.stat().st_size} bytes, expected at most {MOST_CONFIG_BYTES}")
        about = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(about, dict) or about.get("format") != FORMAT:
            raise ValueError(f"it should be of format {FORMAT!r}")
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is not the configuration of a nussl_transfer model: {error}. Take a model that "
            "nussl-transfer published."
        ) from error
    return about


def write_hub_format(folder: Path, content: dict) -> tuple[Path, Path]:
    """Write the content of a nussl checkpoint as ``model.safetensors`` and ``config.json``, and return their paths.

    Args:
        folder: Made when absent.
        content: As :func:`content_of` returns it. The metadata of nussl's trainer are left out.
    """
    from safetensors.torch import save

    from ..runtime.files import write_durably, write_json

    metadata = content["metadata"]
    stft = metadata["stft_params"]
    about = {
        "format": FORMAT,
        "nussl_version": metadata["nussl_version"],
        "sample_rate": metadata["sample_rate"],
        "stft_params": {
            "window_length": int(stft.window_length), "hop_length": int(stft.hop_length), "window_type": stft.window_type,
        },
        **metadata[KEY],
        "network": json.loads(content["config"]),
    }  # fmt: skip
    weights, config = Path(folder) / WEIGHTS, Path(folder) / CONFIG
    tensors = {name: tensor.contiguous().clone() for name, tensor in content["state_dict"].items()}
    write_durably(weights, save(tensors, metadata={"format": "pt"}))
    write_json(config, about)
    return weights, config
