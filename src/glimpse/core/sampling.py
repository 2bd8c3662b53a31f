"""Which frames are looked at: evenly spread candidates of a clip, and the few drawn from them for one reading."""

import numpy as np


def evenly(count: int, wanted: int) -> np.ndarray:
    """Positions of `wanted` frames spread evenly over `count`, each in the middle of its equal stretch.

    Returns an int array (wanted,) in rising order; positions repeat where count < wanted. No frames: ValueError.
    """
    if count < 1:
        raise ValueError("no frames to choose from")
    return (2 * np.arange(wanted) + 1) * count // (2 * wanted)


def draw(candidates: int, frames: int, how: str, rng: np.random.Generator, clips: int) -> np.ndarray:
    """Which candidates each of `clips` readings sees: an int array (clips, frames), each row in time order.

    `segments`: one at random from each of `frames` equal stretches. `random`: any, without repeats, as in the original
    study.
    """
    if how == "random":
        return np.sort(rng.random((clips, candidates)).argsort(1)[:, :frames], axis=1)
    edges = np.arange(frames + 1) * candidates // frames
    return rng.integers(edges[:-1], edges[1:], size=(clips, frames))


def reading(candidates: int, frames: int, how: str, seed: int, clip: str) -> np.ndarray:
    """The one reading of a clip that stays the same whenever it is asked for: an int array (frames,).

    `segments`: the middle of each stretch. `random`: drawn once, by the seed and the name of the clip's file.
    """
    if how == "segments":
        return evenly(candidates, frames)
    return draw(candidates, frames, how, keyed_rng(seed, "reading", clip.rpartition("/")[2]), 1)[0]


def keyed_rng(seed: int, *key: object) -> np.random.Generator:
    """A generator that depends on the seed and on what it is for (a clip, a look, an epoch), not on any order."""
    return np.random.default_rng([seed, *"\0".join(map(str, key)).encode()])
