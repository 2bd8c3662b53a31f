"""Early recognition: how often a model is right after 1, 2, … frames, and how much of a clip that is."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from glimpse.core.splits import Split
from glimpse.evaluate.intervals import accuracy_score


def observation_ratio(positions: np.ndarray, candidates: int) -> np.ndarray:
    """The share of a clip seen after each frame, (clips, frames), from the candidates' positions that are read.

    A candidate stands in the middle of its stretch of the clip, so that the last of 20 is at 0.975.
    """
    return (positions + 0.5) / candidates


def accuracy_by_frames(beliefs: dict[str, np.ndarray], part: Split, seen: np.ndarray) -> pd.DataFrame:
    """A row for each number of frames: accuracy and interval of each approach, and the mean share of the clip seen.

    `beliefs`: {approach: (clips, frames, actions)} of the part's clips; `seen`: (clips, frames) of the longest. The
    answer of an approach that reads no more frames stands. Columns: frames, first5, all10, seen, first5_low, ….
    """
    actions, groups = part.labels, np.array(part.groups)
    rows = []
    for frame in range(seen.shape[1]):
        last = {approach: belief[:, min(frame, belief.shape[1] - 1)] for approach, belief in beliefs.items()}
        found = {approach: accuracy_score(one.argmax(1) == actions, groups) for approach, one in last.items()}
        row = {"frames": frame + 1} | {approach: score.value for approach, score in found.items()}
        row["seen"] = float(seen[:, frame].mean())
        for approach, score in found.items():
            row |= {f"{approach}_low": score.low, f"{approach}_high": score.high}
        rows.append(row)
    return pd.DataFrame(rows)


def accuracy_by_frames_per_action(
    beliefs: dict[str, np.ndarray], part: Split, seen: np.ndarray, names: Iterable[str]
) -> pd.DataFrame:
    """The rows of `early` for each action by itself: columns action, clips, then those."""
    tables = []
    for number, name in enumerate(names):
        its = part.labels == number
        table = accuracy_by_frames(
            {approach: belief[its] for approach, belief in beliefs.items()}, part.select(its), seen[its]
        )
        table.insert(0, "action", name)
        table.insert(1, "clips", int(its.sum()))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)
