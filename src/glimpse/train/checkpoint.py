"""Where a training stands after its last finished epoch, kept so that a killed one goes on from there.

It is no output of a stage, since DVC deletes those before each run; it goes when the training is done.
"""

import copy
import hashlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import torch

from glimpse.core.files import atomic_write
from glimpse.model.network import from_bytes, to_bytes

MAX_TIME_SHARE = 0.04  # of a training's time, at most, that keeping checkpoints may take


class Checkpoint:
    """The checkpoint of one training, such as "train-all10", found again by a training on the same `files` and
    `settings` (anything whose repr tells it from others) alone."""

    def __init__(self, training: str, path: Path | str, files: Iterable[Path | str], *settings: object) -> None:
        self.training, self.path = training, Path(path)
        key = hashlib.sha256(repr(settings).encode())
        for name in files:
            with open(name, "rb") as file:
                key.update(hashlib.file_digest(file, "sha256").digest())
        self.key = key.hexdigest()
        self._kept_at, self._took = -float("inf"), 0.0  # seconds

    def for_refit(self) -> Self:
        """The checkpoint of the same network's second training, beside that of its first."""
        second = copy.copy(self)
        second.training = f"{self.training}, on train and val"
        second.path = self.path.with_stem(f"{self.path.stem}-again")
        return second

    def keep(self, so_far: dict, parts: dict, device: torch.device) -> None:
        """Keep a training after its last finished epoch: what came of it `so_far` ({"rows": of all epochs, …}), the
        states of its `parts` ({name: what has a state_dict}) and of the random numbers.

        Where epochs are so short that this would take more than SHARE of the time, not after each of them.
        """
        began = time.monotonic()
        if began - self._kept_at < self._took / MAX_TIME_SHARE:
            return
        states = {name: part.state_dict() for name, part in parts.items()}
        kept = {"key": self.key, "so_far": so_far, "states": states, "random": random_states(device)}
        with atomic_write(self.path, "wb") as file:
            file.write(to_bytes(kept))
        self._kept_at = time.monotonic()
        self._took = self._kept_at - began

    def resume(self, parts: dict, device: torch.device) -> dict:
        """Put the parts and the random numbers to where they were kept; returns what had come of the training so far.

        With nothing to go on from, all stays as it is, and {} is returned; a checkpoint that is of no use is named.
        """
        if not self.path.exists():
            return {}
        try:
            kept = from_bytes(self.path)
            of_this = kept["key"] == self.key
        except Exception:  # torch raises many kinds for what is no checkpoint
            return self._afresh("damaged")
        if not of_this:
            return self._afresh("of other settings, clips or code")
        for name, part in parts.items():
            part.load_state_dict(kept["states"][name])
        for kind, state in kept["random"].items():
            (torch if kind == "cpu" else torch.get_device_module(kind)).set_rng_state(state)
        print(f"{self.training}: resuming at epoch {len(kept['so_far']['rows']) + 1}", flush=True)
        return kept["so_far"]

    def _afresh(self, why: str) -> dict:
        print(f"{self.training}: {self.path} is {why}: training starts afresh", flush=True)
        self.remove()  # a second training must not go on from what this one will not come to
        return {}

    def remove(self) -> None:
        """The training is done: nothing is left to go on from."""
        self.path.unlink(missing_ok=True)
        self.path.with_stem(f"{self.path.stem}-again").unlink(missing_ok=True)


def random_states(device: torch.device) -> dict[str, torch.Tensor]:
    """The states of the generators of random numbers that a training on a device draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states[device.type] = torch.get_device_module(device).get_rng_state()
    return states
