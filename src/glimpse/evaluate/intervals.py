"""95 % confidence intervals for clips that are not independent within a group.

Accuracy: Wilson's interval (1927) with the number of clips divided by the design effect (Kish 1965) and Student's t
with groups - 1 degrees of freedom instead of the normal quantile, as Korn and Graubard (1998) do. Recall and paired
differences: a bootstrap over groups (Cameron et al. 2008). tests/test_intervals.py simulates the coverage.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

LEVEL = 0.95
PRIOR_ICC = 0.3  # assumed intraclass correlation of correctness within a group while there are few mistakes
PRIOR_STRENGTH = 5  # number of mistakes at which the estimated design effect weighs half
RESAMPLES = 2000
POWER = 0.8  # probability of detecting MIN_DIFFERENCE with `clips_needed` clips
MIN_DIFFERENCE = 0.05
FEW_GROUPS = 6  # fewest groups for which the coverage was simulated


@dataclass(frozen=True)
class Score:
    """A metric between 0 and 1 with its 95 % interval, the number of clips n and of groups."""

    value: float
    low: float
    high: float
    n: int
    groups: int

    @property
    def note(self) -> str:
        """A caveat about the interval; empty if there is none."""
        caveat = f"only {self.groups} group{'s'[: self.groups - 1]}: the interval may be too narrow"
        return caveat if self.groups < FEW_GROUPS else ""

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class PairedDifference(Score):
    """Paired difference in accuracy or recall on the same clips, second minus first: a value between -1 and 1.

    p: of the sign-flip test over groups for no difference. clips_needed: to detect MIN_DIFFERENCE with probability
    POWER.
    """

    p: float
    clips_needed: int

    @property
    def significant(self) -> bool:
        """Whether both the test and the interval exclude a difference of 0."""
        return self.p <= 1 - LEVEL and (self.low > 0 or self.high < 0)

    def describe(self, first: str, second: str) -> str:
        """The result in one sentence: "all10 is better than first5 by 6 points (2 to 10)"."""
        points, low, high = (round(100 * value) for value in (self.value, self.low, self.high))
        if self.significant and self.value > 0:
            return f"{second} is better than {first} by {points} points ({low} to {high})"
        if self.significant:
            return f"{first} is better than {second} by {-points} points ({-high} to {-low})"
        text = f"no significant difference between {first} and {second}"
        if 2 / 2**self.groups > 1 - LEVEL:  # not significant even if all groups agree
            text += f" can be shown with {self.groups} group{'s'[: self.groups - 1]} ({points:+d} points)"
            return f"{text}: at least {math.ceil(math.log2(2 / (1 - LEVEL)))} are needed"
        advice = f"about {self.clips_needed} clips are needed to detect {100 * MIN_DIFFERENCE:.0f} points"
        if self.clips_needed <= self.n:
            advice = f"a difference of {100 * MIN_DIFFERENCE:.0f} points would probably have been detected"
        return f"{text} on {self.n} clips ({points:+d} points, {low:+d} to {high:+d}); {advice}"


def score_columns(scores: Mapping[str, Score]) -> dict[str, float]:
    """Columns of a table, from scores by approach: first5, all10, first5_low, first5_high, all10_low, all10_high."""
    columns = {name: score.value for name, score in scores.items()}
    for name, score in scores.items():
        columns |= {f"{name}_low": score.low, f"{name}_high": score.high}
    return columns


def accuracy_score(correct: np.ndarray, groups: ArrayLike) -> Score:
    """Accuracy and its interval, from correctness (bool, or 0 to 1) and group of each clip, both (clips,)."""
    hits, sizes = _group_sums(correct, groups)
    low, high = _wilson(hits.sum() / sizes.sum(), sizes.sum() / design_effect(hits, sizes), len(sizes))
    return Score(float(np.mean(correct)), low, high, len(correct), len(sizes))


def recall_score(correct: np.ndarray, labels: np.ndarray, groups: ArrayLike) -> Score:
    """Macro recall and its interval, from correctness (bool), class index and group of each clip, all (clips,).

    The bootstrap interval, but never narrower than Wilson's for the effective number of clips.
    """
    classes, indices = np.unique(labels, return_inverse=True)
    one_hot = np.eye(len(classes))[indices]
    counts = one_hot.sum(0)
    value = float((correct @ one_hot / counts).mean())
    group_counts, sizes = _group_sums(one_hot, groups)
    group_hits, _ = _group_sums(one_hot * correct[:, None], groups)
    weights = _bootstrap_weights(len(sizes))
    with np.errstate(invalid="ignore"):
        resampled = np.nanmean((weights @ group_hits) / (weights @ group_counts), axis=1)  # a class may be absent
    effective_clips = len(classes) ** 2 / (1 / counts).sum()
    wilson = _wilson(value, effective_clips / design_effect(group_hits.sum(1), sizes), len(sizes))
    low, high = _percentile_limits(value, resampled, len(sizes))
    return Score(value, max(0.0, min(low, wilson[0])), min(1.0, max(high, wilson[1])), len(correct), len(sizes))


def paired_difference(
    first: np.ndarray, second: np.ndarray, groups: ArrayLike, labels: np.ndarray | None = None
) -> PairedDifference:
    """Difference in accuracy, or with `labels` in recall, of two models' correctness (clips,) on the same clips.

    Two pseudo-clips, one won by each model, keep the interval from collapsing where both always agree (Agresti and
    Min 2005).
    """
    gain = second.astype(float) - first
    if labels is not None:  # weight each clip by the inverse frequency of its class
        classes, indices, counts = np.unique(labels, return_inverse=True, return_counts=True)
        gain = gain * len(gain) / (len(classes) * counts[indices])
    sums, sizes = _group_sums(gain, groups)
    num_groups, value, p = len(sizes), float(gain.mean()), 1.0
    padded_sums, padded_sizes = np.append(sums, [1.0, -1.0]), np.append(sizes, [1.0, 1.0])
    weights = _bootstrap_weights(num_groups + 2)
    resampled = (weights @ padded_sums) / (weights @ padded_sizes)
    low, high = _percentile_limits(value, resampled - padded_sums.sum() / padded_sizes.sum() + value, num_groups)
    if num_groups > 1 and sums.any():
        rng = np.random.default_rng(0)
        p = float(stats.permutation_test((sums,), np.sum, permutation_type="samples", vectorized=True, rng=rng).pvalue)
    quantiles = stats.norm.ppf((1 + LEVEL) / 2) + stats.norm.ppf(POWER)
    clips_needed = len(gain) * resampled.var() * (quantiles / MIN_DIFFERENCE) ** 2
    rounded = int(float(f"{max(clips_needed, 1):.1e}"))  # two digits, since it is a rough estimate
    return PairedDifference(value, max(-1.0, low), min(1.0, high), len(gain), num_groups, p, rounded)


def design_effect(hits: np.ndarray, sizes: np.ndarray) -> float:
    """Design effect of clustering, between 1 and the mean group size, from hits and clips of each group (groups,).

    Where nearly all or nearly no clips are correct, it can't be estimated, and the one of PRIOR_ICC is used.
    """
    num_clips, num_groups = sizes.sum(), len(sizes)
    accuracy, size = hits.sum() / num_clips, (sizes**2).sum() / num_clips
    prior, estimate = 1 + (size - 1) * PRIOR_ICC, 1.0
    if num_groups < 2:
        return size
    if 0 < accuracy < 1:
        variance = num_groups / (num_groups - 1) * ((hits - accuracy * sizes) ** 2).sum() / num_clips**2
        estimate = variance / (accuracy * (1 - accuracy) / num_clips)
    prior_weight = PRIOR_STRENGTH / (PRIOR_STRENGTH + min(hits.sum(), num_clips - hits.sum()))
    return float(np.clip((1 - prior_weight) * estimate + prior_weight * max(prior, estimate), 1, max(size, 1)))


def _wilson(proportion: float, num_clips: float, num_groups: int) -> tuple[float, float]:
    """Wilson's limits of a proportion of `num_clips` (not necessarily whole), with t for this number of groups."""
    q = stats.t.ppf((1 + LEVEL) / 2, max(1, num_groups - 1))
    middle = (proportion + q**2 / (2 * num_clips)) / (1 + q**2 / num_clips)
    variance = proportion * (1 - proportion) / num_clips + q**2 / (4 * num_clips**2)
    half = q / (1 + q**2 / num_clips) * np.sqrt(variance)
    low, high = max(0.0, min(proportion, middle - half)), min(1.0, max(proportion, middle + half))  # rounding errors
    return float(low), float(high)


def _percentile_limits(value: float, resampled: np.ndarray, num_groups: int) -> tuple[float, float]:
    """Percentile limits of bootstrap values, widened for a small number of groups."""
    groups = max(2, num_groups)
    t, z = stats.t.ppf((1 + LEVEL) / 2, groups - 1), stats.norm.ppf((1 + LEVEL) / 2)
    factor = t / z * np.sqrt(groups / (groups - 1))
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(value + min(0.0, factor * (low - value))), float(value + max(0.0, factor * (high - value)))


def _bootstrap_weights(num_groups: int) -> np.ndarray:
    """How often each group is drawn in each of RESAMPLES draws with replacement: (RESAMPLES, groups)."""
    return np.random.default_rng(0).multinomial(num_groups, [1 / num_groups] * num_groups, RESAMPLES)


def _group_sums(values: np.ndarray, groups: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Sums of values (clips,) or (clips, columns) over the clips of each group, and the number of its clips."""
    _, indices, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.zeros((len(sizes), *values.shape[1:]))
    np.add.at(sums, indices, values)
    return sums, sizes
