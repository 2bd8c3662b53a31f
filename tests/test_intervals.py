"""Intervals: 95 of 100 hold the truth, whatever the groups; none claims to know without doubt; verdicts in words."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest

from glimpse.evaluate import intervals
from glimpse.evaluate.intervals import PairedDifference, accuracy_score, design_effect, paired_difference, recall_score

WORLDS = [(n, groups) for n in (30, 100, 300) for groups in (6, n // 3, n)]
LEAST = 0.93


@pytest.fixture
def quick(monkeypatch):
    """Fewer draws of the bootstrap, made once a number of groups; no sign-flip test, which intervals do without."""
    monkeypatch.setattr(intervals, "RESAMPLES", 400)
    monkeypatch.setattr(intervals, "_resampled", functools.cache(intervals._resampled))
    monkeypatch.setattr(intervals.stats, "permutation_test", lambda *_, **__: SimpleNamespace(pvalue=0.5))


def coverage(n, groups, share, correlation, draws, interval):
    """How often an interval (low, high) holds the truth: interval(rng, group of each clip, answers at a share)."""
    rng = np.random.default_rng([n, groups, round(100 * share), round(10 * correlation)])
    of = np.arange(n) % groups

    def answers(truth):
        """bool (clips,); the groups' own accuracies are Beta, with the correlation within them."""
        a = (1 - correlation) / correlation if correlation else None
        own = rng.beta(truth * a, (1 - truth) * a, groups) if a else np.full(groups, truth)
        return rng.random(n) < own[of]

    held = [low <= truth <= high for low, high, truth in (interval(rng, of, answers) for _ in range(draws))]
    return np.mean(held)


def noise(draws):
    """How far below LEAST a coverage of LEAST may come out by the luck of the simulation: 2.6 standard errors."""
    return 2.6 * np.sqrt(LEAST * (1 - LEAST) / draws)


@pytest.mark.parametrize("correlation", [0, 0.3])
@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_the_interval_of_an_accuracy_holds_the_truth(share, correlation):
    def interval(_, of, answers):
        score = accuracy_score(answers(share), of)
        return score.low, score.high, share

    for n, groups in WORLDS:
        assert coverage(n, groups, share, correlation, 300, interval) >= LEAST - noise(300), (n, groups)


@pytest.mark.parametrize("correlation", [0, 0.3])
@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_the_interval_of_a_recall_holds_the_truth(share, correlation, quick):
    def interval(_, of, answers):
        actions = np.arange(len(of)) // len(np.unique(of)) % 5 if len(np.unique(of)) == 6 else of % 5
        score = recall_score(answers(share), actions, of)
        return score.low, score.high, share

    for n, groups in WORLDS:
        assert coverage(n, groups, share, correlation, 100, interval) >= LEAST - noise(100), (n, groups)


@pytest.mark.parametrize("actions", [False, True])
@pytest.mark.parametrize("correlation", [0, 0.3])
@pytest.mark.parametrize("share", [0.5, 0.85])
def test_the_interval_of_a_difference_holds_the_truth(share, correlation, actions, quick):
    def interval(rng, of, answers):
        """The second answers as the first does on 7 of 10 clips, and on the others is right more often by 0.1."""
        first = answers(share)
        second = np.where(rng.random(len(of)) < 0.7, first, answers(share + 0.1))
        apart = paired_difference(first, second, of, np.arange(len(of)) % 5 if actions else None)
        return apart.low, apart.high, 0.3 * 0.1

    for n, groups in WORLDS:
        assert coverage(n, groups, share, correlation, 100, interval) >= LEAST - noise(100), (n, groups)


def test_an_interval_that_knows_no_groups_misses_the_truth():
    """The simulation can fail: Wilson's interval as if clips were independent, with a correlation of 0.3 in groups."""

    def interval(_, of, answers):
        return *intervals._wilson(answers(0.8).mean(), len(of), 10**6), 0.8

    assert coverage(300, 30, 0.8, 0, 300, interval) >= LEAST - noise(300)
    assert coverage(300, 30, 0.8, 0.3, 300, interval) < LEAST - 5 * noise(300)


def test_the_sign_flip_test_is_fooled_no_more_often_than_it_says():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(15), 4)
    fooled = [paired_difference(*(rng.random((2, 60)) < 0.7), groups).p <= 0.05 for _ in range(100)]
    assert np.mean(fooled) <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / 100)


@pytest.mark.parametrize("n", [1, 2, 5, 40])
@pytest.mark.parametrize("groups", [1, 2, 40])
def test_no_interval_has_no_width_and_none_leaves_its_bounds(n, groups):
    of, actions = np.arange(n) % groups, np.arange(n) % 3
    for right in (np.ones(n, bool), np.zeros(n, bool)):
        for score in (accuracy_score(right, of), recall_score(right, actions, of)):
            assert 0 <= score.low < score.high <= 1 and score.low <= score.value <= score.high
        for other in (right, ~right):
            for apart in (paired_difference(right, other, of), paired_difference(right, other, of, actions)):
                assert -1 <= apart.low < apart.high <= 1 and apart.low <= apart.value <= apart.high
                assert 0 < apart.p <= 1 and apart.needed >= 1


def test_few_groups_are_named():
    right = np.arange(30) % 4 > 0
    assert "only 3 groups" in accuracy_score(right, np.arange(30) % 3).note
    assert accuracy_score(right, np.arange(30) % 6).note == ""


def test_groups_that_answer_as_one_count_as_one_clip_each():
    hits, sizes = np.array([10, 0] * 10), np.full(20, 10)
    assert design_effect(hits, sizes) == pytest.approx(10, rel=0.1)
    assert design_effect(np.tile([5, 6, 4, 5], 5), sizes) == pytest.approx(1, abs=0.3)


def clips(both, only_first, only_second, neither=0):
    """Two lots of answers with so many clips of each kind."""
    pairs = [(True, True)] * both + [(True, False)] * only_first + [(False, True)] * only_second
    return np.array(pairs + [(False, False)] * neither).T


def test_the_verdict_names_the_better_and_by_how_much():
    first, second = clips(60, 2, 20)
    groups = np.arange(82)
    words = paired_difference(first, second, groups).in_words("first5", "all10")
    assert words.startswith("all10 is better than first5 by 22 points (")
    mirrored = paired_difference(second, first, groups).in_words("first5", "all10")
    assert mirrored.startswith("first5 is better than all10 by 22 points (")


def test_the_verdict_says_when_the_clips_cannot_tell():
    words = paired_difference(*clips(20, 4, 6), np.arange(30)).in_words("first5", "all10")
    assert words.startswith("30 clips cannot tell first5 and all10 apart (+7 points, -") and "would be needed" in words
    alike = paired_difference(*clips(990, 5, 5), np.arange(1000)).in_words("first5", "all10")
    assert alike.endswith("a difference of 5 points would probably have shown") and "(+0 points, " in alike


def test_fewer_clips_are_needed_where_the_answers_agree_more():
    needed = [
        paired_difference(*clips(100 - 2 * differ, differ, differ), np.arange(100)).needed for differ in (2, 10, 30)
    ]
    assert needed[0] < needed[1] < needed[2]


def test_the_same_answers_give_the_same_figures():
    groups = np.arange(30) % 10
    assert paired_difference(*clips(20, 4, 6), groups) == paired_difference(*clips(20, 4, 6), groups)
    assert isinstance(paired_difference(*clips(20, 4, 6), groups), PairedDifference)
