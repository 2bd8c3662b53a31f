"""Intervals: 95 % contain the true value whatever the groups; none has width 0; results in sentences."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest

from glimpse.evaluate import intervals
from glimpse.evaluate.intervals import PairedDifference, accuracy_score, design_effect, paired_difference, recall_score

SIZES = [(n, groups) for n in (30, 100, 300) for groups in (6, n // 3, n)]
MIN_COVERAGE = 0.93


@pytest.fixture
def quick(monkeypatch):
    """Fewer bootstrap resamples, drawn once per number of groups; no sign-flip test, which intervals do not use."""
    monkeypatch.setattr(intervals, "RESAMPLES", 400)
    monkeypatch.setattr(intervals, "_bootstrap_weights", functools.cache(intervals._bootstrap_weights))
    monkeypatch.setattr(intervals.stats, "permutation_test", lambda *_, **__: SimpleNamespace(pvalue=0.5))


def coverage(n, num_groups, accuracy, correlation, draws, interval):
    """How often an interval contains the true value: interval(rng, group of each clip, sampler) -> low, high, value."""
    rng = np.random.default_rng([n, num_groups, round(100 * accuracy), round(10 * correlation)])
    groups = np.arange(n) % num_groups

    def sample_correct(value):
        """bool (clips,); accuracies of groups are Beta distributed, with the correlation within a group."""
        a = (1 - correlation) / correlation if correlation else None
        by_group = rng.beta(value * a, (1 - value) * a, num_groups) if a else np.full(num_groups, value)
        return rng.random(n) < by_group[groups]

    draws = (interval(rng, groups, sample_correct) for _ in range(draws))
    return np.mean([low <= value <= high for low, high, value in draws])


def noise(draws):
    """How far below MIN_COVERAGE an estimate may be by chance: 2.6 standard errors."""
    return 2.6 * np.sqrt(MIN_COVERAGE * (1 - MIN_COVERAGE) / draws)


@pytest.mark.parametrize("correlation", [0, 0.3])
@pytest.mark.parametrize("accuracy", [0.5, 0.8, 0.95])
def test_the_interval_of_an_accuracy_contains_the_true_value(accuracy, correlation):
    def interval(_, groups, sample_correct):
        score = accuracy_score(sample_correct(accuracy), groups)
        return score.low, score.high, accuracy

    for n, groups in SIZES:
        assert coverage(n, groups, accuracy, correlation, 300, interval) >= MIN_COVERAGE - noise(300), (n, groups)


@pytest.mark.parametrize("correlation", [0, 0.3])
@pytest.mark.parametrize("accuracy", [0.5, 0.8, 0.95])
def test_the_interval_of_a_recall_contains_the_true_value(accuracy, correlation, quick):
    def interval(_, groups, sample_correct):
        num_groups = len(np.unique(groups))
        labels = np.arange(len(groups)) // num_groups % 5 if num_groups == 6 else groups % 5
        score = recall_score(sample_correct(accuracy), labels, groups)
        return score.low, score.high, accuracy

    for n, groups in SIZES:
        assert coverage(n, groups, accuracy, correlation, 100, interval) >= MIN_COVERAGE - noise(100), (n, groups)


@pytest.mark.parametrize("by_class", [False, True])
@pytest.mark.parametrize("correlation", [0, 0.3])
@pytest.mark.parametrize("accuracy", [0.5, 0.85])
def test_the_interval_of_a_difference_contains_the_true_value(accuracy, correlation, by_class, quick):
    def interval(rng, groups, sample_correct):
        """The second model agrees with the first on 7 of 10 clips; on the others its accuracy is higher by 0.1."""
        first = sample_correct(accuracy)
        second = np.where(rng.random(len(groups)) < 0.7, first, sample_correct(accuracy + 0.1))
        difference = paired_difference(first, second, groups, np.arange(len(groups)) % 5 if by_class else None)
        return difference.low, difference.high, 0.3 * 0.1

    for n, groups in SIZES:
        assert coverage(n, groups, accuracy, correlation, 100, interval) >= MIN_COVERAGE - noise(100), (n, groups)


def test_an_interval_that_ignores_groups_fails_the_simulation():
    """The simulation can fail: Wilson's interval as if clips were independent, with correlation 0.3 within groups."""

    def interval(_, groups, sample_correct):
        return *intervals._wilson(sample_correct(0.8).mean(), len(groups), 10**6), 0.8

    assert coverage(300, 30, 0.8, 0, 300, interval) >= MIN_COVERAGE - noise(300)
    assert coverage(300, 30, 0.8, 0.3, 300, interval) < MIN_COVERAGE - 5 * noise(300)


