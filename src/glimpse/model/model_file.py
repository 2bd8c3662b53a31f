"""model.pt: the configuration and the weights of a trained model, and no code. Written and read here alone."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from glimpse.core.files import atomic_write
from glimpse.model.config import ModelConfig

FORMAT = 6  # of model.pt; a file of another format is refused

StateDict = dict[str, torch.Tensor]


@dataclass(frozen=True)
class TrainedModel:
    """What model.pt holds: one backbone for all frames or one per frame position, and the temporal head's weights."""

    config: ModelConfig
    backbones: list[StateDict]
    head: StateDict


def save_model(path: Path | str, model: TrainedModel) -> None:
    """Write model.pt: a dict of plain values and tensors."""
    contents = {"format": FORMAT, "config": model.config.to_dict(), "backbones": model.backbones, "head": model.head}
    with atomic_write(path, "wb") as file:
        file.write(to_bytes(contents))


def load_model(path: Path | str) -> TrainedModel:
    """Read what `save_model` wrote. Exits with one line if the file is missing, damaged or of another format."""
    try:
        contents = from_bytes(path)
    except OSError as error:
        raise SystemExit(f"{path}: {error.strerror or error}: run `dvc repro` to train it") from None
    except Exception as error:  # torch raises many kinds for bytes that are no model, or that hold code
        raise SystemExit(f"{path}: not a model of Glimpse, or damaged ({type(error).__name__})") from None
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        raise SystemExit(f"{path}: not a model of this version of Glimpse (format {FORMAT}): train it again")
    return TrainedModel(ModelConfig.from_dict(contents["config"]), contents["backbones"], contents["head"])


def to_bytes(contents: dict[str, Any]) -> bytes:
    """What `torch.save` writes, as bytes: on a full disk torch raises errors of its own."""
    buffer = io.BytesIO()
    torch.save(contents, buffer)
    return buffer.getvalue()


def from_bytes(path: Path | str) -> dict[str, Any]:
    """Read what `to_bytes` made onto the CPU; checks the checksums, which torch does not; runs no code.

    Raises OSError for a file that cannot be read, and many kinds of errors for one that is damaged.
    """
    with zipfile.ZipFile(path) as file:
        if damaged := file.testzip():
            raise zipfile.BadZipFile(damaged)
    return torch.load(path, weights_only=True, map_location="cpu")
