"""The study: its trials keep groups and left-out actions apart, and its words say what the figures say."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT, write_params

import study
from glimpse.core.settings import check, read
from glimpse.tools.cross_validation import Trial, trial_split

BASE = Trial(use=10, temporal="lstm", views=2, seed=0, fold=0)


def a_data_set(groups=12, takes=2):
    """Actions and groups of clips: every group has every action."""
    names = [(action, f"g{group}") for action in "abc" for group in range(groups) for _ in range(takes)]
    return [action for action, _ in names], [group for _, group in names]


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("fold", range(3))
def test_no_group_straddles_the_parts_of_a_trial(share, fold):
    actions, groups = a_data_set()
    parts = trial_split(Trial(10, "lstm", 2, 1, fold, share), actions, groups, 3, 0.25, 0)
    held = {part: {groups[row] for row in rows} for part, rows in parts.items()}
    assert not (held["train"] & held["val"] or held["train"] & held["test"] or held["val"] & held["test"])
    assert all({actions[row] for row in rows} == set("abc") for rows in parts.values())
    everything = trial_split(Trial(10, "lstm", 2, 1, fold), actions, groups, 3, 0.25, 0)
    assert set(parts["train"]) <= set(everything["train"])
    assert len(parts["train"]) == pytest.approx(share * len(everything["train"]), abs=6)  # a group has 6 clips


def test_every_clip_is_tested_once_over_the_folds():
    actions, groups = a_data_set()
    tested = [trial_split(Trial(10, "lstm", 2, 1, fold), actions, groups, 4, 0.25, 0)["test"] for fold in range(4)]
    assert sorted(np.concatenate(tested)) == list(range(len(actions)))


def test_an_action_that_is_left_out_is_tested_and_never_trained():
    actions, groups = a_data_set()
    parts = trial_split(Trial(10, "lstm", 2, 0, 0, left_out="b"), actions, groups, 3, 0.25, 0)
    assert "b" not in {actions[row] for part in ("train", "val") for row in parts[part]}
    assert "b" in {actions[row] for row in parts["test"]}


def found(shares, groups=40, seeds=2):
    """A `Found` in which each question's trials are right for a given share of the clips of every group."""
    trials, rows = {}, []
    for number, (key, share) in enumerate(shares.items()):
        asked = [Trial(number, "lstm", 2, seed, 0) for seed in range(seeds)]
        trials[key] = asked
        for trial in asked:
            for clip in range(groups * 4):
                right = (clip * 7 % (groups * 4)) < share * groups * 4
                rows.append(trial.__dict__ | {"clip": f"{clip:03d}", "action": "a", "group": f"g{clip % groups}",
                                              "right": right, "known": True, "part": "test"})  # fmt: skip
    return study.StudyResults(pd.DataFrame(rows), trials)


def test_appearance_movement_and_order_are_told_apart():
    order = study.told_by(found({"frames, mean": 0.6, "frames, in order": 0.95, "mean": 0.6}), 2, True)
    assert order[-1] == "So appearance alone is not enough here: more is told by the order of frames."
    movement = study.told_by(found({"frames, mean": 0.6, "frames, in order": 0.6, "mean": 0.95}), 2, True)
    assert "by what moves between neighbouring frames" in movement[-1]
    neither = study.told_by(found({"frames, mean": 0.6, "frames, in order": 0.6, "mean": 0.6}), 2, True)
    assert neither[-1].startswith("So appearance tells all")


def test_the_lstm_earns_its_keep_only_where_it_beats_what_has_no_order():
    assert "? yes" in study.keep_of_lstm(found({"lstm": 0.95, "mean": 0.6, "attention": 0.5, "ridge": 0.5}))
    assert "? no:" in study.keep_of_lstm(found({"lstm": 0.5, "mean": 0.5, "attention": 0.5, "ridge": 0.95}))
    assert "? not that" in study.keep_of_lstm(found({"lstm": 0.7, "mean": 0.7, "attention": 0.7, "ridge": 0.7}))


