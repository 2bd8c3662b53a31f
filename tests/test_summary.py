"""The summary and the table of scores agree with the other tables, and with what is known about the demo."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from glimpse.evaluate.intervals import accuracy_score, paired_difference
from glimpse.evaluate.metrics import Scores
from glimpse.evaluate.summary import baseline_lines, summary, threshold_line

TABLES = ["scores", "baselines", "accuracy_by_frames", "warnings", "predictions-first5", "predictions-all10"]
BASELINES = ("chance", "majority", "middle_frame", "shuffled_frames", "evenly_spaced_frames")


@pytest.fixture
def text(trained):
    return (trained / "metrics/summary.txt").read_text()


@pytest.fixture
def tables(trained):
    return {name: pd.read_csv(trained / f"metrics/tables/{name}.csv", keep_default_na=False) for name in TABLES}


def test_the_scores_are_those_of_the_predictions(trained, tables):
    scores = tables["scores"].set_index(["approach", "measure"])
    metrics = json.loads((trained / "metrics/test.json").read_text())
    for approach in ("first5", "all10"):
        predictions = tables[f"predictions-{approach}"]
        correct = (predictions["action"] == predictions["predicted"]).to_numpy()
        expected = accuracy_score(correct, predictions["group"].to_numpy())
        row = scores.loc[approach, "accuracy"]
        assert float(row["value"]) == metrics[approach]["accuracy"] == pytest.approx(expected.value)
        assert (float(row["low"]), float(row["high"])) == pytest.approx((expected.low, expected.high), abs=1e-4)
        assert float(scores.loc[approach, "recall"]["value"]) == pytest.approx(metrics[approach]["recall"], abs=1e-4)
        answered = predictions.filter(like="p(").max(axis=1) >= float(scores.loc[approach, "threshold"]["value"])
        assert float(scores.loc[approach, "coverage"]["value"]) == pytest.approx(answered.mean(), abs=1e-4)
        if answered.any():
            selective = scores.loc[approach, "selective_accuracy"]
            assert float(selective["value"]) == pytest.approx(correct[answered].mean(), abs=1e-4)
            assert selective["n"] == answered.sum()
        assert {"ece_before", "ece", "temperature"} <= set(scores.loc[approach].index)


def test_the_summary_agrees_with_the_tables(text, tables):
    scores = tables["scores"].set_index(["approach", "measure"])
    for approach in ("first5", "all10"):
        accuracy, recall = (scores.loc[approach, name].iloc[:3].astype(float) for name in ("accuracy", "recall"))
        (line,) = re.findall(rf"^ *{approach}: accuracy .*$", text, re.MULTILINE)
        numbers = [float(number) for number in re.findall(r"\d\.\d{3}", line)[:6]]
        assert numbers == pytest.approx([*accuracy, *recall], abs=1.01e-3)
    for measure in ("accuracy", "recall"):
        note = scores.loc["all10 - first5", measure]["note"]
        assert note.startswith("p ") and f"{measure}: {note.partition(': ')[2]}" in text
    for accuracy in tables["baselines"]["accuracy"]:
        assert f"{float(accuracy):.3f}" in text
    for message in tables["warnings"]["message"]:
        assert f"WARNING: {message}" in text
    assert 12 <= len(text.splitlines()) <= 22


def test_the_result_does_not_contradict_the_limits_of_the_demo(text, tables):
    """all10 can reach accuracy 1.0 there, first5 only 0.8: first5 can't be the better one."""
    assert "first5 is better than all10" not in text
    difference = tables["scores"].set_index(["approach", "measure"]).loc["all10 - first5", "accuracy"]
    assert float(difference["value"]) > 0 and float(difference["low"]) <= 0.2 <= float(difference["high"])


def test_the_summary_has_no_path_and_no_time(trained, text):
    assert str(trained) not in text and not re.search(r"\d\d:\d\d|models/|data/", text)


@pytest.fixture
def results():
    """Made-up results on 60 clips in 12 groups."""
    groups, clips = np.arange(60) % 12, 60
    correct = {"first5": np.arange(clips) < 30, "all10": np.arange(clips) < 55}
    scores = {
        name: Scores(accuracy_score(values, groups), accuracy_score(values, groups), ece_before=0.2, ece=0.1,
                     temperature=1.5, threshold=np.inf, coverage=0.0, selective_accuracy=None)
        for name, values in correct.items()
    }  # fmt: skip
    difference = paired_difference(correct["first5"], correct["all10"], groups)
    by_frames = pd.DataFrame({"frames": [1, 2], "all10": [0.5, 0.9], "observation_ratio": [0.2, 0.9]})
    baselines = pd.DataFrame({"baseline": BASELINES, "accuracy": 0.5, "low": 0.4, "high": 0.6})
    subsets = pd.DataFrame({"first5_accuracy": [0.88, 0.92], "all10_accuracy": 0.95})
    tables = {"accuracy_by_frames": by_frames, "baselines": baselines, "subsets": subsets, "warnings": warnings_table()}
    return {"scores": scores, "num_frames": {"first5": 1, "all10": 2}, "differences": {"accuracy": difference},
            "order_effect": difference, "max_error": 0.1, "tables": tables}  # fmt: skip


def warnings_table(*messages):
    return pd.DataFrame({"message": messages})


def test_approaches_that_read_the_same_frames_are_not_compared(results):
    lines = summary(**results)
    assert "accuracy on train and val clips 0.900 (+0.400)" in lines[1]
    assert not any("read the same" in line for line in lines) and any(line.startswith("accuracy: ") for line in lines)
    curve = "all10 after 1 frames (observation ratio 20 %): accuracy 0.500; after 2 (90 %): 0.900"
    assert curve in lines
    lines = summary(**results | {"num_frames": {"first5": 2, "all10": 2}})
    assert any("read the same 2 frames" in line for line in lines) and curve not in lines
    assert not any(line.startswith("accuracy: ") for line in lines)


def test_warnings_come_last_or_their_absence_is_stated(results):
    assert summary(**results)[-1] == "no warning"
    tables = results["tables"] | {"warnings": warnings_table("a", "b")}
    assert summary(**results | {"tables": tables})[-2:] == ["WARNING: a", "WARNING: b"]


def test_the_order_of_frames_matters_only_if_the_effect_is_significant(results):
    table = results["tables"]["baselines"]
    text = "the order of the frames matters to all10: +"
    assert text in list(baseline_lines(table, 5, results["order_effect"]))[-1]
    correct = np.arange(60) < 30
    no_effect = paired_difference(correct, correct, np.arange(60))
    assert "no significant effect of the order" in list(baseline_lines(table, 5, no_effect))[-1]


@pytest.mark.parametrize(
    ("threshold", "coverage", "text"),
    [
        (np.inf, 0.0, 'every clip is "unknown": no confidence threshold is sufficient on val'),
        (0.9, 0.0, "below confidence 0.900, which is every test clip"),
        (0.9, 0.5, "below confidence 0.900: coverage 50 %, accuracy of the answered clips 92 %"),
    ],
)
def test_the_threshold_comes_with_its_coverage(results, threshold, coverage, text):
    scores = results["scores"]["all10"]
    selective = scores.accuracy if coverage else None
    scores = replace(scores, threshold=threshold, coverage=coverage, selective_accuracy=selective)
    assert text in threshold_line("all10", scores, 0.1)
