"""Alarms: signs that a score means less than it seems, each a plain sentence with its figure.

Every function returns a list of rows {alarm, approach, figure, sentence}, empty where all is well.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from glimpse.evaluate.intervals import FEW_GROUPS, Score, accuracy_score

if TYPE_CHECKING:
    pass

Row = dict[str, str | float]

COLLAPSED = 0.8  # share of the answers that are one action: hardly anything is told apart
MAJORITY_SHARE = 0.5  # share of the clips that are of one action, from which on such answers may be right
MIN_CLIPS = 5  # of an action: below, none of them found may be bad luck
GAP = 0.25  # of train and val accuracy; less is usual with few clips, and val, which chose the epoch, makes it smaller
MAX_VAL_GAP = 0.1  # of val and test accuracy: val chose the best of the epochs, which alone gives a few points
MAX_IMBALANCE = 3  # times as many clips: from there on accuracy and recall can tell different stories
NEIGHBOURS = 5  # train clips that vote on a test clip by one measure
METADATA_MARGIN = 0.1  # above the most frequent action's share: more than the luck of trying five measures
CLIP_MEASURES = ("seconds", "frames", "width", "height", "fps")
FEW_CLIPS = 30  # below, an interval spans 30 points and more around 0.8


def warning_row(alarm: str, approach: str, figure: float, sentence: str) -> Row:
    """One alarm; `figure` is what its threshold was compared with."""
    return {"alarm": alarm, "approach": approach, "figure": round(float(figure), 4), "sentence": sentence}


def check_sample_size(groups: Collection[str]) -> list[Row]:
    """Too few test clips or groups for a score to say much: groups (clips,)."""
    clips, count = len(groups), len(set(groups))
    rows = []
    if clips < FEW_CLIPS:
        rows.append(
            warning_row("few clips", "", clips, f"only {clips} test clips: look at the intervals, not at the scores")
        )
    if count < FEW_GROUPS:
        words = "the test part is one group" if count == 1 else f"the test part is of only {count} groups"
        rows.append(warning_row("few groups", "", count, f"{words}: other people or sources may give another score"))
    return rows


def check_leakage(exposed: set[str], tests: int) -> list[Row]:
    """Test clips (their names) that look like, or are named like, clips of train or val, of so many `tests`."""
    if not exposed:
        return []
    words = f"{len(exposed)} of {tests} test clips look like, or are named like, clips the training sees: see "
    return [warning_row("leak", "", len(exposed) / tests, words + "data/leaks.csv; the scores flatter")]


def check_imbalance(actions: np.ndarray, names: list[str]) -> list[Row]:
    """Actions of very unequal size in training: actions' numbers (clips,)."""
    counts = np.bincount(actions, minlength=len(names))
    most, least = names[counts.argmax()], names[counts.argmin()]
    if counts.max() <= MAX_IMBALANCE * counts.min():
        return []
    words = f"training has {counts.max()} clips of {most} and {counts.min()} of {least}: trust recall, not accuracy"
    return [warning_row("imbalance", "", counts.max() / max(1, counts.min()), words)]


def check_collapse(approach: str, answers: np.ndarray, actions: np.ndarray, names: list[str]) -> list[Row]:
    """Nearly all answers are one action, or an action is never the answer: numbers of actions (clips,), test part."""
    said, there = (np.bincount(numbers, minlength=len(names)) for numbers in (answers, actions))
    most, rows = said.argmax(), []
    if said[most] >= COLLAPSED * len(answers) and there[most] < MAJORITY_SHARE * len(answers):
        words = (
            f"{approach} answers {names[most]} to {said[most]} of {len(answers)} clips: it hardly tells anything apart"
        )
        rows.append(warning_row("collapse", approach, said[most] / len(answers), words))
    never = [name for name, a, b in zip(names, said, there, strict=True) if a == 0 and b >= MIN_CLIPS]
    if never:
        shown = ", ".join(never[:3]) + (f" and {len(never) - 3} more" if len(never) > 3 else "")
        rows.append(warning_row("never predicted", approach, len(never), f"{approach} never answers {shown}"))
    return rows


def check_overfitting(approach: str, train: Score, val: Score, test: Score) -> list[Row]:
    """Learnt by heart, or chosen by luck: the `Score` of each part's accuracy."""
    rows = []
    if train.value - val.value > GAP:
        words = (
            f"{approach} is right on {train.value:.0%} of the clips it learnt from and on {val.value:.0%} of val: it "
        )
        words += "learns by heart; more people or sources would help"
        rows.append(warning_row("train far above val", approach, train.value - val.value, words))
    gap = val.value - test.value
    doubt = np.hypot(val.value - val.low, test.high - test.value)  # of the gap: Newcombe (1998), method 10
    if gap > max(MAX_VAL_GAP, doubt):
        words = (
            f"{approach} is right on {val.value:.0%} of val and on {test.value:.0%} of the test part, more than chance "
        )
        words += "explains: val chose what was kept, or its clips resemble training's"
        rows.append(warning_row("val far above test", approach, gap, words))
    return rows


def knn_votes(
    measure: np.ndarray, actions: np.ndarray, groups: np.ndarray, asked: np.ndarray, asked_groups: np.ndarray,
    count: int,
) -> np.ndarray:  # fmt: skip
    """What the NEAREST clips of other groups by one measure say of the `asked`: shares of the vote (asked, count).

    Equally near clips all vote. measure, actions, groups: of the train clips (clips,).
    """
    shares = np.zeros((len(asked), count))
    for number, (value, group) in enumerate(zip(asked, asked_groups, strict=True)):
        others = groups != group
        distance, of = np.abs(measure[others] - value), actions[others]
        if len(of):
            near = distance <= np.sort(distance)[:NEIGHBOURS][-1]
            shares[number] = np.bincount(of[near], minlength=count) / near.sum()
    return shares


def check_metadata_leakage(table: dict[str, np.ndarray], train: "Split", test: "Split", names: list[str]) -> list[Row]:
    """A clip's length, size or frame rate that alone tells its action.

    `table`: {measure: float (all clips,)}, NaN where unknown; train, test: `Part`s.
    """
    usual = np.bincount(train.labels, minlength=len(names)).argmax()
    majority, rows, groups = np.mean(test.labels == usual), [], np.array(test.groups)
    for name, measure in table.items():
        known, asked = measure[train.rows], measure[test.rows]
        if np.isnan(known).any() or np.isnan(asked).any():
            continue
        shares = knn_votes(known, train.labels, np.array(train.groups), asked, groups, len(names))
        best = np.isclose(shares, shares.max(1, keepdims=True))  # several where the vote is a tie
        score = accuracy_score(best[np.arange(len(best)), test.labels] / best.sum(1), groups)
        if score.low > majority + METADATA_MARGIN:
            words = (
                f"a clip's {name} alone tells its action for {score.value:.0%} of the test clips ({score.low:.0%} to "
            )
            words += f"{score.high:.0%}): a model may go by how the clips were made"
            rows.append(warning_row("tell-tale", "", score.value, words))
    return rows
