"""What is read from a model's beliefs: from when on its answer is settled, and when it is not sure enough to answer.

NumPy only: whoever has an exported model needs no torch, and no SciPy, for it.
"""

import math

import numpy as np
from numpy.typing import ArrayLike


def settled_after(beliefs: np.ndarray) -> int:
    """After how many frames the answer no longer changes, from probabilities (frames, actions)."""
    answers = beliefs.argmax(1)
    return int(np.flatnonzero(np.append(True, answers[1:] != answers[:-1]))[-1]) + 1


def threshold(confidence: ArrayLike, right: ArrayLike, error: float) -> float:
    """The lowest confidence from which on answers are wrong no more often than `error`; infinite if there is none.

    Of the val clips at least so confident (clips,), (wrong + 1) / (kept + 1) must be at most `error`: the one more is
    the new clip, as in conformal risk control (Angelopoulos et al. 2022); that the lowest such confidence may be taken
    is Jin and Candès's (2023). A smaller `error` never lowers it.
    """
    confidence, wrong = np.asarray(confidence, float), ~np.asarray(right, bool)
    order = np.argsort(-confidence, kind="stable")
    confidence, errors = confidence[order], np.cumsum(wrong[order])
    last_of_equals = np.append(confidence[1:] < confidence[:-1], True)  # equally confident clips go together
    fine = last_of_equals & ((errors + 1) / (np.arange(len(errors)) + 2) <= error)
    return float(confidence[fine].min()) if fine.any() else math.inf
