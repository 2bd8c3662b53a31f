"""Label issues: wrong labels come first, and the models that rate a clip have not seen it."""

import importlib.util
import random

import numpy as np
import pandas as pd
import pytest
from conftest import run_tool

from glimpse.split.labels import write_correction
from glimpse.tools import label_issues

needs_cleanlab = pytest.mark.skipif(
    not importlib.util.find_spec("cleanlab"), reason="cleanlab of requirements-app.txt is not installed"
)


def predictions(rows):
    """The rows of trials for test clips: [(clip, label, {action: probability})]."""
    table = [
        {"split": "test", "clip": clip, "group": clip[:2], "action": action}
        | {f"p({name})": value for name, value in probabilities.items()}
        for clip, action, probabilities in rows
    ]
    return pd.DataFrame(table)


@needs_cleanlab
def test_the_least_likely_label_comes_first_with_the_likelier_action():
    table = predictions([
        ("g1/certain", "a", {"a": 0.9, "b": 0.1}), ("g1/certain", "a", {"a": 0.8, "b": 0.2}),
        ("g2/wrong", "a", {"a": 0.05, "b": 0.95}), ("g2/wrong", "a", {"a": 0.15, "b": 0.85}),
        ("g3/uncertain", "b", {"a": 0.55, "b": 0.45}), ("g3/uncertain", "b", {"a": 0.4, "b": 0.6}),
        ("g4/fine", "b", {"a": 0.1, "b": 0.9}), ("g4/fine", "b", {"a": 0.1, "b": 0.9}),
    ])  # fmt: skip
    val = table.assign(split="val", **{"p(a)": 1 - table["p(a)"], "p(b)": 1 - table["p(b)"]})
    issues = label_issues.find_label_issues(pd.concat([table, val], ignore_index=True))
    assert issues["clip"].tolist() == ["g2/wrong", "g3/uncertain", "g1/certain", "g4/fine"]
    assert issues["label_quality"].is_monotonic_increasing and issues["label_quality"].between(0, 1).all()
    wrong, uncertain = issues.iloc[0], issues.iloc[1]
    assert (wrong["given_label"], wrong["predicted_label"], wrong["is_label_issue"]) == ("a", "b", "yes")
    assert wrong["agreement"] == 1 and np.isclose([wrong["p_given"], wrong["p_predicted"]], [0.1, 0.9]).all()
    assert (uncertain["predicted_label"], uncertain["is_label_issue"], uncertain["agreement"]) == ("b", "no", 0.5)


def test_without_cleanlab_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install -r requirements-app.txt"):
        run_tool(label_issues)


@pytest.mark.slow
@needs_cleanlab
def test_most_labels_flipped_on_purpose_are_in_the_first_tenth(copied, stage, monkeypatch):
    clips = pd.read_csv(copied / "data/clips.csv")
    folders, rng = dict(zip(clips["clip"], clips["action"], strict=True)), random.Random(0)
    names = sorted(set(folders.values()))
    flipped = rng.sample(sorted(folders), round(0.05 * len(folders)))
    wrong = {clip: rng.choice([name for name in names if name != folders[clip]]) for clip in flipped}
    write_correction(copied / "data/labels.csv", wrong, folders)
    stage(copied, "split")
    with monkeypatch.context() as patch:
        patch.chdir(copied)
        run_tool(label_issues)
    table = pd.read_csv(copied / "metrics/label_issues.csv")
    hits = table["clip"].head(round(0.1 * len(table))).isin(flipped).sum()
    assert len(table) == len(folders) and hits >= 0.8 * len(flipped), f"{hits} of {len(flipped)}"
