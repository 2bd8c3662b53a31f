"""Augmented looks: what torchvision's transforms make of a clip's frames, the same for all frames of one look.

One draw a look: the crop, the mirror and the colours move together through the clip, so that movement stays movement.
"""

import re
from collections.abc import Iterable

import numpy as np
import torch
from torchvision.transforms import v2

from glimpse.core.sampling import keyed_rng
from glimpse.features.flow import REST
from glimpse.features.views import Look, Pictures, cut

MARGIN = 1.15  # sides of what is stored around a square that follows, to the square: room for crops

Transforms = tuple[v2.Transform, float, v2.Transform]  # a crop, how often it is mirrored, and colours


def transforms(size: int, mirror: bool) -> Transforms:
    """torchvision's transforms for a look: a crop of `size` x `size` pixels, half of them mirrored, other colours."""
    crop = v2.RandomResizedCrop(size, scale=(0.7, 1.0), ratio=(3 / 4, 4 / 3), antialias=True)
    return crop, 0.5 * mirror, v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3)


def augmented_look(pictures: Pictures, look: Look, change: Transforms, seed: int, *key: object) -> np.ndarray:
    """One augmented look at what `pictures_of` found, uint8 RGB (frames, views, size, size, 3).

    `change` is what `transforms` made; the draw follows from the seed and the key (the clip, which look, which epoch).
    All views of a frame are moved alike; colours are the frames' alone. Mirrored, what moved left moves right.
    """
    crop, mirrored, colours = change
    held, squares = pictures
    if look.follow:
        wide = round(MARGIN * look.size)
        held = [[cut(one, (x, y, MARGIN * side), wide) for one in views]
                for views, (x, y, side) in zip(held, squares, strict=True)]  # fmt: skip
    stack = torch.from_numpy(np.array(held)[..., ::-1].copy())  # (frames, views, height, width, 3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(keyed_rng(seed, "look", *key).integers(2**63)))
        shown = crop(stack.permute(0, 1, 4, 2, 3))
        if torch.rand(()) < mirrored:
            shown = v2.functional.horizontal_flip(shown)
            if look.flow:
                shown[:, -1, 0] = (2 * REST - shown[:, -1, 0].int()).byte()
        shown[:, 0] = colours(shown[:, 0])
    return shown.permute(0, 1, 3, 4, 2).contiguous().numpy()


def mirror_allowed(setting: str | bool, actions: Iterable[str]) -> bool:
    """Whether a look may be mirrored. `auto`: unless an action is named by left or right, which a mirror swaps."""
    if isinstance(setting, bool):
        return setting
    return not any(re.search(r"(^|[^a-z])(left|right)([^a-z]|$)", action.lower()) for action in actions)
