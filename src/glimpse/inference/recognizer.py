"""Interface of a trained model: stored frames in, class probabilities after each frame out.

NumPy and OpenCV only. `torch_recognizer` runs model.pt; `glimpse.predict.onnx_recognizer` runs what was exported.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection

import numpy as np

from glimpse.core.frame_store import StoredClip
from glimpse.core.sampling import eval_frames
from glimpse.features.views import ClipViews, prepare_frames
from glimpse.inference.confidence import confidence_threshold
from glimpse.model.config import ModelConfig


class Recognizer(ABC):
    """A trained model and its configuration."""

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.class_names, self.num_frames, self.views = config.class_names, config.num_frames, config.views

    def positions(self, clip: str) -> np.ndarray:
        """Which stored frames of a clip the model reads: an int array (num_frames,)."""
        config = self.config
        return eval_frames(config.candidates, config.frames, config.sampling, config.seed, clip)[: self.num_frames]

    def threshold(self, max_error: float) -> float:
        """Confidence below which to answer "unknown", so that at most a share `max_error` of the answers is wrong."""
        return confidence_threshold(self.config.val_confidence, self.config.val_correct, max_error)

    def prepare(self, clip: str, stored: StoredClip, positions: Collection[int] | None = None) -> ClipViews:
        """The frames of a clip that the model reads, with their views; `positions`: other stored frames than those."""
        return prepare_frames(stored, self.views, self.positions(clip) if positions is None else positions)

    def predict(self, clip_views: ClipViews) -> np.ndarray:
        """Probabilities (frames, classes) after each frame of a clip."""
        return self.predict_views(clip_views.clean)

    @abstractmethod
    def predict_views(self, views: np.ndarray) -> np.ndarray:
        """The same from clean views: uint8 RGB (frames, modalities, size, size, 3)."""

    @property
    @abstractmethod
    def state_size(self) -> int:
        """Numbers of state carried from frame to frame."""

    @abstractmethod
    def step(self, view: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One more frame, for several windows at once that began at different frames.

        view: uint8 RGB (modalities, size, size, 3); state: float32 (windows, state_size), zeros where a window begins.
        Returns the probabilities (windows, classes) and the new state. Frame by frame, the probabilities are those of
        `predict_views` on all frames at once.
        """
