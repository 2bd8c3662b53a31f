"""The summary and the table of scores say what the other tables say, and nothing against what is known."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from glimpse.evaluate.intervals import accuracy_score, paired_difference
from glimpse.evaluate.summary import baseline_lines, calibration_lines, summary

TABLES = ["scores", "controls", "early", "alarms", "predictions-first5", "predictions-all10"]


@pytest.fixture
def told(trained):
    tables = {name: pd.read_csv(trained / f"metrics/{name}.csv", keep_default_na=False) for name in TABLES}
    return (trained / "metrics/summary.txt").read_text(), tables


def test_the_scores_are_those_of_the_predictions(trained, told):
    scores = told[1]["scores"].set_index(["approach", "measure"])
    metrics = json.loads((trained / "metrics/test.json").read_text())
    for approach in ("first5", "all10"):
        held = told[1][f"predictions-{approach}"]
        right = (held["action"] == held["predicted"]).to_numpy()
        expected = accuracy_score(right, held["group"].to_numpy())
        row = scores.loc[approach, "accuracy"]
        assert float(row["value"]) == metrics[approach]["accuracy"] == pytest.approx(expected.value)
        assert (float(row["low"]), float(row["high"])) == pytest.approx((expected.low, expected.high), abs=1e-4)
        assert float(scores.loc[approach, "recall"]["value"]) == pytest.approx(metrics[approach]["recall"], abs=1e-4)
        answered = held.filter(like="p(").max(axis=1) >= float(scores.loc[approach, "threshold"]["value"])
        assert float(scores.loc[approach, "answered"]["value"]) == pytest.approx(answered.mean(), abs=1e-4)
        if answered.any():
            kept = scores.loc[approach, "answered_accuracy"]
            assert float(kept["value"]) == pytest.approx(right[answered].mean(), abs=1e-4)
            assert kept["n"] == answered.sum()
        assert {"ece_before", "ece", "temperature"} <= set(scores.loc[approach].index)


def test_the_summary_agrees_with_the_tables(told):
    text, tables = told
    scores = tables["scores"].set_index(["approach", "measure"])
    for approach in ("first5", "all10"):
        accuracy, recall = (scores.loc[approach, name].iloc[:3].astype(float) for name in ("accuracy", "recall"))
        words = [f"{value:.3f}" for row in (accuracy, recall) for value in row]
        (line,) = re.findall(rf"^ *{approach}: accuracy .*$", text, re.MULTILINE)
        assert [float(word) for word in re.findall(r"\d\.\d{3}", line)[:6]] == pytest.approx(
            [float(word) for word in words], abs=1.01e-3
        )
    for measure in ("accuracy", "recall"):
        note = scores.loc["all10 - first5", measure]["note"]
        assert note.startswith("p ") and f"in {measure}, {note.partition(': ')[2]}" in text
    for control in tables["controls"].itertuples():
        assert f"{float(control.accuracy):.3f}" in text
    for sentence in tables["alarms"]["sentence"]:
        assert f"ALARM: {sentence}" in text
    assert 12 <= len(text.splitlines()) <= 22


def test_the_verdict_does_not_contradict_what_the_demo_allows(told):
    """all10 can reach 1.0 there, first5 only 0.8: a verdict may be open, with few clips, but never for first5."""
    assert "first5 is better than all10" not in told[0]
    gain = told[1]["scores"].set_index(["approach", "measure"]).loc["all10 - first5", "accuracy"]
    assert float(gain["value"]) > 0 and float(gain["low"]) <= 0.2 <= float(gain["high"])


def test_the_summary_holds_no_path_and_no_time(trained, told):
    assert str(trained) not in told[0] and not re.search(r"\d\d:\d\d|models/|data/", told[0])


def made_up(same):
    """What `summary` takes, of 60 clips in 12 groups; `same`: both approaches read the same frames."""
    groups, count = np.arange(60) % 12, 60
    right = {"first5": np.arange(count) < 30, "all10": np.arange(count) < 55}
    figures = {"ece": 0.1, "ece_before": 0.2, "temperature": 1.5, "threshold": np.inf, "answered": 0.0}
    found = {a: {"accuracy": accuracy_score(r, groups), "recall": accuracy_score(r, groups)} | figures
             for a, r in right.items()}  # fmt: skip
    gain = paired_difference(right["first5"], right["all10"], groups)
    curve = pd.DataFrame({"frames": [1, 2], "all10": [0.5, 0.9], "seen": [0.2, 0.9]})
    table = pd.DataFrame([(name, 0.5, 0.4, 0.6) for name in ("chance", "majority", "middle", "shuffled", "spread")])
    table.columns = ["control", "accuracy", "low", "high"]
    used = [2, 2] if same else [1, 2]
    return found, {"accuracy": gain}, {"first5": 0.9, "all10": 0.95}, used, curve, table, gain, 0.1, []


def test_the_same_frames_and_no_alarm_are_said():
    lines = summary(*made_up(same=True))
    assert any("read the same 2 frames" in line for line in lines) and lines[-1] == "no alarm"
    lines = summary(*made_up(same=False))
    assert not any("read the same" in line for line in lines)
    assert any("after 1 frames (20 % of a clip seen): accuracy 0.500, after 2 (90 %): 0.900" in line for line in lines)


def test_whether_order_counts_is_said_only_if_the_clips_show_it():
    *_, table, gain, _, _ = made_up(same=False)
    assert "so it uses the order" in list(baseline_lines(table, 5, gain))[-1]
    right = np.arange(60) < 30
    assert "not seen to use" in list(baseline_lines(table, 5, paired_difference(right, right, np.arange(60))))[-1]


@pytest.mark.parametrize(
    ("least", "answered", "words"),
    [(np.inf, 0.0, "to every clip: val shows"), (0.9, 0.0, "every test clip"), (0.9, 0.5, "answers 50 % of the clips")],
)
def test_what_is_answered_is_said(least, answered, words):
    found = made_up(same=False)[0]["all10"] | {"threshold": least, "answered": answered}
    found["answered_accuracy"] = found["accuracy"]
    assert words in list(calibration_lines({"all10": found}, 0.1))[-1]
