"""How far a model's own probabilities are to be believed: a temperature, and below what it should not answer.

Both rest on the val part, which also chose the epoch, and on the model as it was before it was trained on val, too
(`train.refit`): they hold for the final model as far as both are alike, and may flatter a little.
"""

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

T_MIN, T_MAX = 0.05, 20.0  # temperatures that are tried


def fit_temperature(logits: np.ndarray, actions: np.ndarray) -> float:
    """The one number to divide logits (clips, actions) by, so that probabilities fit what is right (Guo et al. 2017).

    The lowest cross-entropy with `actions`, the clips' numbers (clips,). As Platt (1999) has it, the right action is
    asked for with (clips + 1) / (clips + 2), not with 1: where val has no mistake, certainty is not the answer.
    """
    logits = np.asarray(logits, float)
    clips, count = logits.shape
    wanted = np.full((clips, count), 1 / (clips + 2) / (count - 1))
    wanted[np.arange(clips), actions] = (clips + 1) / (clips + 2)

    def cross_entropy(log_temperature: float) -> float:
        return -(wanted * log_softmax(logits / math.exp(log_temperature), axis=1)).sum(1).mean()

    bounds = math.log(T_MIN), math.log(T_MAX)
    return math.exp(minimize_scalar(cross_entropy, bounds=bounds, method="bounded").x)


def calibrate(logits: np.ndarray, actions: np.ndarray) -> dict:
    """What model.pt keeps of the val part, from logits (clips, actions): the temperature and, with it, each clip's
    confidence and whether its answer is right, so that `threshold` can be asked for any error.
    """
    temperature = fit_temperature(logits, actions)
    confidence = softmax(np.asarray(logits, float) / temperature, axis=1).max(1)
    right = logits.argmax(1) == actions
    return {"temperature": temperature, "val": {"confidence": confidence.tolist(), "right": right.tolist()}}


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (…, actions) as their logits divided by the temperature would give them."""
    logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    return np.exp(log_softmax(logits / temperature, axis=-1))
