"""Checks for signs that a score means less than it seems: few clips, leakage, collapse, overfitting, metadata leakage.

Each yields rows of metrics/tables/warnings.csv, none if nothing is wrong.
"""

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import pandas as pd

from glimpse.core.splits import Split
from glimpse.evaluate.intervals import FEW_GROUPS, Score, accuracy_score

Row = tuple[str, str, float, str]  # check, approach ("" for the data), what was compared with the limit, message

FEW_CLIPS = 30  # below, an interval around 0.8 spans 30 points and more
MAX_IMBALANCE = 3  # ratio of class sizes above which accuracy and recall can differ much
COLLAPSE_SHARE = 0.8  # share of predictions of one action above which the actions are barely separated
MAJORITY_SHARE = 0.5  # share of clips of one action from which on that many predictions of it may be correct
MIN_CLIPS = 5  # of an action; with fewer, that it is never predicted may be chance
MAX_TRAIN_GAP = 0.25  # of train and val accuracy; val selected the epoch, which makes the gap smaller
MAX_VAL_GAP = 0.1  # of val and test accuracy; selecting the best epoch on val alone gives a few points
NEIGHBOURS = 5  # train clips that vote on a test clip by one property
METADATA_MARGIN = 0.1  # above the majority baseline; more than chance gives when five properties are tried
CLIP_PROPERTIES = ("seconds", "frames", "width", "height", "fps")


def check_sample_size(groups: Collection[str]) -> Iterator[Row]:
    """Too few test clips or groups, from the group of each clip (clips,)."""
    clips, num_groups = len(groups), len(set(groups))
    if clips < FEW_CLIPS:
        yield "few clips", "", clips, f"only {clips} test clips: compare intervals rather than scores"
    if num_groups < FEW_GROUPS:
        message = f"the test split has only {num_groups} group{'s' if num_groups > 1 else ''}: "
        message += "the score may differ for other people or sources"
        yield "few groups", "", num_groups, message


def check_leakage(leaked: Collection[str], test_clips: int) -> Iterator[Row]:
    """Test clips that are near duplicates of, or related by name to, clips of train or val."""
    if leaked:
        message = f"{len(leaked)} of {test_clips} test clips are near duplicates of, or related by name to, clips "
        message += "of train or val (data/leaks.csv): the scores are too high"
        yield "leakage", "", len(leaked) / test_clips, message


def check_imbalance(train_labels: np.ndarray, class_names: list[str]) -> Iterator[Row]:
    """Very unequal class sizes in train, from class indices (clips,)."""
    counts = np.bincount(train_labels, minlength=len(class_names))
    if counts.max() > MAX_IMBALANCE * counts.min():
        message = f"train has {counts.max()} clips of {class_names[counts.argmax()]} and {counts.min()} of "
        message += f"{class_names[counts.argmin()]}: prefer recall to accuracy"
        yield "imbalance", "", counts.max() / max(1, counts.min()), message


def check_collapse(approach: str, predicted: np.ndarray, labels: np.ndarray, class_names: list[str]) -> Iterator[Row]:
    """Nearly all test clips predicted as one action, or an action never predicted, from class indices (clips,)."""
    predicted_counts, label_counts = (np.bincount(each, minlength=len(class_names)) for each in (predicted, labels))
    top, clips = predicted_counts.argmax(), len(predicted)
    if predicted_counts[top] >= COLLAPSE_SHARE * clips and label_counts[top] < MAJORITY_SHARE * clips:
        message = f"{approach} predicts {class_names[top]} for {predicted_counts[top]} of {clips} clips: "
        message += "it barely separates the actions"
        yield "collapse", approach, predicted_counts[top] / clips, message
    missing = np.flatnonzero((predicted_counts == 0) & (label_counts >= MIN_CLIPS))
    if len(missing):
        names = ", ".join(class_names[label] for label in missing[:3])
        names += f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        yield "never predicted", approach, len(missing), f"{approach} never predicts {names}"


