"""Metrics of both approaches: predictions, accuracy and recall with intervals, and the tables that hold them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_recall

from glimpse.core.sampling import keyed_rng
from glimpse.core.splits import Split
from glimpse.evaluate.curves import calibration_error
from glimpse.evaluate.intervals import PairedDifference, Score, accuracy_score, recall_score
from glimpse.features.extractor import versions
from glimpse.inference.confidence import frames_to_stable
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.model.calibration import apply_temperature


@dataclass(frozen=True)
class Scores:
    """Scores of one approach on the test clips, by the names they have in scores.csv."""

    accuracy: Score
    recall: Score
    ece_before: float  # expected calibration error before temperature scaling
    ece: float
    temperature: float
    threshold: float  # confidence below which the answer is "unknown"
    coverage: float  # share of clips that are answered
    selective_accuracy: Score | None  # accuracy of those; None if there are none


def load_recognizer(path: Path | str, class_names: list[str]) -> TorchRecognizer:
    """Load a model; exits if it has other classes, and prints a line if other versions of libraries trained it."""
    recognizer, installed = TorchRecognizer(path), versions()
    if recognizer.class_names != class_names:
        raise SystemExit(f"{path}: trained on other actions ({', '.join(recognizer.class_names)}): run `dvc repro`")
    trained = recognizer.config.versions.items()
    changed = [f"{name} {version}" for name, version in trained if installed[name] != version]
    if changed:
        print(f"evaluate: {path} was made with {', '.join(changed)}: scores may differ in the last digits")
    return recognizer


def accuracy_and_recall(probs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy and macro recall of probabilities (clips, classes) against class indices (clips,)."""
    inputs = torch.from_numpy(probs), torch.from_numpy(labels), probs.shape[1]
    accuracy, recall = multiclass_accuracy(*inputs, average="micro"), multiclass_recall(*inputs, average="macro")
    return {"accuracy": accuracy.item(), "recall": recall.item()}


def evaluate_model(recognizer: TorchRecognizer, probs: np.ndarray, test: Split, max_error: float) -> Scores:
    """Scores of one approach, from its final probabilities (clips, classes) for the test clips."""
    temperature, threshold = recognizer.config.temperature, recognizer.threshold(max_error)
    groups, correct, answered = np.array(test.groups), probs.argmax(1) == test.labels, probs.max(1) >= threshold
    return Scores(
        accuracy=accuracy_score(correct, groups),
        recall=recall_score(correct, test.labels, groups),
        ece_before=calibration_error(apply_temperature(probs, 1 / temperature), test.labels),
        ece=calibration_error(probs, test.labels),
        temperature=temperature,
        threshold=threshold,
        coverage=float(answered.mean()),
        selective_accuracy=accuracy_score(correct[answered], groups[answered]) if answered.any() else None,
    )


def scores_table(scores: dict[str, Scores], differences: dict[str, PairedDifference]) -> pd.DataFrame:
    """scores.csv: approach, measure, value, low, high, n, groups, note. differences: by measure."""
    rows: list[dict] = []
    for approach, by_measure in scores.items():
        n, groups = by_measure.accuracy.n, by_measure.accuracy.groups
        for measure, score in vars(by_measure).items():
            row = {"approach": approach, "measure": measure}
            if isinstance(score, Score):
                rows.append(row | vars(score) | {"note": score.note})
            elif score is not None:
                rows.append(row | {"value": score, "n": n, "groups": groups, "note": ""})
    for measure, difference in differences.items():
        note = f"p {difference.p:.4f}: {difference.describe('first5', 'all10')}"
        rows.append({"approach": "all10 - first5", "measure": measure, **vars(difference), "note": note})
    return pd.DataFrame(rows, columns=["approach", "measure", "value", "low", "high", "n", "groups", "note"])


def predictions_table(probs: np.ndarray, split: Split, class_names: list[str]) -> pd.DataFrame:
    """predictions-<approach>.csv, from probabilities (clips, frames, classes); p(action) is after the last frame."""
    final, names = probs[:, -1], np.array(class_names, dtype=object)
    table = pd.DataFrame({"clip": split.clips, "group": split.groups, "action": names[split.labels]})
    table["predicted"], table["frames_to_stable"] = names[final.argmax(1)], [*map(frames_to_stable, probs)]
    return pd.concat([table, pd.DataFrame(final, columns=[f"p({name})" for name in class_names])], axis=1)


def subsets_table(
    probs: dict[str, dict[str, np.ndarray]], splits: dict[str, Split], num_subsets: int, seed: int
) -> pd.DataFrame:
    """subsets.csv, the original study's protocol: scores on random halves of the train and val clips.

    probs: {approach: {split: (clips, frames, classes)}}.
    """
    labels = (splits["train"] + splits["val"]).labels
    final = {name: np.concatenate([values["train"][:, -1], values["val"][:, -1]]) for name, values in probs.items()}
    rows = []
    for subset in range(1, num_subsets + 1):
        chosen = np.sort(keyed_rng(seed, "subset", subset).permutation(len(labels))[: max(1, len(labels) // 2)])
        row: dict[str, float] = {"subset": subset, "seen_clips": len(chosen)}
        for name, values in final.items():
            scores = accuracy_and_recall(values[chosen], labels[chosen])
            row |= {f"{name}_{measure}": score for measure, score in scores.items()}
        rows.append(row)
    return pd.DataFrame(rows)
