"""The state of a training after its last epoch, saved so that a killed training resumes there.

A checkpoint is no output of a stage, since DVC deletes outputs before each run; it is removed when training ends.
"""

import copy
import hashlib
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import torch

from glimpse.core.files import atomic_write, source_hash
from glimpse.model.model_file import from_bytes, to_bytes

MAX_TIME_SHARE = 0.04  # of the training's time that saving checkpoints may take


class Checkpoint:
    """The checkpoint of one training, such as "train-all10"; it resumes only with equal `files` and `key_parts`.

    key_parts: settings, versions, code: anything whose repr changes when the training would.
    """

    def __init__(self, name: str, path: Path | str, files: Iterable[Path | str], *key_parts: object) -> None:
        self.name, self.path = name, Path(path)
        digest = hashlib.sha256(repr(key_parts).encode())
        for input_path in files:
            with open(input_path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        self.key = digest.hexdigest()
        self._saved_at, self._duration = -float("inf"), 0.0  # seconds

    def for_refit(self) -> Self:
        """The checkpoint of the second training, on train and val, beside that of the first."""
        refit = copy.copy(self)
        refit.name = f"{self.name}, on train and val"
        refit.path = self.path.with_stem(f"{self.path.stem}-again")
        return refit

    def save(self, progress: dict[str, Any], modules: dict[str, Any], device: torch.device) -> None:
        """Save the progress ({"history": rows, …}), the modules' state dicts and the random state.

        Where epochs are so short that this would take more than MAX_TIME_SHARE, not after every epoch.
        """
        start = time.monotonic()
        if start - self._saved_at < self._duration / MAX_TIME_SHARE:
            return
        states = {name: module.state_dict() for name, module in modules.items()}
        contents = {"key": self.key, "progress": progress, "states": states, "random": random_states(device)}
        with atomic_write(self.path, "wb") as file:
            file.write(to_bytes(contents))
        self._saved_at = time.monotonic()
        self._duration = self._saved_at - start

    def resume(self, modules: dict[str, Any]) -> dict[str, Any]:
        """Load the modules' states and the random state; returns the progress, {} if there is no usable checkpoint."""
        if not self.path.exists():
            return {}
        try:
            contents = from_bytes(self.path)
            matches = contents["key"] == self.key
        except Exception:  # torch raises many kinds for what is no checkpoint
            return self._start_over("damaged")
        if not matches:
            return self._start_over("of other settings, clips or code")
        for name, module in modules.items():
            module.load_state_dict(contents["states"][name])
        for kind, state in contents["random"].items():
            (torch if kind == "cpu" else torch.get_device_module(kind)).set_rng_state(state)
        print(f"{self.name}: resuming at epoch {len(contents['progress']['history']) + 1}", flush=True)
        return contents["progress"]

    def _start_over(self, reason: str) -> dict[str, Any]:
        print(f"{self.name}: {self.path} is {reason}: training starts anew", flush=True)
        self.remove()  # that of the refit, too: it continues a first training that will not be repeated
        return {}

    def remove(self) -> None:
        """Delete the checkpoints: the training is done."""
        self.path.unlink(missing_ok=True)
        self.path.with_stem(f"{self.path.stem}-again").unlink(missing_ok=True)


def random_states(device: torch.device) -> dict[str, torch.Tensor]:
    """States of the random generators from which a training on this device draws."""
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states[device.type] = torch.get_device_module(device).get_rng_state()
    return states


def training_code() -> str:
    """Hash of the code that is loaded for a training, without comments and docstrings."""
    return source_hash(*(module for name, module in sorted(sys.modules.items()) if name.startswith("glimpse.")))
