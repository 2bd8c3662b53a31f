"""A trained model run by PyTorch, from stored frames or from stored features. `evaluate` and `predict` both use it."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from glimpse.core.frame_store import FrameStore
from glimpse.core.splits import Split
from glimpse.features.backbone import load_backbone
from glimpse.features.extractor import extract_features, feature_dims, frozen_extractor, mixed_precision, pick_device
from glimpse.inference.recognizer import Recognizer
from glimpse.model.heads import build_head
from glimpse.model.model_file import load_model
from glimpse.model.network import VideoNetwork


class TorchRecognizer(Recognizer):
    """A trained model, read from its model.pt."""

    def __init__(self, path: Path | str) -> None:
        self.model = load_model(path)
        super().__init__(self.model.config)
        if not self.finetuned:
            torch.set_num_threads(1)  # the head is too small to gain from more
        config = self.config
        self.head = build_head(config.head, feature_dims(config.views), config.hidden, len(config.class_names))
        self.head.load_state_dict(self.model.head)
        self.head.eval()

    @property
    def finetuned(self) -> bool:
        """Whether the backbone was trained, too, so that the stored features of the frozen one do not apply."""
        return self.config.finetune_blocks > 0

    @property
    def state_size(self) -> int:
        return self.network[0].state_size if self.finetuned else sum(self.head.state_sizes.values())

    def predict_views(self, views: np.ndarray) -> np.ndarray:
        if not self.finetuned:
            return self.predict_features(extract_features(self._extract, views, self.views)[None])[0]
        network, device = self.network
        network = VideoNetwork(network.backbones[: len(views)], self.head, network.num_images)  # of fewer frames, too
        with torch.inference_mode(), mixed_precision(device, self.config.precision):
            logits = network(torch.from_numpy(views)[None].to(device))[0].float()
        return self._probabilities(logits)

    @torch.inference_mode()
    def step(self, view: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        previous = torch.from_numpy(state)
        if self.finetuned:
            network, device = self.network
            with mixed_precision(device, self.config.precision):
                logits, updated = network.step(torch.from_numpy(view).to(device), previous.to(device))
        else:
            features = torch.from_numpy(extract_features(self._extract, view[None], self.views).astype(np.float32))
            logits, updated = self.head.step(features.expand(len(state), -1), previous)
        return self._probabilities(logits.float()), updated.float().cpu().numpy()

    @torch.inference_mode()
    def predict_features(self, features: np.ndarray) -> np.ndarray:
        """Probabilities of several clips from the features of the frames read: float16 (clips, frames, features)."""
        return self._probabilities(self.head(torch.from_numpy(features.astype(np.float32))))

    def predict_split(
        self, split: Split, features: np.ndarray, store: FrameStore, positions: np.ndarray | None = None
    ) -> np.ndarray:
        """Probabilities (clips, num_frames, classes) of all clips of a split.

        From the stored `features`, or with a finetuned backbone from the stored frames. `positions` (clips, frames):
        other stored frames than those the model reads.
        """
        if positions is None:
            positions = np.stack([self.positions(clip) for clip in split.clips])
        if not self.finetuned:
            return self.predict_features(features[split.rows[:, None], 0, positions])
        rows = zip(split.clips, positions, strict=True)
        return np.stack([self.predict(self.prepare(clip, store.load(clip), row)) for clip, row in rows])

    def _probabilities(self, logits: torch.Tensor) -> np.ndarray:
        """Logits (…, classes) as probabilities at the model's temperature."""
        return torch.softmax(logits / self.config.temperature, -1).cpu().numpy()

    @cached_property
    def _extract(self) -> Callable[[np.ndarray], np.ndarray]:
        """The frozen backbone."""
        return frozen_extractor(load_backbone(self.model.backbones[0]), pick_device(), self.config.precision)

    @cached_property
    def network(self) -> tuple[VideoNetwork, torch.device]:
        """The whole network and its device; a frozen backbone on the CPU, where its stored features are used."""
        network = VideoNetwork(map(load_backbone, self.model.backbones), self.head, self.views.num_images).eval()
        device = pick_device() if self.finetuned else torch.device("cpu")
        return network.to(device).to(memory_format=torch.channels_last), device