def check_overfitting(approach: str, train: Score, val: Score, test: Score) -> Iterator[Row]:
    """Train accuracy far above val, or val far above test, from the accuracy on each split."""
    if train.value - val.value > MAX_TRAIN_GAP:
        message = f"{approach} has accuracy {train.value:.0%} on train and {val.value:.0%} on val: it overfits; "
        message += "clips of more people or sources would help"
        yield "train far above val", approach, train.value - val.value, message
    gap = val.value - test.value
    half_width = np.hypot(val.value - val.low, test.high - test.value)  # of its interval: Newcombe (1998), method 10
    if gap > max(MAX_VAL_GAP, half_width):
        message = f"{approach} has accuracy {val.value:.0%} on val and {test.value:.0%} on test, which chance does not "
        message += "explain: the epoch was selected on val, or its clips resemble those in train"
        yield "val far above test", approach, gap, message


def check_metadata_leakage(
    properties: Mapping[str, np.ndarray], train: Split, test: Split, class_names: list[str]
) -> Iterator[Row]:
    """A clip's length, size or frame rate that alone predicts its action.

    properties: {name: float (all clips,)}, NaN where unknown.
    """
    majority = np.bincount(train.labels, minlength=len(class_names)).argmax()
    limit = np.mean(test.labels == majority) + METADATA_MARGIN
    for name, values in properties.items():
        if np.isnan(values[[*train.rows, *test.rows]]).any():
            continue
        votes = knn_votes(values, train, test, len(class_names))
        best = np.isclose(votes, votes.max(1, keepdims=True))  # several where the vote is a tie
        score = accuracy_score(best[np.arange(len(best)), test.labels] / best.sum(1), test.groups)
        if score.low > limit:
            message = f"{name} alone predicts the action of {score.value:.0%} of the test clips ({score.low:.0%} to "
            message += f"{score.high:.0%}): a model may rely on how the clips were made"
            yield "metadata leakage", "", score.value, message


def knn_votes(values: np.ndarray, train: Split, test: Split, num_classes: int) -> np.ndarray:
    """k nearest neighbours by one property: share of the votes for each class, (test clips, classes).

    values: of all clips. The NEIGHBOURS train clips of other groups vote, and all that are equally near.
    """
    votes, groups = np.zeros((len(test.clips), num_classes)), np.array(train.groups)
    for vote, value, group in zip(votes, values[test.rows], test.groups, strict=True):
        others = groups != group
        distance, labels = np.abs(values[train.rows][others] - value), train.labels[others]
        if len(labels):
            near = distance <= np.sort(distance)[:NEIGHBOURS][-1]
            vote[:] = np.bincount(labels[near], minlength=num_classes) / near.sum()
    return votes


def run_checks(
    probs: Mapping[str, Mapping[str, np.ndarray]],
    val_correct: Mapping[str, list[bool]],
    splits: Mapping[str, Split],
    properties: Mapping[str, np.ndarray],
    leaked: Collection[str],
    class_names: list[str],
) -> pd.DataFrame:
    """Run all checks; returns the table of warnings, which has no rows if there are none.

    probs: {approach: {split: (clips, frames, classes)}}. val_correct: {approach: correctness of each val clip in the
    best epoch, before the model was refitted on val, too}. leaked: names of test clips.
    """
    train, test = splits["train"], splits["test"]
    rows = [*check_leakage(leaked, len(test.clips)), *check_sample_size(test.groups)]
    rows += check_imbalance(train.labels, class_names)
    for approach, by_split in probs.items():
        predicted = {name: values[:, -1].argmax(1) for name, values in by_split.items()}
        correct = {name: predicted[name] == split.labels for name, split in splits.items()}
        correct["val"] = np.array(val_correct[approach])
        rows += check_collapse(approach, predicted["test"], test.labels, class_names)
        accuracy = {name: accuracy_score(correct[name], split.groups) for name, split in splits.items()}
        rows += check_overfitting(approach, **accuracy)
    rows += check_metadata_leakage(properties, train, test, class_names)
    return pd.DataFrame(rows, columns=["check", "approach", "value", "message"]).astype({"value": float}).round(4)
