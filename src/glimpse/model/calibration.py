"""Temperature scaling, and the val clips' confidence, on which the threshold for abstaining is based.

Both come from the val split, which also chose the epoch, and from the model before it was refit on val, too
(`train.refit`): they hold for the final model as far as the two are alike, and may be slightly optimistic.
"""

import math
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

T_MIN, T_MAX = 0.05, 20.0  # range of temperatures


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that minimises the cross-entropy of logits (clips, classes) / temperature (Guo et al. 2017).

    labels: class indices (clips,). The target of the true class is (clips + 1) / (clips + 2) as in Platt (1999), not 1,
    so that a val split without mistakes does not lead to certainty.
    """
    logits = np.asarray(logits, float)
    clips, classes = logits.shape
    targets = np.full((clips, classes), 1 / (clips + 2) / (classes - 1))
    targets[np.arange(clips), labels] = (clips + 1) / (clips + 2)

    def cross_entropy(log_temperature: float) -> float:
        return -(targets * log_softmax(logits / math.exp(log_temperature), axis=1)).sum(1).mean()

    bounds = math.log(T_MIN), math.log(T_MAX)
    return math.exp(minimize_scalar(cross_entropy, bounds=bounds, method="bounded").x)


def calibrate(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """The fields of ModelConfig that follow from val, from its logits (clips, classes) and class indices (clips,).

    The temperature and, at this temperature, each clip's confidence, and whether its predicted class is correct.
    """
    temperature = fit_temperature(logits, labels)
    confidence = softmax(np.asarray(logits, float) / temperature, axis=1).max(1)
    correct = logits.argmax(1) == labels
    return {"temperature": temperature, "val_confidence": confidence.tolist(), "val_correct": correct.tolist()}


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (…, classes) as they would be with their logits divided by the temperature."""
    logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    return np.exp(log_softmax(logits / temperature, axis=-1))
