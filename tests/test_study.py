"""The study: it plans what its questions need, and its sentences say what the figures say."""

from dataclasses import asdict, replace

import pandas as pd
import pytest
from conftest import run_tool, write_params
from test_cross_validation import folded_clips

from glimpse.tools import study
from glimpse.tools.cross_validation import Trial

BASE = Trial(num_frames=10, head="lstm", num_modalities=2, seed=0, fold=0)


def results(accuracies, groups=40, seeds=2):
    """StudyResults in which the trials of each result are correct for a given share of the clips of every group."""
    trials, rows = {}, []
    for number, (key, accuracy) in enumerate(accuracies.items()):
        trials[key] = [replace(BASE, num_frames=number, seed=seed) for seed in range(seeds)]
        for trial in trials[key]:
            for clip in range(groups * 4):
                correct = (clip * 7 % (groups * 4)) < accuracy * groups * 4
                rows.append(asdict(trial) | {"clip": f"{clip:03d}", "action": "a", "group": f"g{clip % groups}",
                                             "correct": correct, "answered": True, "split": "test"})  # fmt: skip
    return study.StudyResults(pd.DataFrame(rows), trials)


def test_appearance_motion_and_order_are_distinguished():
    def verdict(order, motion):
        accuracies = {"RGB, mean": 0.6, "RGB, lstm": order, "mean": motion}
        return study.appearance_motion_order(results(accuracies), 2, True)[-1]

    assert verdict(0.95, 0.6) == "Appearance alone is not enough on these clips: the order of the frames helps."
    assert verdict(0.6, 0.95) == "Appearance alone is not enough on these clips: the motion between frames helps."
    assert verdict(0.95, 0.95).endswith("the order of the frames and the motion between them help.")
    assert verdict(0.6, 0.6).startswith("Appearance alone is enough on these clips")


def test_the_lstm_helps_only_where_it_beats_the_heads_without_order():
    assert "? yes:" in study.lstm_verdict(results({"lstm": 0.95, "mean": 0.6, "attention": 0.5, "ridge": 0.5}))
    assert "? no:" in study.lstm_verdict(results({"lstm": 0.5, "mean": 0.5, "attention": 0.5, "ridge": 0.95}))
    assert "? not measurably:" in study.lstm_verdict(
        results({"lstm": 0.7, "mean": 0.7, "attention": 0.7, "ridge": 0.7})
    )


def test_half_of_the_clip_is_enough_only_where_all_of_it_is_no_better():
    assert "enough? no:" in study.half_verdict(results({"all10": 0.95, "first5": 0.6}), 5, 10)
    assert "enough? yes:" in study.half_verdict(results({"all10": 0.9, "first5": 0.9}, groups=400), 5, 10)
    assert "Not measured" in study.half_verdict(results({"all10": 0.9, "first5": 0.9}), 10, 10)


def test_the_learning_curve_is_extrapolated_along_its_trend():
    accuracies = {"train share 0.25": 0.2, "train share 0.5": 0.6, "train share 0.75": 0.733, "all10": 0.8}
    scores, doubled, text = study.learning_curve(results(accuracies, groups=200))  # errors 0.8, 0.4, 0.27, 0.2
    assert [score.value for score in scores] == pytest.approx(list(accuracies.values()), abs=0.01)
    assert doubled == pytest.approx(0.9, abs=0.01) and "an extrapolation" in text
    _, _, flat = study.learning_curve(results(dict.fromkeys(accuracies, 0.7)))
    assert "no gain that this curve shows" in flat


@pytest.mark.parametrize("head", ["lstm+mean", "lstm", "gru", "mean", "attention", "ridge"])
@pytest.mark.parametrize("repetitions", [2, 12])
def test_the_planned_trials_answer_every_question(head, repetitions):
    """With made-up predictions for all planned trials, whatever is set and however few groups there are."""
    data = folded_clips(groups=12 if repetitions == 2 else 4, repetitions=repetitions)
    base = replace(BASE, head=head)
    trials = study.plan(base, replace(base, num_frames=5), data, seeds=2)
    rows = []
    for trial in dict.fromkeys(trial for planned in trials.values() for trial in planned):
        rows += [asdict(trial) | {"split": "test", "clip": str(row), "action": data.actions[row],
                                  "group": data.groups[row], "correct": row % 3 > 0, "answered": row % 2 > 0}
                 for row in data.split(trial)["test"]]  # fmt: skip
    answers = study.StudyResults(pd.DataFrame(rows), trials)
    lines = [*study.appearance_motion_order(answers, 2, True), study.lstm_verdict(answers)]
    lines += [study.half_verdict(answers, 5, 10), study.stability(answers)]
    lines += [study.learning_curve(answers)[2], study.unknown_actions(answers, 0.1)[1]]
    assert len(lines) == 9 and ("25%" in lines[-2]) == (repetitions == 2)


def test_folds_without_clips_to_test_are_refused():
    with pytest.raises(SystemExit, match="study: with --folds 5 a fold has no clips of some action"):
        study.plan(BASE, BASE, folded_clips(folds=5, groups=3), seeds=2)


@pytest.mark.parametrize("arguments", [("--folds", 1), ("--seeds", 0)])
def test_impossible_numbers_of_folds_and_seeds_are_refused(arguments):
    with pytest.raises(SystemExit, match="--folds must be 2 or more, and --seeds 1 or more"):
        run_tool(study, *arguments)


@pytest.mark.slow
def test_on_the_demo_the_study_gives_the_known_answers(copied, stage, monkeypatch, capsys):
    write_params(copied, **{"demo.actors": 8, "demo.repetitions": 2, "features.augmented_views": 1,
                            "features.input_size": 128})  # fmt: skip
    monkeypatch.chdir(copied)
    run_tool(study, "--folds", 3, "--seeds", 1)
    text = (copied / "metrics/study.txt").read_text()
    table = pd.read_csv(copied / "metrics/study.csv").set_index("result")
    assert "the order of the frames" in text.splitlines()[3]
    assert "Is half of the clip enough? no" in text
    assert table.loc["RGB, mean", "low"] <= 0.8 and table.loc["RGB, lstm", "value"] > 0.8
    assert table.loc["first5", "low"] <= 0.8
    assert capsys.readouterr().out.endswith(text)