def test_the_sign_flip_test_has_its_nominal_error_rate():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(15), 4)
    rejected = [paired_difference(*(rng.random((2, 60)) < 0.7), groups).p <= 0.05 for _ in range(100)]
    assert np.mean(rejected) <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / 100)


@pytest.mark.parametrize("n", [1, 2, 5, 40])
@pytest.mark.parametrize("num_groups", [1, 2, 40])
def test_every_interval_has_a_width_and_is_within_its_bounds(n, num_groups):
    groups, labels = np.arange(n) % num_groups, np.arange(n) % 3
    for correct in (np.ones(n, bool), np.zeros(n, bool)):
        for score in (accuracy_score(correct, groups), recall_score(correct, labels, groups)):
            assert 0 <= score.low < score.high <= 1 and score.low <= score.value <= score.high
        for other in (correct, ~correct):
            for labels_or_none in (None, labels):
                difference = paired_difference(correct, other, groups, labels_or_none)
                assert -1 <= difference.low < difference.high <= 1
                assert difference.low <= difference.value <= difference.high
                assert 0 < difference.p <= 1 and difference.clips_needed >= 1


def test_few_groups_are_noted():
    correct = np.arange(30) % 4 > 0
    assert "only 3 groups" in accuracy_score(correct, np.arange(30) % 3).note
    assert accuracy_score(correct, np.arange(30) % 6).note == ""


def test_the_design_effect_of_identical_clips_is_the_group_size():
    hits, sizes = np.array([10, 0] * 10), np.full(20, 10)
    assert design_effect(hits, sizes) == pytest.approx(10, rel=0.1)
    assert design_effect(np.tile([5, 6, 4, 5], 5), sizes) == pytest.approx(1, abs=0.3)


def correctness(both, only_first, only_second, neither=0):
    """Correctness of two models, (2, clips), with so many clips of each kind."""
    pairs = [(True, True)] * both + [(True, False)] * only_first + [(False, True)] * only_second
    return np.array(pairs + [(False, False)] * neither).T


def test_a_significant_difference_names_the_better_model():
    first, second = correctness(60, 2, 20)
    groups = np.arange(82)
    text = paired_difference(first, second, groups).describe("first5", "all10")
    assert text.startswith("all10 is better than first5 by 22 points (")
    text = paired_difference(second, first, groups).describe("first5", "all10")
    assert text.startswith("first5 is better than all10 by 22 points (")


def test_a_difference_that_is_not_significant_comes_with_the_clips_needed():
    text = paired_difference(*correctness(20, 4, 6), np.arange(30)).describe("first5", "all10")
    assert text.startswith("no significant difference between first5 and all10 on 30 clips (+7 points, -")
    assert "clips are needed to detect 5 points" in text
    text = paired_difference(*correctness(990, 5, 5), np.arange(1000)).describe("first5", "all10")
    assert text.endswith("a difference of 5 points would probably have been detected") and "(+0 points, " in text


def test_with_fewer_than_six_groups_no_difference_is_significant():
    difference = paired_difference(*correctness(10, 0, 20), np.arange(30) % 5)
    assert not difference.significant
    assert "with 5 groups (+67 points): at least 6 are needed" in difference.describe("first5", "all10")


def test_fewer_clips_are_needed_where_predictions_agree_more():
    needed = [
        paired_difference(*correctness(100 - 2 * number, number, number), np.arange(100)).clips_needed
        for number in (2, 10, 30)
    ]
    assert needed[0] < needed[1] < needed[2]


def test_the_same_predictions_give_the_same_difference():
    groups = np.arange(30) % 10
    assert paired_difference(*correctness(20, 4, 6), groups) == paired_difference(*correctness(20, 4, 6), groups)
    assert isinstance(paired_difference(*correctness(20, 4, 6), groups), PairedDifference)
