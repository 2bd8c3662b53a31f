"""Label issues: lists the clips whose label is probably wrong, by confident learning (Northcutt et al. 2021; cleanlab).

Trains on k folds by group and several seeds, on the stored features, so that every clip is predicted by models that saw
neither it nor its group. Finished trainings are kept in .cache/trials/, so that a repeated or killed run trains only
what is missing. Needs cleanlab: pip install -r requirements-app.txt.

Reads params.yaml, data/clips.csv, data/split.csv (the labels and groups) and data/features.npy.
Writes metrics/label_issues.csv, a row per clip, the lowest label quality first.
"""

import argparse
import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

OUTPUT = "metrics/label_issues.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folds", type=int, default=5, help="folds of the cross-validation by group (default: 5)")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each fold (default: 2)")


def run(args: argparse.Namespace) -> None:
    from glimpse.tools.study import check_counts

    check_counts(args)
    if not importlib.util.find_spec("cleanlab"):
        raise SystemExit(
            "label-issues: needs cleanlab: run `make label-issues`, or pip install -r requirements-app.txt"
        )
    from glimpse.core.files import write_table
    from glimpse.core.settings import read_settings
    from glimpse.features.views import ViewConfig
    from glimpse.tools.cross_validation import Trial, load_clips, run_trials

    settings = read_settings()
    data = load_clips("label-issues", settings, args.folds)
    modalities = ViewConfig.from_settings(settings.features).num_modalities
    trials = [
        Trial(settings.num_frames("all10"), settings.model.head, modalities, seed, fold)
        for seed in range(settings.seed, settings.seed + args.seeds)
        for fold in range(args.folds)
    ]
    data.check(trials, "label-issues")
    print(f"label-issues: {len(trials)} trainings on {len(data.clips)} clips", flush=True)
    table = find_label_issues(run_trials(trials, data, settings))
    write_table(OUTPUT, table.round(4))
    issues = int((table["is_label_issue"] == "yes").sum())
    print(f"label-issues: {issues} of {len(table)} labels are probably wrong: {OUTPUT}, the lowest quality first")


def find_label_issues(predictions: "pd.DataFrame") -> "pd.DataFrame":
    """Rate the label of each clip, from the test rows of `run_trials`.

    Columns: clip, group, given_label, predicted_label, p_given and p_predicted (their probabilities, mean over seeds),
    agreement (share of the trainings that predict `predicted_label`), label_quality (0 to 1; the rows rise by it) and
    is_label_issue ("yes" where confident learning finds an issue).
    """
    import numpy as np
    from cleanlab.filter import find_label_issues as confident_learning
    from cleanlab.rank import get_label_quality_scores

    test = predictions[predictions["split"] == "test"]
    class_names = sorted(test["action"].unique())
    by_training = test[[f"p({name})" for name in class_names]].set_axis(class_names, axis=1)
    by_clip = by_training.groupby(test["clip"]).mean()
    table = test.groupby("clip")[["group", "action"]].first().rename(columns={"action": "given_label"}).reset_index()
    probabilities = by_clip.to_numpy() / by_clip.to_numpy().sum(1, keepdims=True)
    labels = np.array([class_names.index(name) for name in table["given_label"]])
    table["predicted_label"] = by_clip.idxmax(axis=1).to_numpy()
    table["p_given"] = probabilities[np.arange(len(labels)), labels]
    table["p_predicted"] = probabilities.max(1)
    predicted = table.set_index("clip")["predicted_label"]
    agrees = by_training.idxmax(axis=1) == test["clip"].map(predicted)
    table["agreement"] = agrees.groupby(test["clip"]).mean().to_numpy()
    table["label_quality"] = get_label_quality_scores(labels, probabilities, method="normalized_margin")
    issues = confident_learning(labels, probabilities, filter_by="confident_learning", n_jobs=1)
    table["is_label_issue"] = np.where(issues, "yes", "no")
    return table.sort_values(["label_quality", "clip"], kind="stable", ignore_index=True)
