"""Which frames are used: stored frames spread evenly over a clip, and the few that are sampled from them."""

import numpy as np


def evenly_spaced(count: int, num: int) -> np.ndarray:
    """Positions of `num` frames spread evenly over `count`, each in the middle of its equal segment.

    Returns an int array (num,) in rising order; positions repeat where count < num. Raises ValueError for count 0.
    """
    if count < 1:
        raise ValueError("no frames to choose from")
    return (2 * np.arange(num) + 1) * count // (2 * num)


def sample_frames(candidates: int, frames: int, sampling: str, rng: np.random.Generator, clips: int) -> np.ndarray:
    """Sample stored frames for each of `clips` clips: an int array (clips, frames), each row in time order.

    `segments`: one at random from each of `frames` equal segments (temporal segment networks, Wang et al. 2016).
    `random`: any, without repeats, as in the original study.
    """
    if sampling == "random":
        return np.sort(rng.random((clips, candidates)).argsort(1)[:, :frames], axis=1)
    edges = np.arange(frames + 1) * candidates // frames
    return rng.integers(edges[:-1], edges[1:], size=(clips, frames))


def eval_frames(candidates: int, frames: int, sampling: str, seed: int, clip: str) -> np.ndarray:
    """The fixed sample of a clip for validation, test and prediction: an int array (frames,).

    `segments`: the middle of each segment. `random`: drawn once, from the seed and the name of the clip's file.
    """
    if sampling == "segments":
        return evenly_spaced(candidates, frames)
    return sample_frames(candidates, frames, sampling, keyed_rng(seed, "reading", clip.rpartition("/")[2]), 1)[0]


def keyed_rng(seed: int, *key: object) -> np.random.Generator:
    """A random generator that depends on the seed and a key (clip, view, epoch) alone, not on any order of calls."""
    return np.random.default_rng([seed, *"\0".join(map(str, key)).encode()])
