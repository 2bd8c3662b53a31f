"""A trained approach at work, whatever computes for it: from a clip's stored frames to what it believes after each.

NumPy and OpenCV only. `inference` has the form that runs model.pt, and another runs what was exported from it.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection

import numpy as np

from glimpse.core.frame_store import Stored
from glimpse.core.sampling import reading
from glimpse.features.views import Look, clean_look
from glimpse.inference.confidence import threshold


class Recognizer(ABC):
    """What a model's file tells, and what follows from it. `kept`: the plain values of model.pt."""

    def __init__(self, kept: dict) -> None:
        self.kept = kept
        self.actions, self.use, self.temperature = kept["actions"], kept["use"], kept["temperature"]
        self.look = Look(**kept["look"])

    def positions(self, clip: str) -> np.ndarray:
        """Which candidates of a clip the model reads: an int array (use,)."""
        kept = self.kept
        return reading(kept["candidates"], kept["frames"], kept["draw"], kept["seed"], clip)[: self.use]

    def threshold(self, error: float) -> float:
        """The confidence from which on its answers are wrong no more often than `error`, going by the val part."""
        return threshold(**self.kept["val"], error=error)

    def believe(self, clip: str, stored: Stored, positions: Collection[int] | None = None) -> np.ndarray:
        """What the model believes after each frame: probabilities (use, actions), from all `Stored` candidates.

        `positions` (frames,): other candidates than the ones it reads, or in another order.
        """
        positions = self.positions(clip) if positions is None else positions
        return self.believe_looks(clean_look(stored, self.look, positions))

    @abstractmethod
    def believe_looks(self, looks: np.ndarray) -> np.ndarray:
        """The same from looks: uint8 RGB (frames, views, size, size, 3)."""

    @property
    @abstractmethod
    def memory(self) -> int:
        """How many numbers a reading carries from frame to frame."""

    @abstractmethod
    def step(self, look: np.ndarray, carried: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One frame more, for several readings at once that all see it but began at different frames.

        look: uint8 RGB (views, size, size, 3); carried: float32 (readings, memory), zeros where a reading begins.
        Returns what each believes now, probabilities (readings, actions), and what it carries on. Frame by frame that
        is what `believe_looks` says of all at once.
        """
