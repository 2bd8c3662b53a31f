"""Groups: who or what a clip shares with others (a person, a source video), from its folder or its file name.

A group is never in two splits: a model that knows the person or the scene already would score too high.
"""

import re

import pandas as pd

# File names of public data sets: the capture group is a clip's group. The first rule that fits every clip is used.
# {action} is the name of the clip's action folder; spaces and underscores in it match each other.
NAMING_RULES = {
    "UCF101 (action and gNN)": r"(v_.+_g\d+)_c\d+",
    "KTH (personNN)": r"(person\d+)_.+_d\d+.*",
    "HMDB51 (the name before the action)": r"(.+)_{action}_[fuhl]_(?:cm|nm)_np\d+_(?:ba|le|fr|ri)_(?:bad|med|goo)_\d+",
    "Weizmann (the first word is the actor)": r"([^_]+)_{action}(?:_?\d+)?",
}
MIN_GROUPS = 3  # per action: one each for train, val and test


def assign_group_names(clips: pd.DataFrame, group_by: str, manual: dict[str, str]) -> tuple[list[str], str]:
    """The group of each clip, and a description of the rule that gave it.

    clips: columns clip, action, folder. group_by: the setting split.group_by. manual: {clip: group} of
    data/groups.csv, which comes first. With `auto`, the subfolder is used, else a naming rule that fits.
    """
    names = clips["clip"].tolist()
    if manual:
        if missing := _examples([clip for clip in names if clip not in manual]):
            raise SystemExit(f"data/groups.csv: no group for {missing}: every clip needs a row clip,group")
        return [manual[clip] for clip in names], "data/groups.csv"
    if group_by == "none":
        return names, "each clip alone (split.group_by is none)"
    if group_by != "auto":
        groups = [match.group(1) if (match := re.search(group_by, clip)) else "" for clip in names]
        if missing := _examples([clip for clip, group in zip(names, groups) if not group]):
            raise SystemExit(f"params.yaml: split.group_by is {group_by}, which gives no group for {missing}")
        return groups, f"split.group_by {group_by}"
    folders = clips["folder"].tolist()
    if all(folders):
        return folders, "the subfolder"
    for description, groups in groups_from_names(clips).items():
        return groups, description
    # where only some clips are in subfolders, these are groups all the same
    mixed = [folder or clip for folder, clip in zip(folders, names)]
    return mixed, "the subfolder, where there is one" if any(folders) else "each clip alone"


def groups_from_names(clips: pd.DataFrame) -> dict[str, list[str]]:
    """Groups that the names show, whatever the setting: {description of the rule: group of each clip}.

    Of subfolder and naming rules, those that fit every clip and give enough groups to split by.
    """
    candidates = {"the subfolder": clips["folder"].tolist()}
    for name, pattern in NAMING_RULES.items():
        groups = [_match(pattern, clip, action) for clip, action in zip(clips["clip"], clips["action"])]
        candidates[f"file names as in {name}"] = groups

    def enough(groups: list[str]) -> bool:  # a rule that fits by accident gives too few
        return clips.assign(group=groups).groupby("action")["group"].nunique().min() >= MIN_GROUPS

    return {rule: groups for rule, groups in candidates.items() if all(groups) and enough(groups)}


def _match(pattern: str, clip: str, action: str) -> str:
    """The group that a naming rule gives for a clip's file name; "" if it does not fit."""
    stem = clip.rpartition("/")[2].rpartition(".")[0]
    action_pattern = "[_ ]".join(map(re.escape, re.split("[_ ]", action)))
    match = re.fullmatch(pattern.replace("{action}", action_pattern), stem)
    return match.group(1) if match else ""


def _examples(names: list[str]) -> str:
    """A few names and the number of others: "a, b, c and 7 more"; "" if there are none."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
