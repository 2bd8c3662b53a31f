"""How far a score can be off: 95 % intervals that know that clips of one group are not independent.

An accuracy has Wilson's interval (1927) with the number of clips divided by the design effect (Kish 1965) and Student's
t with groups - 1 degrees of freedom in place of the normal quantile, as Korn and Graubard (1998) do it. A recall and a
difference have a bootstrap over groups (Cameron and others 2008). tests/test_intervals.py simulates the coverage.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

LEVEL = 0.95
PRIOR_ICC = 0.3  # how alike the answers within a group are taken to be (intraclass correlation) while mistakes are few
PRIOR_STRENGTH = 5  # mistakes from which on the clips' own likeness counts for half
RESAMPLES = 2000
POWER = 0.8  # chance of seeing a difference that is there, for `needed`
MIN_DIFFERENCE = 0.05  # the difference that `needed` is about
FEW_GROUPS = 6  # below which no coverage was simulated


@dataclass(frozen=True)
class Score:
    """A figure between 0 and 1 with its 95 % interval, and what it rests on."""

    value: float
    low: float
    high: float
    n: int
    groups: int

    @property
    def note(self) -> str:
        """What to know of the interval, in a few words; empty if nothing."""
        if self.groups < FEW_GROUPS:
            return f"only {self.groups} group{'s'[: self.groups - 1]}: the interval may be too narrow"
        return ""

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    def row(self) -> dict[str, object]:
        """The figures by their names, for a table."""
        named = {name: getattr(self, name) for name in ("value", "low", "high", "n", "groups")}
        return named | {"note": self.note}


@dataclass(frozen=True)
class PairedDifference(Score):
    """What the second of two has above the first, on the same clips.

    p: of the sign-flip test over groups, that there is none. needed: clips to see WORTH_SEEING with chance POWER.
    """

    p: float
    needed: int

    def in_words(self, first: str, second: str) -> str:
        """The verdict, as one would say it: "all10 is better than first5 by 6 points (2 to 10)"."""
        points, low, high = (round(100 * share) for share in (self.value, self.low, self.high))
        if self.clear and self.value > 0:
            return f"{second} is better than {first} by {points} points ({low} to {high})"
        if self.clear:
            return f"{first} is better than {second} by {-points} points ({-high} to {-low})"
        if 2 / 2**self.groups > 1 - LEVEL:  # even if all groups agreed
            least = math.ceil(math.log2(2 / (1 - LEVEL)))
            few = f"{self.groups} group{'s'[: self.groups - 1]} cannot tell"
            return f"{points:+d} points from {first} to {second}: {few}, {least} or more can"
        enough = f"about {self.needed} would be needed to see {100 * MIN_DIFFERENCE:.0f} points"
        if self.needed <= self.n:
            enough = f"a difference of {100 * MIN_DIFFERENCE:.0f} points would probably have shown"
        return (
            f"{self.n} clips cannot tell {first} and {second} apart ({points:+d} points, {low:+d} to {high:+d}); "
            f"{enough}"
        )

    @property
    def clear(self) -> bool:
        """Whether the test and the interval agree that there is a difference."""
        return self.p <= 1 - LEVEL and (self.low > 0 or self.high < 0)


def accuracy_score(right: np.ndarray, groups: ArrayLike) -> Score:
    """The share of clips that are right, bool (clips,), with the interval that goes with their groups (clips,)."""
    hits, sizes = _group_totals(right, groups)
    low, high = _wilson(hits.sum() / sizes.sum(), sizes.sum() / design_effect(hits, sizes), len(sizes))
    return Score(float(np.mean(right)), low, high, len(right), len(sizes))


def recall_score(right: np.ndarray, actions: np.ndarray, groups: ArrayLike) -> Score:
    """The mean over actions of the share of its clips that are right: bool (clips,), actions (clips,), groups (clips,).

    The bootstrap's interval, never narrower than Wilson's for as many clips as the actions' counts are worth.
    """
    names, which = np.unique(actions, return_inverse=True)
    of_action = np.eye(len(names))[which]
    (hits, sizes), counts = _group_totals(right, groups), of_action.sum(0)
    value = float((right @ of_action / counts).mean())
    held, found = _group_sums(of_action, groups), _group_sums(of_action * right[:, None], groups)
    weights = _resampled(len(sizes))
    with np.errstate(invalid="ignore"):
        drawn = np.nanmean((weights @ found) / (weights @ held), axis=1)  # an action may be absent from a draw
    worth = len(names) ** 2 / (1 / counts).sum()
    wilson = _wilson(value, worth / design_effect(hits, sizes), len(sizes))
    low, high = _limits(value, drawn, len(sizes))
    return Score(value, max(0.0, min(low, wilson[0])), min(1.0, max(high, wilson[1])), len(right), len(sizes))


def paired_difference(
    first: np.ndarray, second: np.ndarray, groups: ArrayLike, actions: np.ndarray | None = None
) -> PairedDifference:
    """A `Difference` of two lots of answers to the same clips, bool (clips,), in accuracy, or with `actions` in recall.

    Two made-up clips, one won by each, keep the interval from closing where both always agree (Agresti and Min 2005).
    """
    gain = second.astype(float) - first
    if actions is not None:  # a clip weighs as much as its action has few
        names, which, counts = np.unique(actions, return_inverse=True, return_counts=True)
        gain = gain * len(gain) / (len(names) * counts[which])
    sums, sizes = _group_totals(gain, groups)
    number, clips = len(sizes), len(gain)
    value = float(gain.mean())
    padded, held = np.append(sums, [1.0, -1.0]), np.append(sizes, [1, 1])
    weights = _resampled(number + 2)
    drawn = (weights @ padded) / (weights @ held)
    low, high = _limits(value, drawn - padded.sum() / held.sum() + value, number)
    p = 1.0
    if number > 1 and sums.any():
        test = stats.permutation_test(
            (sums,), np.sum, permutation_type="samples", vectorized=True, n_resamples=9999, rng=np.random.default_rng(0)
        )
        p = float(test.pvalue)
    quantiles = stats.norm.ppf((1 + LEVEL) / 2) + stats.norm.ppf(POWER)
    needed = clips * drawn.var() * (quantiles / MIN_DIFFERENCE) ** 2
    rounded = int(float(f"{max(needed, 1):.1e}"))  # two digits: it is a rough figure
    return PairedDifference(value, max(-1.0, low), min(1.0, high), clips, number, p, rounded)


def design_effect(hits: np.ndarray, sizes: np.ndarray) -> float:
    """By how much groups lessen what the clips are worth, from hits and clips (groups,): from 1 to the groups' size.

    Where nearly all or nearly none is right, nothing shows how alike the clips of a group are; ALIKE stands in for it.
    """
    clips, groups = sizes.sum(), len(sizes)
    share, size = hits.sum() / clips, (sizes**2).sum() / clips
    expected = 1 + (size - 1) * PRIOR_ICC
    if groups < 2:
        return size
    found = 1.0
    if 0 < share < 1:
        variance = groups / (groups - 1) * ((hits - share * sizes) ** 2).sum() / clips**2
        found = variance / (share * (1 - share) / clips)
    doubt = PRIOR_STRENGTH / (PRIOR_STRENGTH + min(hits.sum(), clips - hits.sum()))
    return float(np.clip((1 - doubt) * found + doubt * max(expected, found), 1, max(size, 1)))


def _wilson(share: float, clips: float, groups: int) -> tuple[float, float]:
    """Wilson's limits for a share of `clips`, a number that need not be whole, with t for so many groups."""
    q = stats.t.ppf((1 + LEVEL) / 2, max(1, groups - 1))
    middle = (share + q**2 / (2 * clips)) / (1 + q**2 / clips)
    half = q / (1 + q**2 / clips) * np.sqrt(share * (1 - share) / clips + q**2 / (4 * clips**2))
    return float(max(0.0, min(share, middle - half))), float(min(1.0, max(share, middle + half)))  # for rounding errors


def _limits(value: float, drawn: np.ndarray, groups: int) -> tuple[float, float]:
    """The percentile limits of resampled values, spread as few groups ask for."""
    few = max(2, groups)
    wider = stats.t.ppf((1 + LEVEL) / 2, few - 1) / stats.norm.ppf((1 + LEVEL) / 2) * np.sqrt(few / (few - 1))
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(value + min(0.0, wider * (low - value))), float(value + max(0.0, wider * (high - value)))


def _resampled(groups: int) -> np.ndarray:
    """How often each group is drawn in each of RESAMPLES draws with repeats: (RESAMPLES, groups)."""
    return np.random.default_rng(0).multinomial(groups, np.full(groups, 1 / groups), RESAMPLES).astype(float)


def _group_totals(values: ArrayLike, groups: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The sum of values (clips,) and the number of clips of each group."""
    return _group_sums(np.asarray(values, float)[:, None], groups)[:, 0], np.unique(groups, return_counts=True)[1]


def _group_sums(values: np.ndarray, groups: ArrayLike) -> np.ndarray:
    """The sums of values (clips, columns) over the clips of each group: (groups, columns)."""
    names, which = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, which, values)
    return sums
