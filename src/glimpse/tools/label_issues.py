"""Label issues: lists the clips whose label is probably wrong, by confident learning (Northcutt et al. 2021; cleanlab).

Trains on k folds by group and several seeds, on the stored features, so that every clip is predicted by models that saw
neither it nor its group. Finished trainings are kept in .cache/trials/, so that a repeated or killed run trains only
what is missing. Needs cleanlab: pip install -r requirements-app.txt.

Reads params.yaml, data/clips.csv, data/split.csv (the labels and groups) and data/features.npy.
Writes metrics/label_issues.csv, a row per clip, the lowest label quality first.
"""

import argparse
import importlib.util

import numpy as np
import pandas as pd

from glimpse.core.files import write_table
from glimpse.core.settings import read_settings
from glimpse.tools import cross_validation

OUTPUT = "metrics/label_issues.csv"

add_arguments = cross_validation.add_arguments


def run(args: argparse.Namespace) -> None:
    cross_validation.check_counts(args)
    if not importlib.util.find_spec("cleanlab"):
        raise SystemExit("label-issues: needs cleanlab: run `make label-issues` or pip install -r requirements-app.txt")
    settings = read_settings()
    data = cross_validation.load_clips("label-issues", settings, args.folds)
    trials = data.repeat(cross_validation.Trial.from_settings(settings), args.seeds)
    data.check(trials, "label-issues")
    print(f"label-issues: {len(trials)} trainings on {len(data.clips)} clips", flush=True)
    table = find_label_issues(cross_validation.run_trials(trials, data, settings))
    write_table(OUTPUT, table.round(4))
    issues = (table["is_label_issue"] == "yes").sum()
    print(f"label-issues: {issues} of {len(table)} labels are probably wrong: {OUTPUT}, the lowest quality first")


def find_label_issues(predictions: pd.DataFrame) -> pd.DataFrame:
    """Rate the label of each clip, from the test rows of `run_trials`.

    Columns: clip, group, given_label, predicted_label, p_given and p_predicted (their probabilities, mean over seeds),
    agreement (share of the trainings that predict `predicted_label`), label_quality (0 to 1; the rows rise by it) and
    is_label_issue ("yes" where confident learning finds an issue).
    """
    from cleanlab import filter, rank

    test = predictions[predictions["split"] == "test"].set_index("clip")
    class_names = sorted(test["action"].unique())
    by_training = test[[f"p({name})" for name in class_names]].set_axis(class_names, axis=1)
    by_clip = by_training.groupby("clip").mean()
    probabilities = by_clip.to_numpy() / by_clip.to_numpy().sum(1, keepdims=True)
    table = test.groupby("clip")[["group", "action"]].first().rename(columns={"action": "given_label"})
    labels = by_clip.columns.get_indexer(table["given_label"])
    table["predicted_label"] = by_clip.idxmax(axis=1)
    table["p_given"] = probabilities[np.arange(len(labels)), labels]
    table["p_predicted"] = probabilities.max(1)
    agrees = by_training.idxmax(axis=1) == table["predicted_label"].reindex(test.index)
    table["agreement"] = agrees.groupby("clip").mean()
    table["label_quality"] = rank.get_label_quality_scores(labels, probabilities, method="normalized_margin")
    issues = filter.find_label_issues(labels, probabilities, filter_by="confident_learning", n_jobs=1)
    table["is_label_issue"] = np.where(issues, "yes", "no")
    return table.reset_index().sort_values(["label_quality", "clip"], kind="stable", ignore_index=True)
