"""Stage `evaluate`: how good both approaches are, on clips they have never seen, and how far to believe it.

Reads models/<approach>/model.pt, data/split.csv, data/leaks.csv, data/clips.csv, data/features.npy, and data/frames/
for a tuned model. Writes metrics/test.json, the tables beside it and summary.txt. Run: python src/evaluate.py
"""

from glimpse.core.settings import read  # isort: split

import json

import numpy as np
import pandas as pd
import torch
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_recall

from glimpse.core.files import atomic_write
from glimpse.core.frame_store import FrameStore
from glimpse.core.sampling import keyed_rng
from glimpse.core.splits import Split, load_splits
from glimpse.core.files import load_array, read_table, write_table
from glimpse.evaluate import checks as alarms
from glimpse.evaluate.baselines import baselines_table, correct_by_baseline
from glimpse.evaluate.curves import accuracy_by_frames, accuracy_by_frames_per_action, observation_ratio
from glimpse.evaluate.intervals import PairedDifference, Score, accuracy_score, paired_difference, recall_score
from glimpse.evaluate.reliability import accuracy_coverage, calibration_error, reliability_bins
from glimpse.evaluate.summary import summary
from glimpse.features.extractor import versions
from glimpse.inference.confidence import frames_to_stable
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.model.calibration import apply_temperature
from glimpse.split.leakage import COLUMNS, leaked_test_clips

APPROACHES = ("first5", "all10")


def accuracy_and_recall(probabilities: np.ndarray, actions: np.ndarray) -> dict[str, float]:
    """Accuracy (share of clips right) and recall (mean over actions of the share of its clips found)."""
    said, asked, count = torch.from_numpy(probabilities), torch.from_numpy(actions), probabilities.shape[1]
    return {
        "accuracy": multiclass_accuracy(said, asked, count, average="micro").item(),
        "recall": multiclass_recall(said, asked, count, average="macro").item(),
    }


