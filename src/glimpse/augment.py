"""Augmented looks: what torchvision's transforms make of a clip's frames, the same for all frames of one look.

One draw a look: the crop, the mirror and the colours move together through the clip, so that movement stays movement.
"""

import re

import numpy as np
import torch
from torchvision.transforms import v2

from glimpse.sampling import keyed_rng
from glimpse.store import from_jpeg


def transform(size, mirror):
    """torchvision's transform for one look, from stored frames to `size` x `size` pixels."""
    steps = [v2.RandomResizedCrop(size, scale=(0.7, 1.0), ratio=(3 / 4, 4 / 3), antialias=True)]
    if mirror:
        steps.append(v2.RandomHorizontalFlip())
    return v2.Compose([*steps, v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3)])


def augmented_look(jpegs, change, seed, *key):
    """One augmented look at stored frames, uint8 RGB (frames, size, size, 3).

    `change` is what `transform` made; the draw follows from the seed and the key (the clip, which look, which epoch).
    """
    frames = np.stack([from_jpeg(jpeg)[..., ::-1] for jpeg in jpegs])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(keyed_rng(seed, "look", *key).integers(2**63)))
        looked = change(torch.from_numpy(frames).permute(0, 3, 1, 2))
    return looked.permute(0, 2, 3, 1).contiguous().numpy()


def mirror_allowed(setting, actions):
    """Whether a look may be mirrored. `auto`: unless an action is named by left or right, which a mirror swaps."""
    if setting != "auto":
        return setting
    return not any(re.search(r"(^|[^a-z])(left|right)([^a-z]|$)", action.lower()) for action in actions)
