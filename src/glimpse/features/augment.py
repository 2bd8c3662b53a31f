"""Augmentation with torchvision's transforms: one random crop, flip and colour jitter per clip and view.

All frames and modalities of a view share the crop and the flip, so that motion is preserved.
"""

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from glimpse.core.sampling import keyed_rng
from glimpse.features.flow import ZERO_FLOW
from glimpse.features.views import Box, ClipViews, crop_resize

CROP_MARGIN = 1.15  # side of what is cut out around a motion box, relative to the box: space for random crops
_RNG_LOCK = threading.Lock()  # torchvision draws from torch's global generator


@dataclass(frozen=True)
class ClipAugmentation:
    """torchvision's transforms for a view, and the probability of a horizontal flip."""

    crop: v2.RandomResizedCrop
    hflip: float
    colors: v2.ColorJitter


def build_transforms(size: int, hflip: bool) -> ClipAugmentation:
    """The augmentation to `size` x `size` pixels; `hflip`: whether half of the views are flipped."""
    crop = v2.RandomResizedCrop(size, scale=(0.7, 1.0), ratio=(3 / 4, 4 / 3), antialias=True)
    return ClipAugmentation(crop, 0.5 * hflip, v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3))


def augmented_views(clip: ClipViews, augmentation: ClipAugmentation, seed: int, *key: object) -> np.ndarray:
    """One augmented view of each frame of a clip: uint8 RGB (frames, modalities, size, size, 3).

    The random draw depends on the seed and the key (clip, view, epoch) alone. Colours change in RGB only. A flip
    reverses horizontal flow.
    """
    frames = clip.modalities
    if clip.config.crop == "motion":
        size = round(CROP_MARGIN * clip.config.size)
        boxes = [Box(box.x, box.y, CROP_MARGIN * box.side) for box in clip.boxes]
        frames = [
            [crop_resize(image, box, size) for image in images] for images, box in zip(frames, boxes, strict=True)
        ]
    views = torch.from_numpy(np.array(frames)[..., ::-1].copy()).permute(0, 1, 4, 2, 3)  # RGB, channels first
    with _RNG_LOCK, torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(keyed_rng(seed, "look", *key).integers(2**63)))
        views = augmentation.crop(views)
        if torch.rand(()) < augmentation.hflip:
            views = functional.horizontal_flip(views)
            if clip.config.flow:
                views[:, -1, 0] = (2 * ZERO_FLOW - views[:, -1, 0].int()).byte()
        views[:, 0] = augmentation.colors(views[:, 0])
    return views.permute(0, 1, 3, 4, 2).contiguous().numpy()


def hflip_allowed(setting: str | bool, actions: Iterable[str]) -> bool:
    """Whether views may be flipped. `auto`: unless an action's name says left or right, which a flip exchanges."""
    if isinstance(setting, bool):
        return setting
    return not any(re.search(r"(^|[^a-z])(left|right)([^a-z]|$)", action.lower()) for action in actions)
