"""Stage `split`: assign every clip to train, val (chooses the best epoch) or test, by groups.

Reads data/clips.csv and data/duplicates.csv; data/labels.csv (clip,action: corrections), data/groups.csv (clip,group)
and the lists in `split.official_lists`, if they contain anything. Writes data/split.csv: clip, action, group, split,
leaked ("yes" for test clips that are related to a clip of train or val); and data/leaks.csv: pairs of clips that are
near duplicates, or related by name, but in different groups or splits. Run: python src/split.py
"""

from glimpse.core.stage import run_stage, stage_parser


def main() -> None:
    stage_parser(__doc__).parse_args()

    from glimpse.core.files import read_table, write_table
    from glimpse.core.settings import read_settings
    from glimpse.core.splits import SPLITS
    from glimpse.split import assign
    from glimpse.split.groups import assign_group_names, groups_from_names
    from glimpse.split.labels import read_manual_table, report_unknown_clips
    from glimpse.split.leakage import find_leaks, leaked_test_clips, merge_groups, warning_text

    settings = read_settings()
    rule = settings.split
    columns = ["clip", "action", "folder"]
    table = read_table("data/clips.csv", columns)[columns]
    manual_groups = read_manual_table("data/groups.csv", "group")
    corrections = read_manual_table("data/labels.csv", "action")
    report_unknown_clips("data/groups.csv", manual_groups, table["clip"])
    report_unknown_clips("data/labels.csv", corrections, table["clip"])
    pairs = assign.read_duplicate_pairs("data/duplicates.csv", table["clip"])
    official = assign.read_official_lists(rule.official_lists, rule.official_split)
    if official and rule.folds:
        raise SystemExit(
            f"params.yaml: split.folds is {rule.folds}, but {rule.official_lists} contains official lists: set "
            "split.folds to 0, or split.official_lists to another folder"
        )

    merge = rule.near_duplicates == "merge" and not official
    table["original_group"], description = assign_group_names(table, rule.group_by, manual_groups)
    name_groups = groups_from_names(table)
    table["group"] = table["original_group"]
    if merge:
        table["group"] = merge_groups(table["group"], table["clip"], pairs)
    table["action"] = [corrections.get(clip, action) for clip, action in zip(table["clip"], table["action"])]
    table["split"] = assign.assign_splits(table, rule, official, settings.seed)
    leaks = find_leaks(table, pairs, name_groups, "merged" if merge else "reported")
    write_table("data/leaks.csv", leaks)
    table["leaked"] = table["clip"].isin(leaked_test_clips(leaks)).map({True: "yes", False: ""})

    print(f"split: groups by {description}: {table['original_group'].nunique()} groups of {len(table)} clips")
    merged = table[table["group"].isin(table["group"][table["group"] != table["original_group"]])]
    if len(merged):
        before, after = merged["original_group"].nunique(), merged["group"].nunique()
        print(f"split: {before} groups merged into {after}, because they contain near duplicates: data/leaks.csv")
    if official:
        unlisted, missing = (table["split"] == "").sum(), len(set(official) - set(table["clip"]))
        counts = f"clips in no list: {unlisted}, listed clips that are missing: {missing}"
        print(f"split: official split {rule.official_split:02d}; {counts}")
        table = table[table["split"] != ""]
    print("clips (groups) per action and split:")
    print(assign.describe_counts(table), flush=True)
    assign.check_splits(table)

    write_table("data/split.csv", table[["clip", "action", "group", "split", "leaked"]])
    counts = table["split"].value_counts()
    by_names = "the groups in data/groups.csv" if manual_groups or rule.group_by == "auto" else "split.group_by to auto"
    if warning := warning_text(leaks, counts["test"], by_names, bool(official)):
        print(f"split: {warning}")
    print(f"split: {', '.join(f'{split} {counts[split]}' for split in SPLITS)} clips in data/split.csv")


if __name__ == "__main__":
    run_stage(main)
