"""Baselines: chance, the most frequent action, and all10 given less than the frames it was trained on.

None needs training. A model trained on such frames could do better: these baselines show what this model uses, not
what the frames contain.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from glimpse.core.frame_store import FrameStore
from glimpse.core.sampling import evenly_spaced, keyed_rng
from glimpse.core.splits import Split
from glimpse.evaluate.intervals import accuracy_score
from glimpse.inference.torch_recognizer import TorchRecognizer

SHUFFLES = 5  # random frame orders per clip, over which correctness is averaged


def shuffle_frames(positions: np.ndarray, clips: Iterable[str], seed: int, shuffle: int) -> np.ndarray:
    """Permute each clip's positions (clips, frames); the order depends on seed, file name and shuffle number alone."""
    rngs = [keyed_rng(seed, "shuffle", shuffle, clip.rpartition("/")[2]) for clip in clips]
    return np.stack([rng.permutation(row) for rng, row in zip(rngs, positions, strict=True)])


def correct_by_baseline(
    recognizer: TorchRecognizer, split: Split, num_frames: int, features: np.ndarray, store: FrameStore, seed: int
) -> dict[str, np.ndarray]:
    """Correctness of each clip, 0 to 1 (clips,), of a model given other frames, by baseline.

    middle_frame: one frame; shuffled_frames: its frames in random order; evenly_spaced_frames: `num_frames` of them.
    `features`: the stored ones; `store`: the stored frames, for a fine-tuned backbone.
    """
    positions = np.stack([recognizer.positions(clip) for clip in split.clips])
    middle = np.full((len(positions), 1), evenly_spaced(recognizer.config.candidates, 1)[0])
    orders = [shuffle_frames(positions, split.clips, seed, shuffle) for shuffle in range(SHUFFLES)]

    def correct(positions: np.ndarray) -> np.ndarray:
        return recognizer.predict_split(split, features, store, positions)[:, -1].argmax(1) == split.labels

    return {
        "middle_frame": correct(middle),
        "shuffled_frames": np.mean([correct(order) for order in orders], axis=0),
        "evenly_spaced_frames": correct(positions[:, evenly_spaced(positions.shape[1], num_frames)]),
    }


def baselines_table(
    correct: dict[str, np.ndarray], split: Split, train_labels: np.ndarray, class_names: list[str], num_frames: int
) -> pd.DataFrame:
    """Accuracy of all baselines, from `correct_by_baseline`: baseline, description, accuracy, low, high, n.

    Chance is known exactly and has no interval.
    """
    counts = np.bincount(train_labels, minlength=len(class_names))
    majority, unique = counts.argmax(), (counts == counts.max()).sum() == 1
    descriptions = {
        "majority": f"always {class_names[majority]}" + (", the most frequent action of train" if unique else ""),
        "middle_frame": "all10 given the middle frame alone",
        "shuffled_frames": f"all10 given its frames in random order, mean of {SHUFFLES} orders",
        "evenly_spaced_frames": f"all10 given {num_frames} frames evenly spaced over the clip",
    }
    rows = [("chance", f"uniform guess among {len(class_names)} actions", 1 / len(class_names), np.nan, np.nan)]
    for baseline, values in {"majority": split.labels == majority, **correct}.items():
        score = accuracy_score(values, split.groups)
        rows.append((baseline, descriptions[baseline], score.value, score.low, score.high))
    return pd.DataFrame(rows, columns=["baseline", "description", "accuracy", "low", "high"]).assign(n=len(split.clips))
