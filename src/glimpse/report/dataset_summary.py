"""The health of a data set: what it holds of each action, how long its clips are, what is rejected and what leaks."""

from dataclasses import dataclass

import pandas as pd

PARTS = ("train", "val", "test")
MAX_ROWS = 25  # rows of a long list that are shown


@dataclass(frozen=True)
class HeadRows:
    """The first rows of a table, and how many more it has."""

    rows: list[dict]
    more: int

    @property
    def all(self) -> int:
        """How many rows the table has."""
        return len(self.rows) + self.more


def head_rows(table: pd.DataFrame) -> HeadRows:
    """What a page shows of a table that may be long."""
    return HeadRows(table.head(MAX_ROWS).to_dict("records"), max(0, len(table) - MAX_ROWS))


def class_table(clips: pd.DataFrame, split: pd.DataFrame) -> list[dict]:
    """A row for all actions and one for each: clips by part, groups, shortest, median and longest clip in seconds.

    clips: clip, seconds (NaN where unknown); split: clip, action, group, part ("" for a clip that is left out).
    """
    table = split.merge(clips[["clip", "seconds"]], on="clip")
    every = [("all", table), *table.groupby("action")]
    rows = []
    for number, (name, held) in enumerate(every):
        seconds = held["seconds"]
        row = {"action": name, "all": number == 0, "clips": len(held), "groups": held["group"].nunique()}
        row |= {part: int((held["part"] == part).sum()) for part in PARTS}
        rows.append(row | {"shortest": seconds.min(), "median": seconds.median(), "longest": seconds.max()})
    return rows


def split_groups_across(split: pd.DataFrame) -> int:
    """How many groups stand in more than one part, as official lists may have it: from clip, action, group, part."""
    return int((split[split["part"] != ""].groupby("group")["part"].nunique() > 1).sum())


def sizes(clips: pd.DataFrame) -> list[tuple[str, int]]:
    """The picture sizes of the clips and how many have each, the most frequent first."""
    counts = (clips["width"] + " x " + clips["height"]).value_counts()
    return sorted(((str(size), int(count)) for size, count in counts.items()), key=lambda one: (-one[1], one[0]))
