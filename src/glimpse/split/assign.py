"""Assigns every clip to train, val or test, from groups, shares, folds or official lists, and checks the result."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from glimpse.core.files import read_table
from glimpse.core.settings import SplitSettings
from glimpse.core.splits import SPLITS
from glimpse.split.groups import MIN_GROUPS
from glimpse.split.stratified import assign_groups, class_counts_by_group, fold_split


def read_duplicate_pairs(path: Path | str, clips: Iterable[str]) -> list[tuple[str, str]]:
    """Read the pairs of near duplicates of data/duplicates.csv. Exits with one line if one is not among `clips`."""
    table, usable = read_table(path, ["clip_a", "clip_b"]), set(clips)
    pairs = list(zip(table["clip_a"], table["clip_b"], strict=True))
    for clip in (clip for pair in pairs for clip in pair if clip not in usable):
        raise SystemExit(f"{path}: {clip} is not among the usable clips: run `dvc repro duplicates`")
    return pairs


def read_official_lists(folder: Path | str, number: int) -> dict[str, str]:
    """Read the official train and test list of a split: {clip: "train" | "test"}; empty if there are no lists."""
    if not list(Path(folder).glob("trainlist*.txt")):
        if others := sorted(path.name for path in Path(folder).glob("[!.]*") if path.name != "README.md"):
            files = f"no trainlist{number:02d}.txt and testlist{number:02d}.txt"
            raise SystemExit(f"split.official_lists: {folder} contains {others[0]}, but {files}")
        return {}
    official: dict[str, str] = {}
    for split in ("train", "test"):
        path = Path(folder, f"{split}list{number:02d}.txt")
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except OSError as error:
            needed = f"split.official_split {number} needs a train and a test list"
            raise SystemExit(f"{path}: {error.strerror}: {needed}") from None
        for line in filter(None, map(str.strip, lines)):
            start, _, end = line.rpartition(" ")
            clip = start if start and end.isdigit() else line  # train lists give the number of the action, too
            if official.setdefault(clip, split) != split:
                raise SystemExit(f"{path}: {clip} is in the train list, too")
    return official


def assign_splits(table: pd.DataFrame, settings: SplitSettings, official: dict[str, str], seed: int) -> pd.Series:
    """The split of each clip of `table` (columns clip, action, group); "" for clips in no official list.

    With official lists {clip: split}, test is their test list, and val is taken from their train list; else test is
    one fold or a share of the clips. Groups are never divided, except by official lists.
    """
    if official:
        splits = table["clip"].map(lambda clip: official.get(clip, ""))
        train = table[splits == "train"]
        if len(train):
            class_counts = class_counts_by_group(train["action"], train["group"])
            groups = assign_groups(class_counts, {"train": 1 - settings.val, "val": settings.val}, seed)
            splits.update(train["group"].map(groups))
        return splits
    class_counts = class_counts_by_group(table["action"], table["group"])
    if settings.folds:
        groups = fold_split(class_counts, settings.folds, settings.fold, settings.val, seed, seed)
    else:
        shares = {"train": 1 - settings.test - settings.val, "val": settings.val, "test": settings.test}
        groups = assign_groups(class_counts, shares, seed)
    return table["group"].map(groups)


def describe_counts(table: pd.DataFrame) -> str:
    """Number of clips, and of groups in brackets, per action and split, as text."""
    counts = table.groupby(["action", "split"]).agg(clips=("clip", "size"), groups=("group", "nunique"))
    cells = counts.apply(lambda row: f"{row.clips} ({row.groups})", axis=1).unstack(fill_value="-")
    return cells.reindex(columns=SPLITS, fill_value="-").to_string()


def check_splits(table: pd.DataFrame) -> None:
    """Exit with one line if an action has too few groups, or is missing in a split, and say if merging may be why.

    table: columns action, original_group (before merging), group and split.
    """
    before, after, merged = table["original_group"].nunique(), table["group"].nunique(), ""
    if after < before:
        merged = f". Groups with near duplicates were merged ({before} became {after}): see data/leaks.csv; if its "
        merged += "pairs are no copies, set split.near_duplicates to report"
    groups = table.groupby("action")[["original_group", "group"]].nunique()
    few = groups[groups["group"] < MIN_GROUPS]
    if len(few):
        actions = ", ".join(f"{action} ({count})" for action, count in few["group"].items())
        raise SystemExit(
            f"split: fewer than {MIN_GROUPS} groups in {actions}: a group stands for one person or source and is never "
            "divided, so train, val and test need one each. Add clips of others, or set split.group_by"
            f"{merged if few['original_group'].max() >= MIN_GROUPS else ''}"
        )
    missing = {split: sorted(set(table["action"]) - set(table["action"][table["split"] == split])) for split in SPLITS}
    if lacking := [f"{split} lacks {', '.join(actions)}" for split, actions in missing.items() if actions]:
        remedy = "add clips of other groups, or change split.test, val or folds"
        raise SystemExit(f"split: {'; '.join(lacking)}: {remedy}{merged}")
