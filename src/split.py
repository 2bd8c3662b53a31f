"""Stage `split`: which clips train, which choose the best epoch (val), and which are kept for the test.

Reads data/clips.csv and data/alike.csv; data/labels.csv (clip,action: corrections), data/groups.csv (clip,group) and
the official lists in `split.official_lists` if they hold anything. Writes data/split.csv: clip, action, group, part; and
data/leaks.csv: pairs of clips that belong together by their looks or names but not by their groups.
Run: python src/split.py
"""

from glimpse.core.settings import read  # isort: split

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from glimpse.core.files import read_table, write_table
from glimpse.split.groups import MIN_GROUPS, assign_group_names, groups_from_names
from glimpse.split.leakage import find_leaks, merge_groups, warning_text
from glimpse.split.stratified import assign_groups, class_counts_by_group, fold_split

PARTS = ("train", "val", "test")


def config(path: Path | str, column: str, clips: Iterable[str]) -> dict[str, str]:
    """{clip: value} from a table that a person keeps, empty if there is none; a clip not in the data set is named."""
    if not Path(path).exists():
        return {}
    table = read_table(path, ["clip", column])
    twice = table["clip"][table["clip"].duplicated()]
    if len(twice):
        raise SystemExit(f"{path}: {twice.iloc[0]} stands there twice: one row a clip")
    known = set(clips)
    for clip, value in zip(table["clip"], table[column], strict=True):
        if not value.strip():
            raise SystemExit(f"{path}: {clip} has no {column}")
        if clip not in known:
            print(f"split: {path}: {clip} is not among the usable clips, its row does nothing")
    return dict(zip(table["clip"], table[column], strict=True))


def read_official_lists(folder: Path | str, number: int) -> dict[str, str]:
    """The clips of an official list's train and test part, {clip: "train" | "test"}; empty if there are no lists."""
    if not list(Path(folder).glob("trainlist*.txt")):
        others = [path.name for path in sorted(Path(folder).glob("[!.]*")) if path.name != "README.md"]
        if others:
            raise SystemExit(
                f"split.official_lists: {folder} has {others[0]}, but no trainlist{number:02d}.txt and testlist"
            )
        return {}
    parts: dict[str, str] = {}
    for part in ("train", "test"):
        path = Path(folder, f"{part}list{number:02d}.txt")
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except OSError as error:
            raise SystemExit(
                f"{path}: {error.strerror}: both lists of split.official_split {number} are needed"
            ) from None
        for line in filter(None, map(str.strip, lines)):
            head, _, last = line.rpartition(" ")
            clip = head if head and last.isdigit() else line  # train lists have the action's number behind the clip
            if parts.setdefault(clip, part) != part:
                raise SystemExit(f"{path}: {clip} stands in the train list too")
    return parts


def assign_splits(
    table: pd.DataFrame, test: float, val: float, folds: int, fold: int, lists: dict[str, str], seed: int
) -> pd.Series:
    """The part of each row of `table` (clip, action, group): train, val or test, "" where the lists leave it out.

    With `lists` {clip: part} the test part is theirs; with `folds` it is the groups of that fold; else a share.
    Val is always taken from what is left, by group.
    """
    holdings = class_counts_by_group(table["action"], table["group"])
    if lists:
        listed = table["clip"].map(lambda clip: lists.get(clip, ""))
        left = table[listed == "train"]
        parts = assign_splits(left, 0, val, 0, 0, {}, seed) if len(left) else pd.Series(dtype=str)
        return listed.where(listed != "train", parts.reindex(table.index))
    if folds:
        part_of = fold_split(holdings, folds, fold, val, seed, seed)
    else:
        shares = {"train": 1 - test - val, "val": val, "test": test}
        part_of = assign_groups(holdings, {part: share for part, share in shares.items() if share}, seed)
    return table["group"].map(part_of)


def advice(group: str, by_hand: dict[str, str], lists: dict[str, str]) -> tuple[str, str]:
    """What to set against leaks of looks and of names; "" where official lists have it so."""
    if lists:
        return "", ""
    if by_hand or group == "auto":
        return "split.near_duplicates to join", "the groups in data/groups.csv"
    return "split.near_duplicates to join", "split.group_by to auto"


