"""Checks: each gives a warning for what it is for, and none for a sound split and model."""

import numpy as np
import pandas as pd
import pytest

from glimpse.core.splits import Split
from glimpse.evaluate import checks
from glimpse.evaluate.intervals import accuracy_score

CLASS_NAMES = ["jump", "run", "wave"]


def check_names(rows):
    return [check for check, _, _, _ in rows]


def accuracy(correct, clips):
    return accuracy_score(np.arange(clips) < correct, np.arange(clips))


def make_split(clips, first=0):
    """A split with equally many clips of each action, each a group of its own, in rows of clips.csv from `first` on."""
    rows = np.arange(first, first + clips)
    return Split([f"clip {row}" for row in rows], [f"group {row}" for row in rows], rows, rows % 3)


def test_few_clips_and_few_groups():
    assert check_names(checks.check_sample_size(["a"] * 29)) == ["few clips", "few groups"]
    assert check_names(checks.check_sample_size(list("abcde") * 10)) == ["few groups"]
    assert check_names(checks.check_sample_size(list("abcdef") * 5)) == []


def test_leaked_test_clips():
    ((_, _, value, message),) = checks.check_leakage({"a", "b"}, 40)
    assert value == 0.05 and message.startswith("2 of 40 test clips are near duplicates of, or")
    assert check_names(checks.check_leakage(set(), 40)) == []


def test_class_imbalance():
    ((_, _, value, message),) = checks.check_imbalance(np.repeat([0, 1, 2], [40, 10, 20]), CLASS_NAMES)
    assert value == 4 and "40 clips of jump and 10 of run" in message
    assert check_names(checks.check_imbalance(np.repeat([0, 1, 2], [30, 10, 20]), CLASS_NAMES)) == []


def test_predictions_that_are_all_the_same():
    labels = np.repeat([0, 1, 2], 10)
    rows = list(checks.check_collapse("all10", np.where(np.arange(30) < 4, 1, 0), labels, CLASS_NAMES))
    assert check_names(rows) == ["collapse", "never predicted"]
    assert "predicts jump for 26 of 30 clips" in rows[0][3] and rows[1][3].endswith("wave")
    assert check_names(checks.check_collapse("all10", labels, labels, CLASS_NAMES)) == []
    skewed = np.repeat([0, 1, 2], [90, 5, 5])
    assert (
        check_names(checks.check_collapse("all10", skewed, skewed, CLASS_NAMES)) == []
    )  # most clips are of that action


def test_an_action_of_few_clips_may_be_missed_by_chance():
    labels = np.repeat([0, 1, 2], [10, 10, 4])
    assert check_names(checks.check_collapse("all10", np.where(labels == 2, 0, labels), labels, CLASS_NAMES)) == []


def test_overfitting_to_train_and_selection_on_val():
    high, low = accuracy(98, 100), accuracy(60, 100)
    assert check_names(checks.check_overfitting("first5", high, low, low)) == ["train far above val"]
    assert check_names(checks.check_overfitting("first5", high, high, low)) == ["val far above test"]
    assert check_names(checks.check_overfitting("first5", high, accuracy(90, 100), accuracy(85, 100))) == []
    assert check_names(checks.check_overfitting("first5", high, accuracy(9, 10), accuracy(7, 10))) == []  # by chance


def check_property(values):
    train, test = make_split(60), make_split(45, first=60)
    return list(checks.check_metadata_leakage({"seconds": values}, train, test, CLASS_NAMES))


def test_a_clip_length_that_predicts_the_action():
    rng = np.random.default_rng(0)
    ((_, _, value, message),) = check_property(np.arange(105) % 3 * 2 + rng.random(105))
    assert value == 1 and "seconds alone predicts the action of 100% of the test clips" in message
    assert check_property(rng.random(105)) == []
    assert check_property(np.full(105, 24.0)) == []  # all clips are equally near, and all vote
    assert check_property(np.where(np.arange(105) == 3, np.nan, np.arange(105) % 3)) == []  # unknown for one clip


def test_clips_of_the_same_group_have_no_vote():
    """A length that identifies the source video, each of one action, predicts nothing for other videos."""
    train, test = make_split(30), make_split(30, first=30)
    test.groups = train.groups
    lengths = np.tile(np.random.default_rng(0).permutation(30).astype(float), 2)
    assert check_names(checks.check_metadata_leakage({"seconds": lengths}, train, test, CLASS_NAMES)) == []
    train.groups = [f"other {group}" for group in train.groups]
    votes = checks.knn_votes(lengths, train, test, 3)  # now the train clip of the same length votes
    assert votes[np.arange(30), test.labels].min() >= 1 / checks.NEIGHBOURS - 1e-9
    train, test = make_split(1), make_split(1, first=1)
    test.groups = train.groups
    assert checks.knn_votes(np.array([1.0, 1.0]), train, test, 3).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("approach", ["first5", "all10"])
def test_the_demo_has_no_warning_but_its_size(trained, approach):
    """Nothing about how the demo's clips are made predicts the action."""
    table = pd.read_csv(trained / "metrics/tables/warnings.csv", keep_default_na=False)
    assert list(table) == ["check", "approach", "value", "message"]
    assert set(table["check"][table["approach"] == ""]) == {"few clips", "few groups"}
    assert "collapse" not in set(table["check"][table["approach"] == approach])
