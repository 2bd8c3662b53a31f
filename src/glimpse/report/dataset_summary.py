"""Summary of the data set: clips and groups of each action in each split, clip lengths, frame sizes, long lists."""

from dataclasses import dataclass

import pandas as pd

from glimpse.core.splits import SPLITS

MAX_ROWS = 25  # rows of a long table that are shown


@dataclass(frozen=True)
class HeadRows:
    """The first rows of a table, and how many it has in all."""

    rows: list[dict]
    total: int

    @property
    def hidden(self) -> int:
        """Number of rows that are not shown."""
        return self.total - len(self.rows)


def head_rows(table: pd.DataFrame) -> HeadRows:
    """The rows of a table that the page shows."""
    return HeadRows(table.head(MAX_ROWS).to_dict("records"), len(table))


def class_table(clips: pd.DataFrame, split: pd.DataFrame) -> list[dict]:
    """A row for all actions and one for each: clips, groups, clips per split, shortest, median and longest seconds.

    clips: clip, seconds (NaN where unknown); split: clip, action, group, split.
    """
    table = split.merge(clips[["clip", "seconds"]], on="clip")
    rows: list[dict] = []
    for name, members in [("", table), *table.groupby("action")]:
        seconds, counts = members["seconds"], members["split"].value_counts()
        row = {"action": name, "all": not rows, "clips": len(members), "groups": members["group"].nunique()}
        row |= {split_name: int(counts.get(split_name, 0)) for split_name in SPLITS}
        rows.append(row | {"shortest": seconds.min(), "median": seconds.median(), "longest": seconds.max()})
    return rows


def groups_in_several_splits(split: pd.DataFrame) -> int:
    """How many groups have clips in several splits, as official lists may: from columns group, split."""
    return int((split.groupby("group")["split"].nunique() > 1).sum())


def frame_sizes(clips: pd.DataFrame) -> list[tuple[str, int]]:
    """The frame sizes "width x height" and how many clips have each, the most frequent first."""
    counts = (clips["width"] + " x " + clips["height"]).value_counts()
    return sorted(((str(size), int(count)) for size, count in counts.items()), key=lambda item: (-item[1], item[0]))