def check_splits(table: pd.DataFrame, before: pd.Series) -> None:
    """Every part must have every action, and every action groups enough; else one line that names what lacks.

    `before`: the group of each row of `table` before any were joined; the line says so if joining may have done it.
    """
    blame = ""
    if table["group"].nunique() < before.nunique():
        blame = (
            f". Groups were joined ({before.nunique()} became {table['group'].nunique()}), since clips in them look "
            "alike: see data/leaks.csv; if they don't, set split.near_duplicates to report"
        )
    groups, apart = (each.groupby(table["action"]).nunique() for each in (table["group"], before))
    few = groups[groups < MIN_GROUPS]
    if len(few):
        raise SystemExit(
            f"split: fewer than {MIN_GROUPS} groups in {', '.join(f'{action} ({count})' for action, count in few.items())}"
            ": a group stands for one person or source and is never split, so train, val and test need one each. Add "
            f"clips of others, or set split.group_by{blame if apart[few.index].max() >= MIN_GROUPS else ''}"
        )
    lacking = [
        f"{part} lacks {', '.join(missing)}"
        for part in PARTS
        if (missing := sorted(set(table["action"]) - set(table["action"][table["part"] == part])))
    ]
    if lacking:
        wanted = "add clips of other groups, or change split.test, val or folds"
        raise SystemExit(f"split: {'; '.join(lacking)}: {wanted}{blame}")


def read_duplicate_pairs(path: Path | str, clips: Iterable[str]) -> list[tuple[str, str]]:
    """The pairs of clips that look alike."""
    table, known = read_table(path, ["clip", "like"]), set(clips)
    pairs = list(zip(table["clip"], table["like"], strict=True))
    for clip in (clip for pair in pairs for clip in pair if clip not in known):
        raise SystemExit(f"{path}: {clip} is not among the usable clips: run `dvc repro duplicates`")
    return pairs


def main() -> None:
    settings = read("seed", "split")
    rule = settings.split
    table = read_table("data/clips.csv", ["clip", "action", "folder"])[["clip", "action", "folder"]]
    by_hand = read_manual_table("data/groups.csv", "group", table["clip"])
    table["before"], words = assign_group_names(table.itertuples(), rule.group_by, by_hand)
    told = groups_from_names(table.itertuples())
    lists = read_official_lists(rule.official_lists, rule.official_split)
    if lists and rule.folds:
        raise SystemExit(
            f"params.yaml: split.folds is {rule.folds}, but {rule.official_lists} has official lists: use one"
        )
    pairs, join = read_duplicate_pairs("data/alike.csv", table["clip"]), rule.near_duplicates == "merge" and not lists
    table["group"] = merge_groups(table["before"], table["clip"], pairs) if join else table["before"]
    labels = read_manual_table("data/labels.csv", "action", table["clip"])
    table["action"] = [labels.get(clip, action) for clip, action in zip(table["clip"], table["action"], strict=True)]
    table["part"] = assign_splits(table, rule.test, rule.val, rule.folds, rule.fold, lists, settings.seed)
    leaks = find_leaks(table, pairs, told, "joined" if join else "reported")
    write_table("data/leaks.csv", leaks)
    print(f"split: groups by {words}: {table['before'].nunique()} groups of {len(table)} clips")
    together = table[table["group"].isin(table["group"][table["group"] != table["before"]])]
    if len(together):
        many, few = together["before"].nunique(), together["group"].nunique()
        print(f"split: {many} groups joined to {few}, since clips in them look alike: data/leaks.csv")
    if lists:
        unused = int((table["part"] == "").sum())
        absent = len(set(lists) - set(table["clip"]))
        print(
            f"split: official list {rule.official_split:02d}; clips in no list: {unused}, listed clips not here: {absent}"
        )
        table = table[table["part"] != ""]
    counts = table.groupby(["action", "part"]).agg(clips=("clip", "size"), groups=("group", "nunique"))
    shown = counts.apply(lambda row: f"{row.clips} ({row.groups})", axis=1).unstack(fill_value="-")
    print("clips (groups) per action and part:")
    print(shown.reindex(columns=PARTS, fill_value="-").to_string(), flush=True)
    check_splits(table, table["before"])
    write_table("data/split.csv", table[["clip", "action", "group", "part"]])
    warned = warning_text(leaks, (table["part"] == "test").sum(), advice(rule.group_by, by_hand, lists))
    if warned:
        print(f"split: {warned}")
    sizes = ", ".join(f"{part} {(table['part'] == part).sum()}" for part in PARTS)
    print(f"split: {sizes} clips in data/split.csv")


if __name__ == "__main__":
    main()
