"""Calibration: a known temperature is found again, and below the threshold is what would be wrong too often."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from glimpse.evaluate.reliability import accuracy_coverage, calibration_error, reliability_bins
from scipy.special import softmax
from test_evaluate import run_predict

from glimpse.inference.confidence import confidence_threshold
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.model import network as model
from glimpse.model.calibration import apply_temperature, calibrate, fit_temperature


def made_up(clips, temperature, seed=0):
    """Logits (clips, 5) that are `temperature` times too sharp, and actions drawn as the right ones say."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (clips, 5))
    actions = np.array([rng.choice(5, p=chances) for chances in softmax(logits, axis=1)])
    return logits * temperature, actions


@pytest.mark.parametrize("temperature", [0.5, 1, 3])
def test_a_known_temperature_is_found_again(temperature):
    logits, actions = made_up(4000, temperature)
    assert fit_temperature(logits, actions) == pytest.approx(temperature, rel=0.1)


def test_a_val_part_without_mistakes_does_not_make_certain():
    logits = np.eye(5)[np.arange(20) % 5] * 3
    temperature = fit_temperature(logits, np.arange(20) % 5)
    assert softmax(logits / temperature, axis=1).max() < 0.97


def test_the_calibration_error_of_over_confident_beliefs_falls():
    (logits, actions), (others, true) = made_up(300, 3), made_up(300, 3, seed=1)
    before = softmax(others, axis=1)
    after = apply_temperature(before, fit_temperature(logits, actions))
    assert calibration_error(before, true) > 0.15 > 0.1 > calibration_error(after, true)
    assert (before.argmax(1) == after.argmax(1)).all()  # no answer changes


def test_tempering_back_gives_the_first_beliefs():
    beliefs = softmax(made_up(50, 1)[0], axis=1)
    assert np.allclose(apply_temperature(apply_temperature(beliefs, 2.5), 1 / 2.5), beliefs)
    assert np.isfinite(apply_temperature(np.array([[1.0, 0.0]]), 0.05)).all()


def test_the_calibration_error_is_the_distance_of_confidence_and_accuracy_by_bin():
    beliefs, actions = np.array([[0.85, 0.15]] * 4 + [[0.45, 0.55]] * 4), np.array([0, 0, 0, 1, 1, 1, 0, 0])
    assert calibration_error(beliefs, actions) == pytest.approx((0.10 + 0.05) / 2, abs=1e-6)
    bins = reliability_bins(beliefs, actions)
    assert bins[["low", "clips", "confidence", "accuracy"]].to_numpy().tolist() == pytest.approx(
        np.array([[0.5, 4, 0.55, 0.5], [0.8, 4, 0.85, 0.75]])
    )


@pytest.mark.parametrize("error", [0.05, 0.1, 0.3])
def test_answers_above_the_threshold_are_wrong_no_more_often_than_stated(error):
    """On the mean over 400 val parts of 60 clips, and as many other clips; no answer at all is no wrong answer."""
    rng, wrong, answered = np.random.default_rng(0), [], []
    for _ in range(400):
        confidence = rng.uniform(0.2, 1, (2, 60))
        right = rng.random((2, 60)) < confidence
        kept = confidence[1] >= confidence_threshold(confidence[0], right[0], error)
        wrong.append(np.mean(~right[1][kept]) if kept.any() else 0.0)
        answered.append(kept.mean())
    assert np.mean(wrong) <= error + 2.6 * np.std(wrong) / 20
    assert np.mean(answered) > 0.02 if error < 0.3 else np.mean(answered) > 0.3


def test_a_stricter_error_never_lowers_the_threshold():
    rng = np.random.default_rng(1)
    confidence = rng.random(80).round(1)  # many are equal
    right = rng.random(80) < confidence
    limits = [confidence_threshold(confidence, right, error) for error in np.linspace(0.01, 0.99, 50)]
    assert limits == sorted(limits, reverse=True) and limits[0] == math.inf and limits[-1] <= 0.1


def test_equally_confident_clips_are_kept_together():
    confidence, right = np.full(20, 0.9), np.arange(20) >= 10
    assert (
        confidence_threshold(confidence, right, 0.4) == math.inf and confidence_threshold(confidence, right, 0.6) == 0.9
    )


def test_too_few_val_clips_to_show_an_error_rate_mean_no_answer():
    assert confidence_threshold([0.9] * 5, [True] * 5, 0.1) == math.inf
    assert confidence_threshold([0.9] * 9, [True] * 9, 0.1) == 0.9
    assert confidence_threshold([], [], 0.5) == math.inf


def test_the_curve_of_answering_less_ends_at_the_accuracy():
    logits, actions = made_up(90, 1)
    beliefs = softmax(logits, axis=1)
    curve = accuracy_coverage(beliefs, actions)
    assert len(curve) == 20 and curve["answered"].is_monotonic_increasing and curve["answered"].iloc[-1] == 1
    assert curve["accuracy"].iloc[-1] == pytest.approx((beliefs.argmax(1) == actions).mean())
    assert curve["accuracy"].iloc[4] > curve["accuracy"].iloc[-1]
    for row in curve.itertuples():
        kept = beliefs.max(1) >= row.threshold
        assert kept.mean() == row.answered


def test_the_model_keeps_val_so_that_any_error_can_be_asked_for(trained):
    kept = model.load(trained / "models/all10/model.pt")
    val = kept["val"]
    assert len(val["confidence"]) == len(val["right"]) == 20
    assert np.mean(val["right"]) == pytest.approx(kept["best"]["val_accuracy"], abs=1e-6)
    recognizer = TorchRecognizer(trained / "models/all10/model.pt")
    assert recognizer.threshold(0.5) == confidence_threshold(val["confidence"], val["right"], 0.5)
    logits = torch.tensor([[1.0, 2.0, 0.0, 0.0, 0.0]])
    expected = torch.softmax(logits / kept["temperature"], 1).numpy()
    assert np.allclose(recognizer._probabilities(logits), expected)


def test_calibrate_says_which_val_clips_are_right():
    logits, actions = made_up(30, 1)
    kept = calibrate(logits, actions)
    assert kept["val"]["right"] == (logits.argmax(1) == actions).tolist()
    assert kept["val"]["confidence"] == pytest.approx(softmax(logits / kept["temperature"], axis=1).max(1))


def test_predict_says_unknown_below_the_threshold_of_the_stated_error(trained, monkeypatch, capsys):
    path = trained / "models/first5/model.pt"
    asked = [trained / "data/demo/sit_down", "--model", path, "--error"]
    least = TorchRecognizer(path).threshold(0.3)
    answers = [json.loads(line) for line in run_predict(monkeypatch, capsys, *asked, 0.3, "--json").out.splitlines()]
    assert all(one["known"] == (max(one["probabilities"].values()) >= least) for one in answers)
    rows = list(csv.DictReader(run_predict(monkeypatch, capsys, *asked, 0.3, "--csv").out.splitlines()))
    assert [row["known"] for row in rows] == ["yes" if one["known"] else "unknown" for one in answers]
    lines = run_predict(monkeypatch, capsys, *asked, 0.001).out.splitlines()  # no val part of 20 clips shows that
    assert all(": unknown (likeliest: " in line and line.count("%") == 3 for line in lines)


@pytest.mark.parametrize("error", ["0", "1", "2", "x"])
def test_an_error_rate_out_of_range_is_refused(monkeypatch, capsys, error):
    with pytest.raises(SystemExit):
        run_predict(monkeypatch, capsys, "clip.avi", "--error", error)
    assert "--error" in capsys.readouterr().err
