"""Augmented looks: what torchvision's transforms make of a clip's frames, the same for all frames of one look.

One draw a look: the crop, the mirror and the colours move together through the clip, so that movement stays movement.
"""

import re
from collections.abc import Collection, Iterable

import numpy as np
import torch
from torchvision.transforms import v2

from glimpse.looks import Look, cut, pictures_of
from glimpse.sampling import keyed_rng
from glimpse.store import Stored

MARGIN = 1.15  # sides of what is stored around a square that follows, to the square: room for crops

Transforms = tuple[v2.Transform, v2.Transform]  # of where things are, and of their colours


def transforms(size: int, mirror: bool) -> Transforms:
    """torchvision's transforms for one look: of where things are, to `size` x `size` pixels, and of their colours."""
    where = [v2.RandomResizedCrop(size, scale=(0.7, 1.0), ratio=(3 / 4, 4 / 3), antialias=True)]
    if mirror:
        where.append(v2.RandomHorizontalFlip())
    return v2.Compose(where), v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3)


def augmented_look(
    stored: Stored, look: Look, change: Transforms, seed: int, *key: object, positions: Collection[int] | None = None
) -> np.ndarray:
    """One augmented look at candidates of a `Stored` clip, uint8 RGB (frames, views, size, size, 3).

    `change` is what `transforms` made; the draw follows from the seed and the key (the clip, which look, which epoch).
    Frames and their changes are moved alike; colours are the frames' alone.
    """
    where, colours = change
    pictures, squares = pictures_of(stored, look, positions)
    if look.follow:
        wide = round(MARGIN * look.size)
        pictures = [[cut(one, (x, y, MARGIN * side), wide) for one in views]
                    for views, (x, y, side) in zip(pictures, squares, strict=True)]  # fmt: skip
    stack = torch.from_numpy(np.array(pictures)[..., ::-1].copy())  # (frames, views, height, width, 3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(keyed_rng(seed, "look", *key).integers(2**63)))
        shown = where(stack.permute(0, 1, 4, 2, 3))
        shown[:, 0] = colours(shown[:, 0])
    return shown.permute(0, 1, 3, 4, 2).contiguous().numpy()


def mirror_allowed(setting: str | bool, actions: Iterable[str]) -> bool:
    """Whether a look may be mirrored. `auto`: unless an action is named by left or right, which a mirror swaps."""
    if isinstance(setting, bool):
        return setting
    return not any(re.search(r"(^|[^a-z])(left|right)([^a-z]|$)", action.lower()) for action in actions)
