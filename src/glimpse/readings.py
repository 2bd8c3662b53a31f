"""What a training reads in one epoch: for each clip a few of its candidates, in one of its looks."""

import numpy as np
import torch
from torch.utils.data import Dataset

from glimpse.augment import augmented_look
from glimpse.looks import clean_look
from glimpse.sampling import draw, keyed_rng, reading


class Draws:
    """Which candidates and which look of each clip are read; in training drawn in every epoch (`redraw`) or once."""

    def __init__(self, clips, candidates, frames, use, how, looks, redraw, seed):
        self.clips, self.seed, self.redraw = clips, seed, redraw
        self.candidates, self.frames, self.use, self.how, self.looks = candidates, frames, use, how, looks

    def fixed(self):
        """The readings of validation and test: positions (clips, use), all in the clean look."""
        rows = [reading(self.candidates, self.frames, self.how, self.seed, clip) for clip in self.clips]
        return np.stack(rows)[:, : self.use], np.zeros(len(self.clips), int)

    def training(self, epoch):
        """The readings of a training epoch: positions (clips, use) and which look, 0 for the clean one."""
        rng = keyed_rng(self.seed, "draw", epoch if self.redraw else "once")
        looks = rng.integers(0, self.looks + 1, len(self.clips))
        if not self.redraw:
            return self.fixed()[0], looks
        return draw(self.candidates, self.frames, self.how, rng, len(self.clips))[:, : self.use], looks


class FeatureReadings(Dataset):
    """Readings from stored features (clips, 1 + looks, candidates, width): float32 (batch, use, width), actions."""

    def __init__(self, features, rows, actions, positions, looks):
        self.features, self.rows, self.actions, self.positions, self.looks = features, rows, actions, positions, looks

    def __len__(self):
        return len(self.rows)

    def __getitems__(self, batch):
        picked = self.features[self.rows[batch, None], self.looks[batch, None], self.positions[batch]]
        return torch.from_numpy(picked.astype(np.float32)), torch.from_numpy(self.actions[batch])


class FrameReadings(Dataset):
    """Readings from stored frames, for a tuned backbone: uint8 (batch, use, size, size, 3), actions.

    Look 0 is the clean one; any other is drawn by `change`, named by the seed, the clip and `occasion` (the epoch).
    """

    def __init__(self, frames, clips, actions, positions, looks, size, change, seed, occasion):
        self.frames, self.clips, self.actions, self.positions, self.looks = frames, clips, actions, positions, looks
        self.size, self.change, self.seed, self.occasion = size, change, seed, occasion

    def __len__(self):
        return len(self.clips)

    def __getitems__(self, batch):
        return torch.from_numpy(np.stack([self._look(row) for row in batch])), torch.from_numpy(self.actions[batch])

    def _look(self, row):
        jpegs = self.frames.jpegs(self.clips[row], self.positions[row])
        if self.looks[row] == 0:
            return clean_look(jpegs, self.size)
        return augmented_look(jpegs, self.change, self.seed, self.clips[row], self.occasion)