def test_half_of_the_clip_is_enough_only_where_all_of_it_is_no_better():
    assert "enough? no:" in study.half_enough(found({"as set": 0.95, "first": 0.6}), 5, 10)
    assert "enough? yes:" in study.half_enough(found({"as set": 0.9, "first": 0.9}, groups=400), 5, 10)
    assert "not asked" in study.half_enough(found({"as set": 0.9, "first": 0.9}), 10, 10)


def test_the_learning_curve_goes_on_as_it_came():
    shares = {"share 0.25": 0.2, "share 0.5": 0.6, "share 0.75": 0.733, "as set": 0.8}  # errors 0.8, 0.4, 0.27, 0.2
    scores, twice, words = study.learning_curve(found(shares, groups=200))
    assert [score.value for score in scores] == pytest.approx(list(shares.values()), abs=0.01)
    assert twice == pytest.approx(0.9, abs=0.01) and "an extrapolation" in words
    _, _, flat = study.learning_curve(found(dict.fromkeys(shares, 0.7)))
    assert "nothing that this curve shows" in flat


@pytest.mark.parametrize("temporal", ["lstm+mean", "lstm", "gru", "mean", "attention", "ridge"])
@pytest.mark.parametrize("takes", [2, 12])
def test_what_is_planned_answers_every_question(temporal, takes):
    """With answers made up for all that is planned, whatever is set and however few groups there are."""
    actions, groups = a_data_set(groups=24 // takes, takes=takes) if takes == 2 else a_data_set(groups=4)
    tree = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"study": {"folds": 3, "seeds": 2}}
    s = SimpleNamespace(**check(tree))
    base = replace(BASE, temporal=temporal)
    trials = study.plan(s, base, replace(base, use=5), actions, groups)
    rows = []
    for trial in dict.fromkeys(trial for asked in trials.values() for trial in asked):
        parts = trial_split(trial, actions, groups, 3, s.split.val, 0)
        rows += [trial.__dict__ | {"part": "test", "clip": str(row), "action": actions[row], "group": groups[row],
                                   "right": row % 3 > 0, "known": row % 2 > 0} for row in parts["test"]]  # fmt: skip
    of = study.StudyResults(pd.DataFrame(rows), trials)
    lines = [*study.told_by(of, 2, True), study.keep_of_lstm(of), study.half_enough(of, 5, 10), study.stability(of)]
    lines += [study.learning_curve(of)[2], study.never_seen(of, 0.1)[1]]
    assert len(lines) == 9 and ("25%" in lines[-2]) == (takes == 2)


def test_folds_that_leave_nothing_to_test_are_refused():
    actions, groups = a_data_set(groups=3)
    s = SimpleNamespace(**check(yaml.safe_load((ROOT / "params.yaml").read_text())))
    with pytest.raises(SystemExit, match="study: 5 folds leave one without"):
        study.plan(s, BASE, BASE, actions, groups)


@pytest.mark.slow
def test_on_the_demo_the_words_are_the_known_answers(copied, stage, monkeypatch, capsys):
    write_params(copied, **{"demo.actors": 8, "demo.repetitions": 2, "features.augmented_views": 1, "features.input_size": 128,
                            "study.folds": 3, "study.seeds": 1})  # fmt: skip
    monkeypatch.chdir(copied)
    assert read("study").study.folds == 3
    stage(copied, "study")
    said = (copied / "metrics/study.txt").read_text()
    table = pd.read_csv(copied / "metrics/study.csv").set_index("what")
    assert "the order of frames" in said.splitlines()[3]
    assert "Is half of the clip enough? no" in said
    assert table.loc["frames, mean", "low"] <= 0.8 and table.loc["frames, in order", "value"] > 0.8
    assert table.loc["first", "low"] <= 0.8
    assert capsys.readouterr().out.endswith(said)
