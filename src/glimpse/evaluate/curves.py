"""Curves on test clips: accuracy by frames seen, reliability diagram, accuracy against coverage; calibration error."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from glimpse.core.splits import Split
from glimpse.evaluate.intervals import accuracy_score, score_columns

BINS = 10  # confidence bins of equal width
COVERAGE_STEPS = 20  # points of the accuracy-coverage curve


def observation_ratio(positions: np.ndarray, candidates: int) -> np.ndarray:
    """Share of the clip observed after each frame, from positions among the stored frames; both (clips, frames).

    A stored frame is in the middle of its segment, so that the last of 20 is at 0.975.
    """
    return (positions + 0.5) / candidates


def accuracy_by_frames(probs: dict[str, np.ndarray], split: Split, ratios: np.ndarray) -> pd.DataFrame:
    """Accuracy with interval of each approach after 1, 2, … frames, and the mean observation ratio.

    probs: {approach: (clips, frames, classes)}; an approach that reads fewer frames keeps its last prediction. ratios:
    observation ratios (clips, frames) of the one that reads most. Columns: frames, observation_ratio, score_columns.
    """
    rows = []
    for frame in range(ratios.shape[1]):
        predicted = {name: values[:, min(frame, values.shape[1] - 1)].argmax(1) for name, values in probs.items()}
        scores = {name: accuracy_score(labels == split.labels, split.groups) for name, labels in predicted.items()}
        rows.append({"frames": frame + 1, "observation_ratio": ratios[:, frame].mean()} | score_columns(scores))
    return pd.DataFrame(rows)


def accuracy_by_frames_per_action(
    probs: dict[str, np.ndarray], split: Split, ratios: np.ndarray, class_names: Iterable[str]
) -> pd.DataFrame:
    """`accuracy_by_frames` of each action; columns: action, clips, then those."""
    tables = []
    for label, action in enumerate(class_names):
        mask = split.labels == label
        selected = {approach: values[mask] for approach, values in probs.items()}
        table = accuracy_by_frames(selected, split.select(mask), ratios[mask])
        tables.append(pd.DataFrame({"action": action, "clips": mask.sum()} | dict(table)))
    return pd.concat(tables, ignore_index=True)


def calibration_error(probs: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error of probabilities (clips, classes) against class indices (clips,).

    Mean distance of confidence and accuracy over BINS bins, weighted by their clips (Naeini et al. 2015).
    """
    inputs = torch.from_numpy(np.asarray(probs, np.float32)), torch.from_numpy(labels)
    return multiclass_calibration_error(*inputs, probs.shape[1], n_bins=BINS, norm="l1").item()


def reliability_bins(probs: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """Reliability diagram: low, high, clips, mean confidence and accuracy of each confidence bin that has clips."""
    clips = _confidence_and_correct(probs, labels)
    bins = np.minimum((clips["confidence"] * BINS).astype(int), BINS - 1)
    table = clips.groupby(bins.to_numpy()).agg(["size", "mean"])
    columns = {"low": table.index / BINS, "high": (table.index + 1) / BINS, "clips": table["correct", "size"]}
    columns |= {"confidence": table["confidence", "mean"], "accuracy": table["correct", "mean"]}
    return pd.DataFrame(columns).reset_index(drop=True)


def accuracy_coverage(probs: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """Accuracy of the most confident clips: coverage (their share), confidence (the lowest among them), accuracy.

    At most COVERAGE_STEPS rows, in order of coverage, the last of which has all clips (El-Yaniv and Wiener 2010).
    """
    clips = _confidence_and_correct(probs, labels)
    totals = clips.groupby("confidence")["correct"].agg(["size", "sum"]).iloc[::-1].cumsum().reset_index()
    min_sizes = -(-np.arange(1, COVERAGE_STEPS + 1) * len(clips) // COVERAGE_STEPS)  # rounded up
    steps = totals.iloc[np.unique(np.searchsorted(totals["size"], min_sizes))]
    columns = {"coverage": steps["size"] / len(clips), "confidence": steps["confidence"]}
    return pd.DataFrame(columns | {"accuracy": steps["sum"] / steps["size"]}).reset_index(drop=True)


def _confidence_and_correct(probs: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """Confidence and correctness of each clip."""
    return pd.DataFrame({"confidence": probs.max(1).astype(float), "correct": probs.argmax(1) == labels})
