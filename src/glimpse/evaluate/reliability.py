"""Does a model know when it is right? Its confidence beside how often that held, and what answering less would give."""

import numpy as np
import pandas as pd
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

BINS = 10  # of equal width, for confidence
STEPS = 20  # points of the curve of selective accuracy


def calibration_error(probabilities: np.ndarray, actions: np.ndarray) -> float:
    """The expected calibration error of probabilities (clips, actions) against the actions' numbers (clips,).

    The mean distance of confidence and accuracy over BINS bins, weighed by their clips (Naeini et al. 2015).
    """
    count = probabilities.shape[1]
    said, true = torch.from_numpy(np.asarray(probabilities, np.float32)), torch.from_numpy(actions)
    return multiclass_calibration_error(said, true, count, n_bins=BINS, norm="l1").item()


def reliability_bins(probabilities: np.ndarray, actions: np.ndarray) -> pd.DataFrame:
    """A row for each bin that has clips: its limits, its clips, their mean confidence and their accuracy."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == actions
    number = np.minimum((confidence * BINS).astype(int), BINS - 1)
    rows = []
    for bin_ in np.unique(number):
        held = number == bin_
        row = {"low": bin_ / BINS, "high": (bin_ + 1) / BINS, "clips": int(held.sum())}
        rows.append(row | {"confidence": float(confidence[held].mean()), "accuracy": float(right[held].mean())})
    return pd.DataFrame(rows)


def accuracy_coverage(probabilities: np.ndarray, actions: np.ndarray) -> pd.DataFrame:
    """What answering only from a threshold on would give: `answered`, a share of the clips; `accuracy` of those.

    At most STEPS rows, from the clips it is surest of to all of them (El-Yaniv and Wiener 2010).
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == actions
    clips = len(confidence)
    wanted = -(-np.arange(1, STEPS + 1) * clips // STEPS)  # rounded up
    rows = []
    for limit in np.unique(np.sort(confidence)[::-1][wanted - 1])[::-1]:
        answered = confidence >= limit
        row = {"answered": float(answered.mean()), "accuracy": float(right[answered].mean())}
        rows.append(row | {"threshold": float(limit)})
    return pd.DataFrame(rows)
