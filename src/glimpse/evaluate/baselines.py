"""Controls: what a score must beat, and what the all10 model makes of less than it was trained to read.

None needs a training. A model shown other frames than in training may do worse than one trained on them would: these
figures say what this model uses, not what the frames hold.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from glimpse.core.frame_store import FrameStore
from glimpse.core.sampling import evenly_spaced, keyed_rng
from glimpse.core.splits import Split
from glimpse.evaluate.intervals import accuracy_score

if TYPE_CHECKING:
    from glimpse.inference.torch_recognizer import TorchRecognizer

SHUFFLES = 5  # orders of each clip's frames, whose mean counts


def correct_from(
    recognizer: "TorchRecognizer", part: Split, features: np.ndarray, frames: FrameStore, positions: np.ndarray
) -> np.ndarray:
    """Which clips of a part are recognized from these candidates (clips, n): bool (clips,)."""
    return recognizer.predict_split(part, features, frames, positions)[:, -1].argmax(1) == part.labels


def shuffled(positions: np.ndarray, clips: Iterable[str], seed: int, number: int) -> np.ndarray:
    """The positions (clips, n) of each clip in another order, which the seed, the clip and the number say."""
    rngs = [keyed_rng(seed, "shuffle", number, clip.rpartition("/")[2]) for clip in clips]
    return np.stack([rng.permutation(row) for rng, row in zip(rngs, positions, strict=True)])


def correct_by_baseline(
    recognizer: "TorchRecognizer", part: Split, few: int, features: np.ndarray, frames: FrameStore, seed: int
) -> dict[str, np.ndarray]:
    """{control: how far each clip is right, from 0 to 1 (clips,)} of a model shown one frame, no order, `few` frames.

    `features`: the stored ones; `frames`: the stored frames, for a tuned model.
    """
    read = np.stack([recognizer.positions(clip) for clip in part.clips])
    middle = np.full((len(read), 1), evenly_spaced(recognizer.config.candidates, 1)[0])
    orders = [shuffled(read, part.clips, seed, number) for number in range(SHUFFLES)]

    def right(positions: np.ndarray) -> np.ndarray:
        return correct_from(recognizer, part, features, frames, positions)

    return {
        "middle": right(middle).astype(float),
        "shuffled": np.mean([right(order) for order in orders], axis=0),
        "spread": right(read[:, evenly_spaced(read.shape[1], few)]).astype(float),
    }


def baselines_table(
    found: dict[str, np.ndarray], part: Split, train_actions: np.ndarray, names: list[str], few: int
) -> pd.DataFrame:
    """The table of controls, from what `rights` found: control, accuracy, low, high, n, what.

    The interval of chance is empty: it is known, not measured.
    """
    groups, counts = np.array(part.groups), np.bincount(train_actions, minlength=len(names))
    usual, alone = counts.argmax(), (counts == counts.max()).sum() == 1
    what = {
        "majority": f"always {names[usual]}" + (", the action that training has most of" if alone else ""),
        "middle": "all10's model, the middle frame alone",
        "shuffled": f"all10's model, all its frames in other orders, mean of {SHUFFLES}",
        "spread": f"all10's model, {few} frames spread over the whole clip",
    }
    n = len(part.clips)
    rows = [{"control": "chance", "accuracy": 1 / len(names), "n": n, "what": f"guessing among {len(names)} actions"}]
    for control, right in {"majority": part.labels == usual, **found}.items():
        score = accuracy_score(right, groups)
        row = {"control": control, "accuracy": score.value, "low": score.low, "high": score.high}
        rows.append(row | {"n": n, "what": what[control]})
    return pd.DataFrame(rows, columns=["control", "accuracy", "low", "high", "n", "what"])
