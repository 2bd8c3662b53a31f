"""Stage `doubts`: which clips are probably mislabelled, told by models that saw neither them nor their groups.

Trains what reads the looks on k folds by group and several seeds, on the features that are there. Reads
data/features.npy, data/clips.csv and data/split.csv. Writes metrics/doubts.csv: a row for each clip, the most doubtful
first. Run: python src/doubts.py
"""

from glimpse.core.settings import read  # isort: split

import numpy as np
import pandas as pd

from glimpse.core.files import write_table
from glimpse.features.views import ViewConfig
from glimpse.tools.cross_validation import Trial, is_feasible, load_all_clips, run_trials


def find_label_issues(table: pd.DataFrame) -> pd.DataFrame:
    """How far each clip's label is to be doubted, from the rows of `run_all`, of which those of test clips count.

    Columns: clip, group, action (its label), suggested (the likeliest action), p_action and p_suggested (their
    probabilities, the mean over seeds), agreement (the share of trainings that answer `suggested`), margin (p_action
    less the probability of the likeliest other action; the rows rise by it) and mislabelled ("yes" where the clip is as
    likely to be another action as clips labelled so are on average, and more so than to be its own: confident learning,
    Northcutt et al. 2021, the margin too).
    """
    table = table[table["part"] == "test"]
    names = sorted(table["action"].unique())
    chances = table[[f"p({name})" for name in names]].set_axis(names, axis=1)
    answers = chances.idxmax(axis=1)
    mean = chances.groupby(table["clip"]).mean()
    held = table.groupby("clip")[["group", "action"]].first()
    label = np.array([names.index(action) for action in held["action"]])
    each, rows = mean.to_numpy(), np.arange(len(mean))
    of_label, others = each[rows, label], each.copy()
    others[rows, label] = -1
    usual = np.array([each[label == number, number].mean() for number in range(len(names))])
    confident = np.where(each >= usual, each, -1)
    found = held.reset_index()
    found["suggested"] = mean.idxmax(axis=1).to_numpy()
    found["p_action"], found["p_suggested"] = of_label, each.max(1)
    suggested = found.set_index("clip")["suggested"]
    found["agreement"] = (answers == table["clip"].map(suggested)).groupby(table["clip"]).mean().to_numpy()
    found["margin"] = of_label - others.max(1)
    wrong = (confident.max(1) > 0) & (confident.argmax(1) != label) & (found["margin"] < 0)
    found["mislabelled"] = np.where(wrong, "yes", "no")
    return found.sort_values(["margin", "clip"], kind="stable", ignore_index=True)


def main() -> None:
    s = read("seed", "candidates", "frames", "sampling", "resample_each_epoch", "all10", "split", "features", "model", "train",
             "evaluate", "study")  # fmt: skip
    clips, actions, groups = load_all_clips("doubts", s.model.finetune_blocks)
    use = s.frames if s.all10.num_frames == "all" else s.all10.num_frames
    seeds, folds = range(s.seed, s.seed + s.study.seeds), range(s.study.folds)
    views = ViewConfig.from_settings(s.features).num_views
    trials = [Trial(use, s.model.head, views, seed, fold) for seed in seeds for fold in folds]
    if not all(is_feasible(trial, actions, groups, s.study.folds, s.split.val, s.seed) for trial in trials):
        raise SystemExit(
            f"doubts: {s.study.folds} folds leave one without clips of every action to train on, validate and test: "
            "each action wants more groups than folds: set study.folds lower"
        )
    print(f"doubts: {len(trials)} trainings on {len(clips)} clips", flush=True)
    found = find_label_issues(run_trials(trials, clips, actions, groups, s.study.folds, s))
    write_table("metrics/doubts.csv", found.round(4))
    wrong = int((found["mislabelled"] == "yes").sum())
    print(f"doubts: {wrong} of {len(found)} clips are probably mislabelled: metrics/doubts.csv, most doubtful first")


if __name__ == "__main__":
    main()
