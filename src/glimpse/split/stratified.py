"""Dividing groups into parts: stratified by action, by shares, the same for the same names, steady when clips come.

Every group has an order of preference among the parts that follows from the seed and its name alone. Groups choose in
a fixed order, and take the part they like best among those that still lack clips of their actions. A group that is
added later displaces at most a few others.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

Part = TypeVar("Part", bound=Hashable)
ClassCounts = dict[str, dict[str, int]]  # {group: {action: clips}}


def assign_groups(holdings: ClassCounts, shares: dict[Part, float], seed: int | str) -> dict[str, Part]:
    """Which part each group belongs to: {group: part}.

    `shares`: {part: share of the clips}, summing to 1. A part lacks clips of a group's actions if the group brings
    their counts closer to its shares. Where no part does, the group goes where it disturbs the shares least.
    """
    totals: Counter[str] = Counter()
    for held in holdings.values():
        totals.update(held)
    filled: dict[Part, Counter[str]] = {part: Counter() for part in shares}

    def cost(group: str, part: Part) -> float:
        """How much farther from its shares the part would be with this group in it; below 0 if nearer."""
        change = 0.0
        for action, clips in holdings[group].items():
            gap = filled[part][action] - shares[part] * totals[action]
            change += ((gap + clips) ** 2 - gap**2) / totals[action] ** 2
        return change

    parts = {}
    for group in sorted(holdings, key=lambda group: _hash_uniform(seed, "order", group)):
        liked = sorted(shares, key=lambda part: -math.log(_hash_uniform(seed, group, part)) / shares[part])
        lacking = [part for part in liked if cost(group, part) < -1e-12]
        parts[group] = lacking[0] if lacking else min(liked, key=lambda part: round(cost(group, part), 9))
        filled[parts[group]].update(holdings[group])
    _ensure_every_class(parts, holdings, shares, seed)
    return parts


def class_counts_by_group(actions: Iterable[str], groups: Iterable[str]) -> ClassCounts:
    """How many clips of each action each group holds, from those of each clip."""
    holdings: ClassCounts = {}
    for action, group in zip(actions, groups, strict=True):
        counts = holdings.setdefault(group, {})
        counts[action] = counts.get(action, 0) + 1
    return holdings


def fold_split(
    holdings: ClassCounts, folds: int, fold: int, val: float, seed: int, val_seed: int | str
) -> dict[str, str]:
    """The part of each group where one of the folds is the test, and `val` the share that val takes of the rest."""
    fold_of = assign_groups(holdings, {number: 1 / folds for number in range(folds)}, f"{seed} folds")
    rest = {group: held for group, held in holdings.items() if fold_of[group] != fold}
    return dict.fromkeys(holdings, "test") | assign_groups(rest, {"train": 1 - val, "val": val}, val_seed)


def _ensure_every_class(parts: dict[str, Part], holdings: ClassCounts, shares: Iterable[Part], seed: int | str) -> None:
    """Give every part a group of each action, in place, where another part can spare one."""
    for action in sorted({action for held in holdings.values() for action in held}):
        for part in shares:
            owners = [group for group in parts if action in holdings[group]]
            if any(parts[group] == part for group in owners):
                continue
            spare = [group for group in owners if _can_move(group, parts, holdings)]
            if spare:
                liked = min(spare, key=lambda group: -math.log(_hash_uniform(seed, group, part)))
                parts[liked] = part


def _can_move(group: str, parts: Mapping[str, Hashable], holdings: ClassCounts) -> bool:
    """Whether a group's part has other groups for each of the group's actions."""
    mates = [other for other in parts if parts[other] == parts[group] and other != group]
    return all(any(action in holdings[mate] for mate in mates) for action in holdings[group])


def _hash_uniform(seed: int | str, *key: object) -> float:
    """A number in (0, 1) that depends on the seed and the key alone."""
    digest = hashlib.sha256("\0".join(map(str, [seed, *key])).encode()).digest()
    return (int.from_bytes(digest[:8], "big") + 0.5) / 2**64
