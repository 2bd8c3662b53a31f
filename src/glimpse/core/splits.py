"""The clips of train, val and test, as the stages after `split` use them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glimpse.core.files import read_table

SPLITS = ("train", "val", "test")


@dataclass
class Split:
    """The clips of one split: names, groups, rows in clips.csv (and so in features.npy), and class indices."""

    clips: list[str]
    groups: list[str]
    rows: np.ndarray  # int (clips,)
    labels: np.ndarray  # int64 (clips,)

    def select(self, mask: np.ndarray) -> "Split":
        """The clips where `mask`, bool (clips,), is true."""
        chosen = np.flatnonzero(mask)
        clips, groups = [self.clips[index] for index in chosen], [self.groups[index] for index in chosen]
        return Split(clips, groups, self.rows[chosen], self.labels[chosen])

    def __add__(self, other: "Split") -> "Split":
        """The clips of both splits."""
        rows, labels = np.concatenate([self.rows, other.rows]), np.concatenate([self.labels, other.labels])
        return Split(self.clips + other.clips, self.groups + other.groups, rows, labels)


def load_splits(
    required: Iterable[str], clips_csv: Path | str = "data/clips.csv", split_csv: Path | str = "data/split.csv"
) -> tuple[list[str], dict[str, Split]]:
    """Load the class names in their order, and {"train": Split, …}; the `required` splits must be there."""
    row_of_clip = {clip: row for row, clip in enumerate(read_table(clips_csv, ["clip"])["clip"])}
    table = read_table(split_csv, ["clip", "action", "group", "split"])
    unknown = [clip for clip in table["clip"] if clip not in row_of_clip]
    if unknown:
        raise SystemExit(f"{split_csv}: {unknown[0]} is not in {clips_csv}: run `dvc repro split`")
    class_names = sorted(table["action"].unique())
    splits = {}
    for name, rows in table.groupby("split"):
        clips = rows["clip"].tolist()
        labels = np.array([class_names.index(action) for action in rows["action"]], dtype=np.int64)
        splits[str(name)] = Split(
            clips, rows["group"].tolist(), np.array([row_of_clip[clip] for clip in clips]), labels
        )
    for name in required:
        if name not in splits:
            raise SystemExit(f"{split_csv}: has no clips of the split {name}: run `dvc repro split`")
    return class_names, splits
