"""When a prediction is stable, and when its confidence suffices to answer. NumPy only: exported models use it, too."""

import math

import numpy as np
from numpy.typing import ArrayLike


def frames_to_stable(probabilities: np.ndarray) -> int:
    """Number of frames after which the predicted class no longer changes, from probabilities (frames, classes)."""
    predicted = probabilities.argmax(1)
    return int(np.flatnonzero(np.append(True, predicted[1:] != predicted[:-1]))[-1]) + 1


def confidence_threshold(confidence: ArrayLike, correct: ArrayLike, max_error: float) -> float:
    """The lowest confidence from which on at most a share `max_error` of the answers is wrong; infinite if none is.

    Of the val clips at least this confident (clips,), (wrong + 1) / (answered + 1) must be at most `max_error`: the 1
    stands for the new clip, as in conformal risk control (Angelopoulos et al. 2022); Jin and Candès (2023) justify
    taking the lowest such confidence. A smaller `max_error` never lowers it.
    """
    confidence, wrong = np.asarray(confidence, float), ~np.asarray(correct, bool)
    order = np.argsort(-confidence, kind="stable")
    confidence, errors = confidence[order], np.cumsum(wrong[order])
    last_of_ties = np.append(confidence[1:] < confidence[:-1], True)  # equally confident clips go together
    allowed = last_of_ties & ((errors + 1) / (np.arange(len(errors)) + 2) <= max_error)
    return float(confidence[allowed].min()) if allowed.any() else math.inf
