"""A trained approach run by PyTorch: from a clip's stored frames, or their features, to what it believes after each.

`evaluate` and `predict` both go through here, so a clip's figures are the same in both.
"""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from glimpse.core.frame_store import Frames
from glimpse.core.splits import Part
from glimpse.features.backbone import load_backbone
from glimpse.features.extractor import frozen, mixed_precision, pick_device, seen, widths
from glimpse.inference.recognizer import Recognizer
from glimpse.model.network import Network, load, reader


class TorchRecognizer(Recognizer):
    """A trained approach, as its model.pt holds it."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(load(path))
        if not self.tuned:
            torch.set_num_threads(1)  # what reads the looks is too small to share out
        self.temporal = reader(**self.kept["temporal"], widths=widths(self.look), actions=len(self.actions))
        self.temporal.load_state_dict(self.kept["state"])
        self.temporal.eval()

    @property
    def tuned(self) -> bool:
        """Whether the backbone was trained too: stored features, which are the frozen one's, are then of no use."""
        return self.kept["tune"] > 0

    @property
    def memory(self) -> int:
        return self.network[0].memory if self.tuned else sum(self.temporal.carried.values())

    def believe_looks(self, looks: np.ndarray) -> np.ndarray:
        if not self.tuned:
            return self.believe_features(seen(self._see, looks, self.look)[None])[0]
        network, device = self.network
        few = Network(network.backbones[: len(looks)], network.temporal, network.seen)  # untied and shown fewer frames
        with torch.inference_mode(), mixed_precision(device, self.kept["precision"]):
            logits = few(torch.from_numpy(looks)[None].to(device))[0].float()
        return self._probabilities(logits)

    @torch.inference_mode()
    def step(self, look: np.ndarray, carried: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        before = torch.from_numpy(carried)
        if self.tuned:
            network, device = self.network
            with mixed_precision(device, self.kept["precision"]):
                logits, after = network.step(torch.from_numpy(look).to(device), before.to(device))
        else:
            features = torch.from_numpy(seen(self._see, look[None], self.look).astype(np.float32))
            logits, after = self.temporal.step(features.expand(len(carried), -1), before)
        return self._probabilities(logits.float()), after.float().cpu().numpy()

    @torch.inference_mode()
    def believe_features(self, features: np.ndarray) -> np.ndarray:
        """The same of several clips from the features of frames that are read: float16 (clips, use, width)."""
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

    @cached_property
    def _see(self) -> Callable[[np.ndarray], np.ndarray]:
        """The frozen backbone."""
        return frozen(load_backbone(self.kept["backbones"][0]), pick_device(), self.kept["precision"])

    @cached_property
    def network(self) -> tuple[Network, torch.device]:
        """The whole network, and where it runs: a frozen one on the CPU, where its features are read."""
        network = Network(map(load_backbone, self.kept["backbones"]), self.temporal, self.look.seen).eval()
        device = pick_device() if self.tuned else torch.device("cpu")
        return network.to(device).to(memory_format=torch.channels_last), device
