"""Leaks: clips of different groups that look alike, or that file names put together, and what they do to the test.

Pairs make clusters: what is like one of a pair is taken for like the other too.
"""

from collections.abc import Collection, Iterable
from typing import Any

import pandas as pd

COLUMNS = ["clip", "like", "why", "parts", "done"]
LOOKS_ALIKE = "looks alike"


def connected_components(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What each thing in `pairs` is connected to, as {thing: the first of its cluster in sorted order}."""
    first_of: dict[str, str] = {}

    def first(thing: str) -> str:
        while first_of.setdefault(thing, thing) != thing:
            thing = first_of[thing]
        return thing

    for one, other in pairs:
        low, high = sorted((first(one), first(other)))
        first_of[high] = low
    return {thing: first(thing) for thing in list(first_of)}


def merge_groups(groups: Collection[str], clips: Iterable[str], pairs: Iterable[tuple[str, str]]) -> list[str]:
    """The group of each clip after groups that hold clips of one pair have become one, named after the first of them.

    `groups` and `clips` go together; `pairs`: [(clip, clip)].
    """
    group_of = dict(zip(clips, groups, strict=True))
    names = connected_components((group_of[one], group_of[other]) for one, other in pairs)
    return [names.get(group, group) for group in groups]


def find_leaks(
    table: pd.DataFrame, pairs: Iterable[tuple[str, str]], told: dict[str, list[str]], done: str
) -> pd.DataFrame:
    """The rows of data/leaks.csv: pairs of clips that belong together and were, or are, apart; sorted.

    `table`: clip, before (its group before any were joined), group and part, "" outside official lists. `pairs`:
    [(clip, clip)] that look alike, which are `done` ("joined" or "reported"). `told`: {rule: the group of each clip
    that names tell}; there, each clip beyond the first of a group that is torn apart gets a row.
    """
    clip = {row.clip: row for row in table.itertuples()}
    alike = [(clip[one], clip[other]) for one, other in pairs]
    rows = [_row(*pair, LOOKS_ALIKE, done) for pair in alike if pair[0].before != pair[1].before or _split_names(*pair)]
    for why, groups in told.items():
        held: dict[str, list] = {}
        for one, group in zip(clip.values(), groups, strict=True):
            held.setdefault(group, []).append(one)
        for mates in held.values():
            first, *others = sorted(mates, key=lambda one: (one.part == "", one.clip))
            far = [one for one in others if one.group != first.group or _split_names(one, first)]
            rows += [_row(one, first if one in far else far[0], why, "reported") for one in others if far]
    return pd.DataFrame(sorted(rows), columns=COLUMNS)


def _split_names(one: Any, other: Any) -> bool:
    """Whether two clips stand in different parts; within a group that takes official lists."""
    return bool(one.part and other.part) and one.part != other.part


def _row(one: Any, other: Any, why: str, done: str) -> tuple[str, ...]:
    one, other = sorted((one, other), key=lambda row: row.clip)
    return one.clip, other.clip, why, f"{one.part}/{other.part}", done


def leaked_test_clips(leaks: pd.DataFrame) -> set[str]:
    """The test clips that look like, or are named like, clips of train or val: a set, from data/leaks.csv as a table.

    Like counts on over the pairs in the table.
    """
    exposed: set[str] = set()
    for _, rows in leaks.groupby("why"):
        part_of = {}
        for row in rows.itertuples():
            part_of[row.clip], part_of[row.like] = row.parts.split("/")
        cluster_of = connected_components(zip(rows["clip"], rows["like"], strict=True))
        seen = {cluster_of[clip] for clip, part in part_of.items() if part in ("train", "val")}
        exposed |= {clip for clip, part in part_of.items() if part == "test" and cluster_of[clip] in seen}
    return exposed


def warning_text(leaks: pd.DataFrame, tests: int, cure: tuple[str, str]) -> str:
    """What a person must know of the reported pairs, in one line; "" if there are none.

    `tests`: how many test clips there are. `cure`: what to set where clips look alike, and where they are named alike
    ("" where official lists have it so).
    """
    reported = leaks[leaks["done"] == "reported"]
    exposed, looks = leaked_test_clips(reported), reported["why"] == LOOKS_ALIKE
    if reported.empty:
        return ""
    if not exposed:
        return f"{len(reported)} pairs of clips that belong together stand apart, none across the test: data/leaks.csv"
    kinds = [(looks, "look like", cure[0]), (~looks, "are named like", cure[1])]
    words, sets = zip(*[(word, to) for kind, word, to in kinds if leaked_test_clips(reported[kind])], strict=True)
    likeness = words[0] if len(words) == 1 else f"{', or '.join(words)},"
    do = f"Set {' and '.join(sets)}" if all(sets) else "The official lists have it so"
    return (
        f"WARNING: {len(exposed)} of {tests} test clips {likeness} clips the training sees (data/leaks.csv): their "
        f"scores will flatter. {do}"
    )
