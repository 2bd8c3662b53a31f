"""Calibration: a known temperature is recovered; a confidence threshold limits the share of wrong answers."""

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax

from glimpse.evaluate.curves import accuracy_coverage, calibration_error, reliability_bins
from glimpse.inference.confidence import confidence_threshold
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.model.calibration import apply_temperature, calibrate, fit_temperature
from glimpse.model.model_file import load_model


def sample_logits(clips, temperature, seed=0):
    """Logits (clips, 5) that are too large by `temperature`, and class indices drawn from the true probabilities."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (clips, 5))
    labels = np.array([rng.choice(5, p=probs) for probs in softmax(logits, axis=1)])
    return logits * temperature, labels


@pytest.mark.parametrize("temperature", [0.5, 1, 3])
def test_a_known_temperature_is_recovered(temperature):
    logits, labels = sample_logits(4000, temperature)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.1)


def test_no_mistake_on_val_does_not_give_probabilities_of_1():
    logits = np.eye(5)[np.arange(20) % 5] * 3
    temperature = fit_temperature(logits, np.arange(20) % 5)
    assert softmax(logits / temperature, axis=1).max() < 0.97


def test_temperature_scaling_lowers_the_calibration_error_of_overconfident_probabilities():
    (val_logits, val_labels), (logits, labels) = sample_logits(300, 3), sample_logits(300, 3, seed=1)
    before = softmax(logits, axis=1)
    after = apply_temperature(before, fit_temperature(val_logits, val_labels))
    assert calibration_error(before, labels) > 0.15 > 0.1 > calibration_error(after, labels)
    assert (before.argmax(1) == after.argmax(1)).all()  # predictions stay


def test_the_inverse_temperature_restores_the_probabilities():
    probs = softmax(sample_logits(50, 1)[0], axis=1)
    assert np.allclose(apply_temperature(apply_temperature(probs, 2.5), 1 / 2.5), probs)
    assert np.isfinite(apply_temperature(np.array([[1.0, 0.0]]), 0.05)).all()


def test_the_calibration_error_is_the_distance_of_confidence_and_accuracy_by_bin():
    probs, labels = np.array([[0.85, 0.15]] * 4 + [[0.45, 0.55]] * 4), np.array([0, 0, 0, 1, 1, 1, 0, 0])
    assert calibration_error(probs, labels) == pytest.approx((0.10 + 0.05) / 2, abs=1e-6)
    bins = reliability_bins(probs, labels)
    assert list(bins) == ["low", "high", "clips", "confidence", "accuracy"]
    assert bins.to_numpy() == pytest.approx(np.array([[0.5, 0.6, 4, 0.55, 0.5], [0.8, 0.9, 4, 0.85, 0.75]]))


def test_a_confidence_of_1_is_in_the_last_bin():
    bins = reliability_bins(np.array([[1.0, 0.0], [0.05, 0.95]]), np.array([0, 0]))
    assert bins.to_numpy() == pytest.approx(np.array([[0.9, 1.0, 2, 0.975, 0.5]]))


@pytest.mark.parametrize("max_error", [0.05, 0.1, 0.3])
def test_the_threshold_limits_the_share_of_wrong_answers(max_error):
    """In the mean over 400 val splits of 60 clips and as many test clips; no answers count as no wrong answer."""
    rng, wrong, coverage = np.random.default_rng(0), [], []
    for _ in range(400):
        confidence = rng.uniform(0.2, 1, (2, 60))
        correct = rng.random((2, 60)) < confidence
        answered = confidence[1] >= confidence_threshold(confidence[0], correct[0], max_error)
        wrong.append(np.mean(~correct[1][answered]) if answered.any() else 0.0)
        coverage.append(answered.mean())
    assert np.mean(wrong) <= max_error + 2.6 * np.std(wrong) / 20
    assert np.mean(coverage) > 0.02 if max_error < 0.3 else np.mean(coverage) > 0.3


def test_a_smaller_max_error_never_lowers_the_threshold():
    rng = np.random.default_rng(1)
    confidence = rng.random(80).round(1)  # with many ties
    correct = rng.random(80) < confidence
    thresholds = [confidence_threshold(confidence, correct, max_error) for max_error in np.linspace(0.01, 0.99, 50)]
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[0] == math.inf and thresholds[-1] <= 0.1


def test_equally_confident_clips_are_answered_together():
    confidence, correct = np.full(20, 0.9), np.arange(20) >= 10
    assert confidence_threshold(confidence, correct, 0.4) == math.inf
    assert confidence_threshold(confidence, correct, 0.6) == 0.9


def test_too_few_val_clips_to_show_an_error_rate_give_no_answers():
    assert confidence_threshold([0.9] * 5, [True] * 5, 0.1) == math.inf
    assert confidence_threshold([0.9] * 9, [True] * 9, 0.1) == 0.9
    assert confidence_threshold([], [], 0.5) == math.inf


def test_accuracy_at_full_coverage_is_the_accuracy():
    logits, labels = sample_logits(90, 1)
    probs = softmax(logits, axis=1)
    correct = probs.argmax(1) == labels
    curve = accuracy_coverage(probs, labels)
    assert list(curve) == ["coverage", "confidence", "accuracy"]
    assert len(curve) == 20 and curve["coverage"].is_monotonic_increasing and curve["coverage"].iloc[-1] == 1
    assert curve["accuracy"].iloc[-1] == pytest.approx(correct.mean())
    assert curve["accuracy"].iloc[4] > curve["accuracy"].iloc[-1]
    for row in curve.itertuples():
        answered = probs.max(1) >= row.confidence
        assert answered.mean() == row.coverage and correct[answered].mean() == pytest.approx(row.accuracy)


def test_clips_of_equal_confidence_are_one_point_of_the_curve():
    curve = accuracy_coverage(np.array([[0.9, 0.1]] * 30 + [[0.4, 0.6]] * 10), np.zeros(40, int))
    assert curve.to_numpy().tolist() == [[0.75, 0.9, 1.0], [1.0, 0.6, 0.75]]


def test_the_model_file_has_what_a_threshold_for_any_error_needs(trained):
    path = trained / "models/all10/model.pt"
    config, recognizer = load_model(path).config, TorchRecognizer(path)
    assert len(config.val_confidence) == len(config.val_correct) == 20
    assert np.mean(config.val_correct) == pytest.approx(config.best_epoch["val_accuracy"], abs=1e-6)
    assert recognizer.threshold(0.5) == confidence_threshold(config.val_confidence, config.val_correct, 0.5)
    logits = torch.tensor([[1.0, 2.0, 0.0, 0.0, 0.0]])
    assert np.allclose(recognizer._probabilities(logits), torch.softmax(logits / config.temperature, 1).numpy())


def test_calibrate_returns_confidence_and_correctness_of_each_val_clip():
    logits, labels = sample_logits(30, 1)
    fields = calibrate(logits, labels)
    assert fields["val_correct"] == (logits.argmax(1) == labels).tolist()
    assert fields["val_confidence"] == pytest.approx(softmax(logits / fields["temperature"], axis=1).max(1))
