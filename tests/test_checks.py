"""Alarms: each goes off on what it is for, and none on a sound split and model."""

import numpy as np
import pandas as pd
import pytest

from glimpse.core.splits import Split
from glimpse.evaluate import checks as alarms
from glimpse.evaluate.intervals import accuracy_score

NAMES = ["jump", "run", "wave"]


def names_of(rows):
    return [row["alarm"] for row in rows]


def score(right, clips):
    return accuracy_score(np.arange(clips) < right, np.arange(clips))


def part(clips, first=0):
    """A part of as many clips of each action, each a group of its own, in the rows of clips.csv from `first` on."""
    rows = np.arange(first, first + clips)
    return Split([f"clip {row}" for row in rows], [f"group {row}" for row in rows], rows, rows % 3)


def test_few_clips_and_few_groups():
    assert names_of(alarms.check_sample_size(["a"] * 29)) == ["few clips", "few groups"]
    assert names_of(alarms.check_sample_size(list("abcde") * 10)) == ["few groups"]
    assert alarms.check_sample_size(list("abcdef") * 5) == []


def test_unequal_actions():
    (row,) = alarms.check_imbalance(np.repeat([0, 1, 2], [40, 10, 20]), NAMES)
    assert row["figure"] == 4 and "40 clips of jump and 10 of run" in row["sentence"]
    assert alarms.check_imbalance(np.repeat([0, 1, 2], [30, 10, 20]), NAMES) == []


def test_answers_that_are_all_the_same():
    true = np.repeat([0, 1, 2], 10)
    rows = alarms.check_collapse("all10", np.where(np.arange(30) < 4, 1, 0), true, NAMES)
    assert names_of(rows) == ["collapse", "never predicted"]
    assert "answers jump to 26 of 30 clips" in rows[0]["sentence"] and rows[1]["sentence"].endswith("wave")
    assert alarms.check_collapse("all10", true, true, NAMES) == []
    mostly = np.repeat([0, 1, 2], [90, 5, 5])
    assert alarms.check_collapse("all10", mostly, mostly, NAMES) == []  # the clips are so


def test_an_action_of_few_clips_may_be_missed_by_bad_luck():
    true = np.repeat([0, 1, 2], [10, 10, 4])
    assert alarms.check_collapse("all10", np.where(true == 2, 0, true), true, NAMES) == []


def test_learnt_by_heart_and_chosen_by_luck():
    high, low = score(98, 100), score(60, 100)
    assert names_of(alarms.check_overfitting("first5", high, low, low)) == ["train far above val"]
    assert names_of(alarms.check_overfitting("first5", high, high, low)) == ["val far above test"]
    assert alarms.check_overfitting("first5", high, score(90, 100), score(85, 100)) == []
    assert (
        alarms.check_overfitting("first5", high, score(9, 10), score(7, 10)) == []
    )  # so few clips can differ by chance


def told_by(measure):
    return alarms.check_metadata_leakage({"seconds": measure}, part(60), part(45, first=60), NAMES)


def test_a_length_that_tells_the_action():
    rng = np.random.default_rng(0)
    (row,) = told_by(np.arange(105) % 3 * 2 + rng.random(105))
    assert row["figure"] == 1 and "seconds alone tells its action for 100%" in row["sentence"]
    assert told_by(rng.random(105)) == []
    assert told_by(np.full(105, 24.0)) == []  # equally near clips all vote
    assert told_by(np.where(np.arange(105) == 3, np.nan, np.arange(105) % 3)) == []  # unknown somewhere


def test_a_clips_own_group_has_no_vote():
    """A length that tells the source video alone, where every source shows one action, tells nothing of others."""
    held, asked = part(30), part(30, first=30)
    asked.groups = held.groups
    measure = np.random.default_rng(0).permutation(30).astype(float)
    assert alarms.check_metadata_leakage({"seconds": np.tile(measure, 2)}, held, asked, NAMES) == []
    held.groups = [f"other {group}" for group in held.groups]
    shares = alarms.knn_votes(measure, held.labels, np.array(held.groups), measure, np.array(asked.groups), 3)
    assert shares[np.arange(30), held.labels].min() >= 1 / alarms.NEIGHBOURS - 1e-9  # itself has one, were it another's
    alone = alarms.knn_votes(measure[:1], held.labels[:1], np.array(["a"]), measure[:1], np.array(["a"]), 3)
    assert alone.tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("approach", ["first5", "all10"])
def test_the_demo_is_sound(trained, approach):
    """Its small test part is named; nothing of how its clips are made tells the action."""
    table = pd.read_csv(trained / "metrics/alarms.csv", keep_default_na=False)
    assert list(table) == ["alarm", "approach", "figure", "sentence"]
    assert set(table["alarm"][table["approach"] == ""]) == {"few clips", "few groups"}
    assert "collapse" not in set(table["alarm"][table["approach"] == approach])
