"""Assigns groups to splits: stratified by action, by share, and stable when clips are added.

Each group prefers the splits in an order that follows from the seed and its name alone. Groups choose in a fixed order,
and take the split they prefer among those that still lack clips of their actions. So a group that is added later moves
at most a few others.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)  # of a split, or the number of a fold
ClassCounts = dict[str, dict[str, int]]  # {group: {action: number of clips}}


def assign_groups(class_counts: ClassCounts, shares: dict[Name, float], seed: int | str) -> dict[str, Name]:
    """Assign each group to a split: {group: split}.

    shares: {split: fraction of the clips}, which sum to 1. A split lacks clips of a group if the group brings the
    split's class counts closer to its shares. If no split does, the group goes where it increases the error least.
    """
    totals = sum(map(Counter, class_counts.values()), Counter[str]())
    assigned: dict[Name, Counter[str]] = {split: Counter() for split in shares}

    def cost(group: str, split: Name) -> float:
        """Change of the squared error of the split's class counts if it gets this group; negative: closer."""
        change = 0.0
        for action, clips in class_counts[group].items():
            error = assigned[split][action] - shares[split] * totals[action]
            change += ((error + clips) ** 2 - error**2) / totals[action] ** 2
        return change

    splits = {}
    for group in sorted(class_counts, key=lambda group: _hash_uniform(seed, "order", group)):
        preferred = sorted(shares, key=lambda split: -math.log(_hash_uniform(seed, group, split)) / shares[split])
        lacking = [split for split in preferred if cost(group, split) < -1e-12]
        splits[group] = lacking[0] if lacking else min(preferred, key=lambda split: round(cost(group, split), 9))
        assigned[splits[group]].update(class_counts[group])
    _ensure_every_class(splits, class_counts, shares, seed)
    return splits


def class_counts_by_group(actions: Iterable[str], groups: Iterable[str]) -> ClassCounts:
    """Number of clips of each action in each group, from the action and group of each clip."""
    class_counts: ClassCounts = {}
    for action, group in zip(actions, groups, strict=True):
        class_counts.setdefault(group, Counter())[action] += 1
    return class_counts


def fold_split(
    class_counts: ClassCounts, folds: int, fold: int, val: float, seed: int, val_seed: int | str
) -> dict[str, str]:
    """Assign the groups of one of `folds` folds to test, and the others to train and val (fraction `val`)."""
    folds_by_group = assign_groups(class_counts, {number: 1 / folds for number in range(folds)}, f"{seed} folds")
    rest = {group: counts for group, counts in class_counts.items() if folds_by_group[group] != fold}
    return dict.fromkeys(class_counts, "test") | assign_groups(rest, {"train": 1 - val, "val": val}, val_seed)


def _ensure_every_class(
    splits: dict[str, Name], class_counts: ClassCounts, names: Iterable[Name], seed: int | str
) -> None:
    """Give every split a group of each action, in place, where another split has one to spare."""
    for action in sorted({action for counts in class_counts.values() for action in counts}):
        for split in names:
            groups = [group for group in splits if action in class_counts[group]]
            lacking = all(splits[group] != split for group in groups)
            movable = [group for group in groups if lacking and _can_move(group, splits, class_counts)]
            if movable:
                splits[max(movable, key=lambda group: _hash_uniform(seed, group, split))] = split


def _can_move(group: str, splits: Mapping[str, Hashable], class_counts: ClassCounts) -> bool:
    """Whether the split of a group has other groups for each action of the group."""
    others = [other for other in splits if splits[other] == splits[group] and other != group]
    return all(any(action in class_counts[other] for other in others) for action in class_counts[group])


def _hash_uniform(seed: int | str, *key: object) -> float:
    """A number in (0, 1) that depends on the seed and the key alone."""
    digest = hashlib.sha256("\0".join(map(str, [seed, *key])).encode()).digest()
    return (int.from_bytes(digest[:8], "big") + 0.5) / 2**64
