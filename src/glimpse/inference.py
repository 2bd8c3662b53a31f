"""One model at work: from a clip's stored frames, or their features, to what it believes after every frame.

`evaluate` and `predict` both go through here, so a clip's figures are the same in both.
"""

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import torch

from glimpse.backbone import WIDTH, load_backbone
from glimpse.calibration import threshold
from glimpse.engine import frozen, mixed_precision, pick_device, seen
from glimpse.looks import Look, clean_look
from glimpse.model import Network, Temporal, load
from glimpse.parts import Part
from glimpse.sampling import reading
from glimpse.store import Frames, Stored


class Recognizer:
    """A trained approach, as its model.pt holds it."""

    def __init__(self, path: Path | str) -> None:
        self.kept = kept = load(path)
        if not self.tuned:
            torch.set_num_threads(1)  # what reads the looks is too small to share out
        self.actions, self.use, self.temperature = kept["actions"], kept["use"], kept["temperature"]
        self.look = Look(**kept["look"])
        self.temporal = Temporal(
            **kept["temporal"], width=WIDTH, views=self.look.views, actions=len(self.actions), dropout=0.0
        )
        self.temporal.load_state_dict(kept["state"])
        self.temporal.eval()
        self._believe_looks: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def tuned(self) -> bool:
        """Whether the backbone was trained too: stored features, which are the frozen one's, are then of no use."""
        return self.kept["tune"] > 0

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
        looks = clean_look(stored, self.look, positions)
        if self._believe_looks is None:
            self._believe_looks = self._looker()
        return self._believe_looks(looks)

    @torch.inference_mode()
    def believe_features(self, features: np.ndarray) -> np.ndarray:
        """The same of several clips from the features of frames that are read: float16 (clips, use, views * 1280)."""
        return self._probabilities(self.temporal(torch.from_numpy(features.astype(np.float32))))

    def believe_part(
        self, part: Part, features: np.ndarray, frames: Frames, positions: np.ndarray | None = None
    ) -> np.ndarray:
        """The same of all clips of a `Part`, (clips, use, actions), from stored features, or frames for a tuned model.

        `positions` (clips, n): as in `believe`.
        """
        if positions is None:
            positions = np.stack([self.positions(clip) for clip in part.clips])
        if not self.tuned:
            return self.believe_features(features[part.rows[:, None], 0, positions])
        return np.stack([self.believe(c, frames.stored(c), row) for c, row in zip(part.clips, positions, strict=True)])

    def _probabilities(self, logits: torch.Tensor) -> np.ndarray:
        """Logits (…, actions), made milder or sharper by the temperature, as probabilities."""
        return torch.softmax(logits / self.temperature, -1).cpu().numpy()

    def _looker(self) -> Callable[[np.ndarray], np.ndarray]:
        """A function from looks (frames, views, size, size, 3) to probabilities; built once, when first needed."""
        device, precision = pick_device(), self.kept["precision"]
        backbones = [load_backbone(state) for state in self.kept["backbones"]]
        if not self.tuned:
            run = frozen(backbones[0], device, precision)
            return lambda looks: self.believe_features(seen(run, looks)[None])[0]
        network = Network(backbones, self.temporal).eval()
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

        @torch.inference_mode()
        def look(looks: np.ndarray) -> np.ndarray:
            few = Network(network.backbones[: len(looks)], network.temporal)  # untied and shown fewer frames
            with mixed_precision(device, precision):
                logits = few(torch.from_numpy(looks)[None].to(device))[0].float()
            return self._probabilities(logits)

        return look


def settled_after(beliefs: np.ndarray) -> int:
    """After how many frames the answer no longer changes, from probabilities (frames, actions)."""
    answers = beliefs.argmax(1)
    return int(np.flatnonzero(np.append(True, answers[1:] != answers[:-1]))[-1]) + 1
