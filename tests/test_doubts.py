"""Stage `doubts`: wrong labels come first, and who judges a clip has not seen it."""

import random

import numpy as np
import pandas as pd
import pytest

import doubts
from glimpse.split.labels import write_correction


def answered(chances):
    """The rows of trials over test clips: [(clip, label, {action: probability})]."""
    rows = [
        {"part": "test", "clip": clip, "group": clip[:2], "action": action}
        | {f"p({name})": chance for name, chance in of.items()}
        for clip, action, of in chances
    ]
    return pd.DataFrame(rows)


def test_the_least_likely_label_comes_first_with_what_is_likelier():
    table = answered([
        ("g1/sure", "a", {"a": 0.9, "b": 0.1}), ("g1/sure", "a", {"a": 0.8, "b": 0.2}),
        ("g2/wrong", "a", {"a": 0.05, "b": 0.95}), ("g2/wrong", "a", {"a": 0.15, "b": 0.85}),
        ("g3/torn", "b", {"a": 0.55, "b": 0.45}), ("g3/torn", "b", {"a": 0.4, "b": 0.6}),
        ("g4/fine", "b", {"a": 0.1, "b": 0.9}), ("g4/fine", "b", {"a": 0.1, "b": 0.9}),
    ])  # fmt: skip
    seen = table.assign(part="val", **{"p(a)": 1 - table["p(a)"], "p(b)": 1 - table["p(b)"]})
    found = doubts.find_label_issues(pd.concat([table, seen], ignore_index=True))
    assert found["clip"].tolist() == ["g2/wrong", "g3/torn", "g1/sure", "g4/fine"]
    wrong, torn = found.iloc[0], found.iloc[1]
    assert (wrong["suggested"], wrong["mislabelled"], wrong["agreement"]) == ("b", "yes", 1)
    assert np.isclose([wrong["p_action"], wrong["p_suggested"], wrong["margin"]], [0.1, 0.9, -0.8]).all()
    assert (torn["suggested"], torn["mislabelled"], torn["agreement"]) == ("b", "no", 0.5)


@pytest.mark.slow
def test_of_labels_flipped_on_purpose_most_stand_in_the_first_tenth(copied, stage, monkeypatch):
    folder = copied
    clips = pd.read_csv(folder / "data/clips.csv")
    folders, rng = dict(zip(clips["clip"], clips["action"], strict=True)), random.Random(0)
    names = sorted(set(folders.values()))
    flipped = rng.sample(sorted(folders), round(0.05 * len(folders)))
    wrong = {clip: rng.choice([name for name in names if name != folders[clip]]) for clip in flipped}
    write_correction(folder / "data/labels.csv", wrong, folders)
    stage(folder, "split")
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        doubts.main()
    table = pd.read_csv(folder / "metrics/doubts.csv")
    found = table["clip"].head(round(0.1 * len(table))).isin(flipped).sum()
    assert len(table) == len(folders) and found >= 0.8 * len(flipped), f"{found} of {len(flipped)}"
