"""Leakage: clips of different groups that are near duplicates, or related by name, and so expose test clips.

Being related is transitive: two clips that are related to a third one are related to each other.
"""

from collections.abc import Iterable
from itertools import chain
from typing import Any

import pandas as pd
from scipy.cluster.hierarchy import DisjointSet

COLUMNS = ["clip", "other", "reason", "splits", "handling"]
NEAR_DUPLICATE = "near duplicate"


def connected_components(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The first item, in sorted order, of the connected component of each item in `pairs`."""
    pairs = list(pairs)
    components = DisjointSet(chain.from_iterable(pairs))
    for pair in pairs:
        components.merge(*pair)
    return {item: first for component in components.subsets() for first in [min(component)] for item in component}


def merge_groups(groups: Iterable[str], clips: Iterable[str], pairs: Iterable[tuple[str, str]]) -> list[str]:
    """The group of each clip after merging groups that contain near duplicates; merged ones get the first name.

    groups, clips: one item per clip, in the same order. pairs: near-duplicate clips.
    """
    group_of_clip = dict(zip(clips, groups, strict=True))
    merged = connected_components((group_of_clip[a], group_of_clip[b]) for a, b in pairs)
    return [merged.get(group, group) for group in group_of_clip.values()]


def find_leaks(
    table: pd.DataFrame, pairs: Iterable[tuple[str, str]], name_groups: dict[str, list[str]], handling: str
) -> pd.DataFrame:
    """The rows of data/leaks.csv, sorted: pairs of related clips from different groups or splits.

    table: columns clip, original_group (before merging), group and split ("" for clips in no official list).
    pairs: near duplicates, whose `handling` is "merged" or "reported". name_groups: {rule: group of each clip, by its
    name}; each clip beyond the first of such a group gets a row if the group is not together.
    """
    clips = {clip.clip: clip for clip in table.itertuples()}
    rows = [
        _row(a, b, NEAR_DUPLICATE, handling)
        for a, b in ((clips[a], clips[b]) for a, b in pairs)
        if a.original_group != b.original_group or _in_different_splits(a, b)
    ]
    for rule, groups in name_groups.items():
        members: dict[str, list] = {}
        for clip, group in zip(clips.values(), groups):
            members.setdefault(group, []).append(clip)
        for related in members.values():
            first, *others = sorted(related, key=lambda clip: (clip.split == "", clip.clip))
            separate = [c for c in others if c.group != first.group or _in_different_splits(c, first)]
            if separate:
                rows += [_row(c, first if c in separate else separate[0], rule, "reported") for c in others]
    return pd.DataFrame(sorted(rows), columns=COLUMNS)


def _in_different_splits(a: Any, b: Any) -> bool:
    """Whether two clips are in different splits; for clips of one group only official lists do that."""
    return bool(a.split and b.split) and a.split != b.split


def _row(a: Any, b: Any, reason: str, handling: str) -> tuple[str, ...]:
    a, b = sorted((a, b), key=lambda clip: clip.clip)
    return a.clip, b.clip, reason, f"{a.split}/{b.split}", handling


def leaked_test_clips(leaks: pd.DataFrame) -> set[str]:
    """Test clips that are related to a clip of train or val, directly or over other pairs with the same reason."""
    leaked: set[str] = set()
    for _, pairs in leaks.groupby("reason"):
        splits = {c: s for row in pairs.itertuples() for c, s in zip((row.clip, row.other), row.splits.split("/"))}
        component = connected_components(zip(pairs["clip"], pairs["other"]))
        seen = {component[clip] for clip, split in splits.items() if split in ("train", "val")}
        leaked |= {clip for clip, split in splits.items() if split == "test" and component[clip] in seen}
    return leaked


def warning_text(leaks: pd.DataFrame, test_clips: int, groups_setting: str, official: bool) -> str:
    """One line about the reported pairs; "" if there are none.

    test_clips: number of clips in test; groups_setting: what to set against relations by name; official: with lists.
    """
    reported = leaks[leaks["handling"] == "reported"]
    if reported.empty:
        return ""
    leaked = leaked_test_clips(reported)
    if not leaked:
        pairs = f"{len(reported)} pairs of related clips are in different groups or splits"
        return f"{pairs}, but no test clip is related to train or val: data/leaks.csv"
    duplicates = reported["reason"] == NEAR_DUPLICATE
    causes = {"near duplicates of": "split.near_duplicates to merge", "related by name to": groups_setting}
    related = reported[duplicates], reported[~duplicates]
    causes = {cause: setting for (cause, setting), rows in zip(causes.items(), related) if leaked_test_clips(rows)}
    remedy = "Official lists are never changed" if official else f"Set {' and '.join(causes.values())}"
    return (
        f"WARNING: {len(leaked)} of {test_clips} test clips are {' or '.join(causes)} clips of train or val "
        f"(data/leaks.csv): their scores are too high. {remedy}"
    )
