"""What a training reads in one epoch: for each clip a few of its candidates, in one of its looks."""

import numpy as np
import torch
from torch.utils.data import Dataset

from glimpse.core.frame_store import FrameStore
from glimpse.core.sampling import eval_frames, keyed_rng, sample_frames
from glimpse.core.splits import Split
from glimpse.features.augment import Transforms, augmented_views
from glimpse.features.views import ViewConfig, clean_views, prepare_frames

UNLIMITED_VIEWS = 2**31  # looks to draw from where none is stored: hardly ever the same one twice


class FrameSampler:
    """Which candidates and which look of each clip are read; in training drawn in every epoch (`redraw`) or once."""

    def __init__(
        self, candidates: int, frames: int, use: int, how: str, looks: int, redraw: bool, seed: int, clips: list[str]
    ) -> None:
        self.candidates, self.frames, self.use, self.how = candidates, frames, use, how
        self.looks, self.redraw, self.seed, self.clips = looks, redraw, seed, clips

    def eval_positions(self) -> tuple[np.ndarray, np.ndarray]:
        """The readings of validation and test: positions (clips, use), all in the clean look, 0."""
        rows = [eval_frames(self.candidates, self.frames, self.how, self.seed, clip) for clip in self.clips]
        return np.stack(rows)[:, : self.use], np.zeros(len(self.clips), int)

    def train_positions(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The readings of a training epoch: positions (clips, use) and which look, 0 for the clean one."""
        rng = keyed_rng(self.seed, "sampling", epoch if self.redraw else "once")
        looks = rng.integers(0, self.looks + 1, len(self.clips))
        if not self.redraw:
            return self.eval_positions()[0], looks
        return sample_frames(self.candidates, self.frames, self.how, rng, len(self.clips))[:, : self.use], looks


class FeatureDataset(Dataset):
    """A part's readings from stored features: float32 (batch, use, width), and the actions' numbers (batch,).

    `features`: float16 (clips, 1 + looks, candidates, width).
    """

    def __init__(self, features: np.ndarray, part: Split, positions: np.ndarray, looks: np.ndarray) -> None:
        self.features, self.part, self.positions, self.looks = features, part, positions, looks

    def __len__(self) -> int:
        return len(self.positions)

    def __getitems__(self, batch: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        rows = self.part.rows[batch]
        picked = self.features[rows[:, None], self.looks[batch, None], self.positions[batch]]
        return torch.from_numpy(picked.astype(np.float32)), torch.from_numpy(self.part.labels[batch])


class FrameDataset(Dataset):
    """A part's readings from stored frames, for a tuned backbone: uint8 (batch, use, views, size, size, 3), actions.

    Look 0 is the clean one; any other is drawn by `change`, as the seed, the clip and the look's number say.
    """

    def __init__(
        self, frames: FrameStore, look: ViewConfig, change: Transforms, seed: int, part: Split,
        positions: np.ndarray, looks: np.ndarray,
    ) -> None:  # fmt: skip
        self.frames, self.look, self.change, self.seed = frames, look, change, seed
        self.part, self.positions, self.looks = part, positions, looks

    def __len__(self) -> int:
        return len(self.positions)

    def __getitems__(self, batch: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        looks = torch.from_numpy(np.stack([self._look(number) for number in batch]))
        return looks, torch.from_numpy(self.part.labels[batch])

    def _look(self, number: int) -> np.ndarray:
        clip, which, positions = self.part.clips[number], self.looks[number], self.positions[number]
        stored = self.frames.load(clip)
        if which == 0:
            return clean_views(stored, self.look, positions)
        return augmented_views(
            prepare_frames(stored, self.look, positions), self.look, self.change, self.seed, clip, which
        )
