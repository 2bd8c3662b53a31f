"""Datasets for one epoch: sampled frames of each clip, in one view each, as features or as images."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler, WeightedRandomSampler

from glimpse.core.frame_store import FrameStore
from glimpse.core.sampling import eval_frames, keyed_rng, sample_frames
from glimpse.core.splits import Split
from glimpse.features.augment import ClipAugmentation, augmented_views
from glimpse.features.views import ViewConfig, prepare_frames

UNLIMITED_VIEWS = 2**31  # augmented views to choose from where none is stored: practically never the same twice


@dataclass(frozen=True)
class FrameSampler:
    """Which stored frames and which view of each clip are read; in training anew in every epoch, or once."""

    candidates: int  # stored frames per clip
    frames: int  # sampled from them
    num_frames: int  # read, the first ones
    sampling: str
    augmented_views: int
    resample_each_epoch: bool
    seed: int

    def eval_positions(self, clips: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """For validation and test: positions (clips, num_frames), all in view 0, the clean one."""
        rows = [eval_frames(self.candidates, self.frames, self.sampling, self.seed, clip) for clip in clips]
        return np.stack(rows)[:, : self.num_frames], np.zeros(len(clips), int)

    def train_positions(self, clips: list[str], epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """For a training epoch: positions (clips, num_frames) and views (clips,), 0 for the clean one."""
        rng = keyed_rng(self.seed, "draw", epoch if self.resample_each_epoch else "once")
        views = rng.integers(0, self.augmented_views + 1, len(clips))
        if not self.resample_each_epoch:
            return self.eval_positions(clips)[0], views
        positions = sample_frames(self.candidates, self.frames, self.sampling, rng, len(clips))
        return positions[:, : self.num_frames], views


@dataclass(frozen=True)
class StoredFeatures:
    """Reads inputs from stored features, float16 (all clips, views, stored frames, features)."""

    features: np.ndarray

    def read(self, split: Split, batch: list[int], positions: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """Features of a batch of the split's clips: float32 (clips, frames, features)."""
        rows = split.rows[batch]
        return torch.from_numpy(self.features[rows[:, None], views[:, None], positions].astype(np.float32))


@dataclass(frozen=True)
class StoredFrames:
    """Reads inputs from stored frames, for a finetuned backbone: crops them, and augments all views but view 0."""

    store: FrameStore
    config: ViewConfig
    augmentation: ClipAugmentation
    seed: int

    def read(self, split: Split, batch: list[int], positions: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """Images of a batch of the split's clips: uint8 RGB (clips, frames, modalities, size, size, 3)."""
        clips = [split.clips[row] for row in batch]
        return torch.from_numpy(np.stack([*map(self._view, clips, positions, views)]))

    def _view(self, clip: str, positions: np.ndarray, number: int) -> np.ndarray:
        clip_views = prepare_frames(self.store.load(clip), self.config, positions)
        return (
            clip_views.clean if number == 0 else augmented_views(clip_views, self.augmentation, self.seed, clip, number)
        )


class ClipDataset(Dataset):
    """The clips of a split, one view each; returns whole batches: inputs, and class indices (clips,)."""

    def __init__(
        self, source: StoredFeatures | StoredFrames, split: Split, positions: np.ndarray, views: np.ndarray
    ) -> None:
        self.source, self.split, self.positions, self.views = source, split, positions, views

    def __len__(self) -> int:
        return len(self.positions)

    def __getitems__(self, batch: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = self.source.read(self.split, batch, self.positions[batch], self.views[batch])
        return inputs, torch.from_numpy(self.split.labels[batch])


def make_loader(dataset: Dataset, batch_size: int, workers: int, sampler: Sampler | None = None) -> DataLoader:
    """Batches of a dataset that returns whole batches, in its order or in a sampler's."""
    return DataLoader(dataset, batch_size, sampler=sampler, num_workers=workers, collate_fn=identity)


def identity(batch: Any) -> Any:
    """Collate nothing: the dataset returns whole batches. A function with a name, for worker processes."""
    return batch


def class_sampler(labels: np.ndarray, class_balance: str, seed: int) -> Sampler:
    """The order of an epoch's clips; with `sampler` every class is drawn equally often, with repetitions."""
    generator = torch.Generator().manual_seed(seed)
    if class_balance == "sampler":
        return WeightedRandomSampler(1 / np.bincount(labels)[labels], len(labels), generator=generator)
    return RandomSampler(labels, generator=generator)