def subsets(beliefs: dict[str, dict[str, np.ndarray]], parts: dict[str, Split], number: int, seed: int) -> pd.DataFrame:
    """The original study's protocol: scores on random halves of the clips of train and val, which the models know."""
    actions = np.concatenate([parts["train"].labels, parts["val"].labels])
    rows = []
    for subset in range(1, number + 1):
        chosen = np.sort(keyed_rng(seed, "subset", subset).permutation(len(actions))[: max(1, len(actions) // 2)])
        row: dict[str, float] = {"subset": subset, "seen_clips": len(chosen)}
        for approach, of in beliefs.items():
            last = np.concatenate([of["train"][:, -1], of["val"][:, -1]])[chosen]
            row |= {f"{approach}_{name}": value for name, value in accuracy_and_recall(last, actions[chosen]).items()}
        rows.append(row)
    return pd.DataFrame(rows)


def recall_table(right: dict[str, np.ndarray], part: Split, names: list[str]) -> pd.DataFrame:
    """Recall of each action, with its number of clips and its interval. right: {approach: bool (clips,)}."""
    rows = []
    for number, name in enumerate(names):
        its = part.labels == number
        found = {approach: accuracy_score(of[its], np.array(part.groups)[its]) for approach, of in right.items()}
        row = {"action": name, "clips": int(its.sum())} | {approach: score.value for approach, score in found.items()}
        for approach, score in found.items():
            row |= {f"{approach}_low": score.low, f"{approach}_high": score.high}
        rows.append(row)
    return pd.DataFrame(rows)


def evaluate_model(
    recognizer: TorchRecognizer, beliefs: dict[str, np.ndarray], parts: dict[str, Split], error: float
) -> dict[str, Score | float]:
    """All figures of one approach by their names. beliefs: {part: probabilities (clips, use, actions)}."""
    last, test = beliefs["test"][:, -1], parts["test"]
    groups, right = np.array(test.groups), last.argmax(1) == test.labels
    least = recognizer.threshold(error)
    answered = last.max(1) >= least
    found: dict[str, Score | float] = {
        "accuracy": accuracy_score(right, groups),
        "recall": recall_score(right, test.labels, groups),
        "ece_before": calibration_error(apply_temperature(last, 1 / recognizer.temperature), test.labels),
        "ece": calibration_error(last, test.labels),
        "temperature": recognizer.temperature,
        "threshold": least,
        "answered": float(answered.mean()),
    }
    if answered.any():
        found["answered_accuracy"] = accuracy_score(right[answered], groups[answered])
    return found


def scores_table(
    found: dict[str, dict[str, Score | float]], apart: dict[str, PairedDifference], n: int, groups: int
) -> pd.DataFrame:
    """Every figure in a row: approach, measure, value, low, high, n, groups, note. apart: by measure."""
    rows: list[dict] = []
    for approach, of in found.items():
        for measure, score in of.items():
            row = {"approach": approach, "measure": measure, "value": score, "n": n, "groups": groups, "note": ""}
            rows.append(row if isinstance(score, float) else row | score.row())
    for measure, gain in apart.items():
        note = f"p {gain.p:.4f}: {gain.in_words(*APPROACHES)}"
        rows.append({"approach": "all10 - first5", "measure": measure} | gain.row() | {"note": note})
    return pd.DataFrame(rows, columns=["approach", "measure", "value", "low", "high", "n", "groups", "note"])


def run_checks(
    beliefs: dict[str, dict[str, np.ndarray]],
    on_val: dict[str, list[bool]],
    parts: dict[str, Split],
    measures: dict[str, np.ndarray],
    exposed: set[str],
    names: list[str],
) -> pd.DataFrame:
    """The table of alarms: alarm, approach, figure, sentence; no rows if there is none.

    `on_val`: whether each approach was right about each val clip in its best epoch, before it was trained on them, too.
    """
    train, test = parts["train"], parts["test"]
    rows = alarms.check_leakage(exposed, len(test.clips)) + alarms.check_sample_size(test.groups)
    rows += alarms.check_imbalance(train.labels, names)
    for approach, of in beliefs.items():
        predictions_table = {part: of[part][:, -1].argmax(1) for part in parts}
        hits = {part: predictions_table[part] == held.labels for part, held in parts.items()}
        hits["val"] = np.array(on_val[approach])
        reached = {part: accuracy_score(hits[part], held.groups) for part, held in parts.items()}
        rows += alarms.check_collapse(approach, predictions_table["test"], test.labels, names)
        rows += alarms.check_overfitting(approach, **reached)
    rows += alarms.check_metadata_leakage(measures, train, test, names)
    return pd.DataFrame(rows, columns=["alarm", "approach", "figure", "sentence"])


def predictions_table(belief: np.ndarray, part: Split, names: list[str]) -> pd.DataFrame:
    """Every test clip with its answer, and the probability of each action after the last frame."""
    last = belief[:, -1]
    table = pd.DataFrame({"clip": part.clips, "group": part.groups})
    table["action"] = [names[number] for number in part.labels]
    table["predicted"] = [names[number] for number in last.argmax(1)]
    table["settled_after"] = [frames_to_stable(one) for one in belief]
    return pd.concat([table, pd.DataFrame(last, columns=[f"p({name})" for name in names])], axis=1)


def main() -> None:
    settings = read("seed", "evaluate")
    names, parts = load_splits(["train", "val", "test"])
    clips = read_table("data/clips.csv", alarms.CLIP_MEASURES)
    features, frames = load_array("data/features.npy", len(clips), None, None, None), FrameStore("data/frames")
    measures = {name: pd.to_numeric(clips[name], errors="coerce").to_numpy(float) for name in alarms.CLIP_MEASURES}
    test, error = parts["test"], settings.evaluate.max_error
    recognizers, beliefs, found = {}, {}, {}
    metrics: dict[str, int | dict[str, float]] = {"n": len(test.clips)}
    for approach in APPROACHES:
        path = f"models/{approach}/model.pt"
        recognizers[approach] = recognizer = TorchRecognizer(path)
        if recognizer.class_names != names:
            raise SystemExit(f"{path}: trained on other actions ({', '.join(recognizer.class_names)}): run `dvc repro`")
        others = [f"{name} {kept}" for name, kept in recognizer.config.versions.items() if versions()[name] != kept]
        if others:
            print(f"evaluate: {path} was made with {', '.join(others)}: here, figures may differ in the last digits")
        of = {part: recognizer.predict_split(held, features, frames) for part, held in parts.items()}
        last, beliefs[approach] = of["test"][:, -1], of
        metrics[approach] = {k: round(v, 4) for k, v in accuracy_and_recall(last, test.labels).items()}
        found[approach] = evaluate_model(recognizer, of, parts, error)
        write_table(f"metrics/predictions-{approach}.csv", predictions_table(of["test"], test, names).round(6))
        write_table(f"metrics/calibration-{approach}.csv", reliability_bins(last, test.labels).round(4))
        write_table(f"metrics/selective-{approach}.csv", accuracy_coverage(last, test.labels).round(4))
    with atomic_write("metrics/test.json") as file:
        file.write(json.dumps(metrics, indent=2) + "\n")

    tested = {approach: of["test"] for approach, of in beliefs.items()}
    right = {approach: of[:, -1].argmax(1) == test.labels for approach, of in tested.items()}
    write_table("metrics/recall.csv", recall_table(right, test, names).round(6))
    longest = max(recognizers.values(), key=lambda recognizer: recognizer.num_frames)
    positions = np.stack([longest.positions(clip) for clip in test.clips])
    seen = observation_ratio(positions, longest.config.candidates)
    curve = accuracy_by_frames(tested, test, seen).round(6)
    write_table("metrics/early.csv", curve)
    write_table("metrics/early-actions.csv", accuracy_by_frames_per_action(tested, test, seen, names).round(6))
    known = subsets(beliefs, parts, settings.evaluate.subsets, settings.seed)
    write_table("metrics/subsets.csv", known.round(4))

    few, groups = min(recognizer.num_frames for recognizer in recognizers.values()), np.array(test.groups)
    less = correct_by_baseline(recognizers["all10"], test, few, features, frames, settings.seed)
    control = baselines_table(less, test, parts["train"].labels, names, few)
    write_table("metrics/controls.csv", control.round(6))
    exposed = leaked_test_clips(read_table("data/leaks.csv", COLUMNS))
    on_val = {approach: recognizer.config.val_correct for approach, recognizer in recognizers.items()}
    alarm = run_checks(beliefs, on_val, parts, measures, exposed, names)
    write_table("metrics/alarms.csv", alarm)
    apart = {
        "accuracy": paired_difference(right["first5"], right["all10"], groups),
        "recall": paired_difference(right["first5"], right["all10"], groups, test.labels),
    }
    write_table("metrics/scores.csv", scores_table(found, apart, len(groups), len(set(groups))).round(6))
    lines = summary(
        found,
        apart,
        {approach: float(known[f"{approach}_accuracy"].mean()) for approach in APPROACHES},
        [recognizer.num_frames for recognizer in recognizers.values()],
        curve,
        control,
        paired_difference(less["shuffled"], right["all10"], groups),
        error,
        alarm["sentence"],
    )
    with atomic_write("metrics/summary.txt") as file:
        file.write("\n".join(lines) + "\n")
    print("evaluate: " + "\n  ".join(lines))


if __name__ == "__main__":
    main()
