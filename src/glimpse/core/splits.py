"""The clips of train, val and test, as the stages after `split` use them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glimpse.core.tables import read_table


@dataclass
class Part:
    """The clips of one part: their groups, rows in clips.csv (and so in features.npy), and numbers of actions."""

    clips: list[str]
    groups: list[str]
    rows: np.ndarray  # int (clips,)
    actions: np.ndarray  # int64 (clips,)

    def only(self, which: np.ndarray) -> "Part":
        """The part with some of its clips: bool (clips,)."""
        chosen = np.flatnonzero(which)
        clips, groups = [self.clips[number] for number in chosen], [self.groups[number] for number in chosen]
        return Part(clips, groups, self.rows[chosen], self.actions[chosen])

    def __add__(self, other: "Part") -> "Part":
        """The clips of both parts."""
        rows, actions = (np.concatenate(both) for both in ((self.rows, other.rows), (self.actions, other.actions)))
        return Part(self.clips + other.clips, self.groups + other.groups, rows, actions)


def load_parts(
    wanted: Iterable[str], clips_csv: Path | str = "data/clips.csv", split_csv: Path | str = "data/split.csv"
) -> tuple[list[str], dict[str, Part]]:
    """The names of the actions in their order, and {"train": Part, …}, among them the `wanted` parts."""
    row_of = {clip: row for row, clip in enumerate(read_table(clips_csv, ["clip"])["clip"])}
    split = read_table(split_csv, ["clip", "action", "group", "part"])
    unknown = [clip for clip in split["clip"] if clip not in row_of]
    if unknown:
        raise SystemExit(f"{split_csv}: {unknown[0]} is not in {clips_csv}: run `dvc repro split`")
    names = sorted(split["action"].unique())
    parts = {}
    for part, held in split.groupby("part"):
        clips = held["clip"].tolist()
        rows = np.array([row_of[clip] for clip in clips])
        numbers = np.array([names.index(action) for action in held["action"]], dtype=np.int64)
        parts[part] = Part(clips, held["group"].tolist(), rows, numbers)
    for part in wanted:
        if part not in parts:
            raise SystemExit(f"{split_csv}: has no clips of the part {part}: run `dvc repro split`")
    return names, parts
