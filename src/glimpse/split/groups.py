"""Groups: who or what a clip shares with others (a person, a source video), told from where it is or what it is called.

A group never straddles the split, because a model that knows the person or the scene already has seen the answer.
"""

import re
from collections.abc import Iterable

# Naming rules of public data sets: a clip's group is what the brackets hold. Tried in this order; one must fit every
# clip. `action` stands for the name of the clip's folder, its spaces and underscores counting alike.
NAMING_RULES = {
    "UCF101 (action and gNN)": r"(v_.+_g\d+)_c\d+",
    "KTH (personNN)": r"(person\d+)_.+_d\d+.*",
    "HMDB51 (the name before the action)": r"(.+)_{action}_[fuhl]_(?:cm|nm)_np\d+_(?:ba|le|fr|ri)_(?:bad|med|goo)_\d+",
    "Weizmann (the first word is the actor)": r"([^_]+)_{action}(?:_?\d+)?",
}
MIN_GROUPS = 3  # groups in each action: one each for train, val and test

NamedGroups = list[tuple[str, str, str]]  # clip, action and folder of each clip


def assign_group_names(clips: Iterable, rule: str, by_hand: dict[str, str]) -> tuple[list[str], str]:
    """The group of each clip, and the rule in words.

    `clips`: rows with clip, action and folder. `rule`: the setting split.group_by. `by_hand`: {clip: group} from
    data/groups.csv, which comes first. With the rule `auto` the subfolder tells, else a naming rule that fits.
    """
    named = _named(clips)
    if by_hand:
        missing = [clip for clip, _, _ in named if clip not in by_hand]
        if missing:
            raise SystemExit(f"data/groups.csv: no group for {_examples(missing)}: every clip needs a row clip,group")
        return [by_hand[clip] for clip, _, _ in named], "data/groups.csv"
    if rule == "none":
        return [clip for clip, _, _ in named], "each clip alone (split.group_by is none)"
    if rule != "auto":
        return _by_pattern([clip for clip, _, _ in named], rule), f"split.group_by {rule}"
    if all(folder for _, _, folder in named):
        return [folder for _, _, folder in named], "the subfolder"
    for words, groups in _rule_groups(named).items():
        return groups, words
    # Some clips in subfolders, others not: a subfolder is a group all the same.
    loose = [folder or clip for clip, _, folder in named]
    return loose, "the subfolder, where there is one" if loose != [c for c, _, _ in named] else "each clip alone"


def groups_from_names(clips: Iterable) -> dict[str, list[str]]:
    """The groups that names give away whatever the setting, {the rule in words: the group of each clip}.

    The subfolder and the naming rules, those that fit every clip and make groups enough to split by.
    """
    return _rule_groups(_named(clips))


def _named(clips: Iterable) -> NamedGroups:
    return [(row.clip, row.action, row.folder) for row in clips]


def _rule_groups(named: NamedGroups) -> dict[str, list[str]]:
    told = {"the subfolder": [folder for _, _, folder in named]}
    for name, pattern in NAMING_RULES.items():
        told[f"file names as in {name}"] = [_match(pattern, clip, action) for clip, action, _ in named]
    return {words: groups for words, groups in told.items() if all(groups) and _has_enough_groups(groups, named)}


def _match(pattern: str, clip: str, action: str) -> str:
    """The group that a naming rule finds in a clip's file name; "" if it doesn't fit."""
    stem = clip.rpartition("/")[2].rpartition(".")[0]
    spelled = "[_ ]".join(map(re.escape, re.split("[_ ]", action)))
    found = re.fullmatch(pattern.replace("{action}", spelled), stem)
    return found.group(1) if found else ""


def _has_enough_groups(groups: Iterable[str], named: NamedGroups) -> bool:
    """Whether every action has groups enough to split by; a rule that fits by accident makes too few."""
    held: dict[str, set[str]] = {}
    for group, (_, action, _) in zip(groups, named, strict=True):
        held.setdefault(action, set()).add(group)
    return min(map(len, held.values())) >= MIN_GROUPS


def _by_pattern(clips: list[str], rule: str) -> list[str]:
    """The groups by the user's own regular expression, searched in the clip's name inside the data set."""
    found = [re.search(rule, clip) for clip in clips]
    groups = [match.group(1) if match else "" for match in found]
    missing = [clip for clip, group in zip(clips, groups, strict=True) if not group]
    if missing:
        raise SystemExit(f"params.yaml: split.group_by is {rule}, which finds no group in {_examples(missing)}")
    return groups


def _examples(names: list[str]) -> str:
    """A few names and how many more: "a, b and 7 more"."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
