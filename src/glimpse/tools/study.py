"""Study: what distinguishes these actions, which temporal head helps, and would more clips or frames help?

Trains temporal heads many times on the stored features: k folds by group and several seeds. Finished trainings are kept
in .cache/trials/, so that a repeated or killed run trains only what is missing.

Reads params.yaml, data/clips.csv, data/split.csv (the actions and groups) and data/features.npy.
Writes metrics/study.txt (the answers), metrics/study.csv (their figures with intervals) and
metrics/study-trials.csv (one row per training).
"""

import argparse
from dataclasses import fields, replace

import numpy as np
import pandas as pd

from glimpse.core.files import atomic_write, write_table
from glimpse.core.settings import read_settings
from glimpse.evaluate.intervals import PairedDifference, Score
from glimpse.tools import cross_validation
from glimpse.tools.cross_validation import FoldedClips, Trial

TRAIN_SHARES = (0.25, 0.5, 0.75)  # of the training groups, for the learning curve
ORDERLESS = {"mean": "the mean", "attention": "attention", "ridge": "ridge regression"}

add_arguments = cross_validation.add_arguments


def run(args: argparse.Namespace) -> None:
    cross_validation.check_counts(args)
    settings = read_settings()
    data = cross_validation.load_clips("study", settings, args.folds)
    all10, first5 = (Trial.from_settings(settings, approach) for approach in ("all10", "first5"))
    trials = plan(all10, first5, data, args.seeds)
    unique = list(dict.fromkeys(trial for planned in trials.values() for trial in planned))
    size = f"{len(unique)} trainings on {len(data.clips)} clips, {args.folds} folds x {args.seeds} seeds"
    print(f"study: {size}", flush=True)
    table = cross_validation.run_trials(unique, data, settings)
    results = StudyResults(table, trials)
    _, doubled, learning_curve_text = learning_curve(results)
    unknown, unknown_text = unknown_actions(results, settings.evaluate.max_error)
    lines = [
        *appearance_motion_order(results, all10.num_modalities, settings.features.crop == "motion"),
        lstm_verdict(results), half_verdict(results, first5.num_frames, all10.num_frames), stability(results),
        learning_curve_text, unknown_text,
    ]  # fmt: skip
    scores = {key: results.score(key) for key in trials if not key.startswith("without ")} | unknown
    rows = [{"result": key, **vars(score), "note": score.note} for key, score in scores.items()]
    rows.append({"result": "twice the clips, extrapolated", "value": doubled})
    write_table("metrics/study.csv", pd.DataFrame(rows).round(4))
    known = table[(table["split"] == "test") & (table["action"] != table["left_out"])]
    by_trial = known.groupby([field.name for field in fields(Trial)], sort=False, as_index=False)
    write_table("metrics/study-trials.csv", by_trial.agg(accuracy=("correct", "mean"), n=("correct", "size")).round(4))
    with atomic_write("metrics/study.txt") as file:
        file.write("\n".join(lines) + "\n")
    print("\n".join(lines))


def plan(all10: Trial, first5: Trial, data: FoldedClips, seeds: int) -> dict[str, list[Trial]]:
    """The trials that answer each question, {name of the result: [Trial]}.

    Omitted are shares of the groups that lack an action, and left-out actions where fewer than two would remain.
    Exits with one line if the folds are not feasible.
    """
    variants = {
        "all10": all10, "first5": first5,
        "RGB, mean": replace(all10, head="mean", num_modalities=1),
        "RGB, lstm": replace(all10, head="lstm", num_modalities=1),
    } | {head: replace(all10, head=head) for head in ("lstm", *ORDERLESS)}  # fmt: skip
    trials = {key: data.repeat(trial, seeds) for key, trial in variants.items()}
    data.check(trials["all10"], "study")
    trials |= {f"train share {share}": data.repeat(replace(all10, train_share=share), 1) for share in TRAIN_SHARES}
    for number, action in enumerate(sorted(set(data.actions))):
        trials[f"without {action}"] = [replace(all10, left_out=action, fold=number % data.folds)]
    return {key: planned for key, planned in trials.items() if all(map(data.is_feasible, planned))}


class StudyResults:
    """The predictions of the trials for their test clips, by the name of the result."""

    def __init__(self, table: pd.DataFrame, trials: dict[str, list[Trial]]) -> None:
        test = table[table["split"] == "test"]
        self.predictions = {key: test.merge(pd.DataFrame(planned)) for key, planned in trials.items()}

    def score(self, key: str) -> Score:
        """Accuracy over all folds, mean over seeds."""
        return cross_validation.trials_score(self.predictions[key])

    def difference(self, first: str, second: str) -> PairedDifference:
        """Difference in accuracy on the same clips, second minus first."""
        return cross_validation.trials_difference(self.predictions[first], self.predictions[second])


def appearance_motion_order(results: StudyResults, modalities: int, crop_follows: bool) -> list[str]:
    """Do the actions differ in appearance, motion or order? Sentences."""
    crop = ", crop follows the motion" if crop_follows else ""
    order = results.difference("RGB, mean", "RGB, lstm")
    lines = [
        f"Appearance: RGB alone, no order (mean){crop}: accuracy {results.score('RGB, mean')}.",
        f"Order: {order.describe('RGB with the mean', 'RGB with the LSTM')}.",
    ]
    helpful = ["the order of the frames"] if order.significant and order.value > 0 else []
    if modalities > 1:
        motion = results.difference("RGB, mean", "mean")
        lines.append(f"Motion: {motion.describe('RGB alone', 'RGB with motion modalities')}, both with the mean.")
        if motion.significant and motion.value > 0:
            helpful.append("the motion between them" if helpful else "the motion between frames")
    if helpful:
        verb = "help" if len(helpful) > 1 else "helps"
        lines.append(f"Appearance alone is not enough on these clips: {' and '.join(helpful)} {verb}.")
    else:
        lines.append("Appearance alone is enough on these clips: neither order nor motion helps measurably.")
    return lines


def lstm_verdict(results: StudyResults) -> str:
    """Does the LSTM beat the best head that ignores order? A sentence."""
    best = max(ORDERLESS, key=lambda head: results.score(head).value)
    gain = results.difference(best, "lstm")
    verdict = ("yes" if gain.value > 0 else "no") if gain.significant else "not measurably"
    return f"Does the LSTM help? {verdict}: {gain.describe(ORDERLESS[best], 'the LSTM')}."


def half_verdict(results: StudyResults, first: int, num_frames: int) -> str:
    """Is half of the clip enough? A sentence."""
    if first == num_frames:
        return f"Is half of the clip enough? Not measured: both approaches read {num_frames} frames."
    gain = results.difference("first5", "all10")
    verdict = "no" if gain.significant and gain.value > 0 else "yes" if gain.high < 0.05 else "not clear"
    return f"Is half of the clip enough? {verdict}: {gain.describe(f'the first {first} frames', f'all {num_frames}')}."


def stability(results: StudyResults) -> str:
    """How stable is a score? A sentence with the standard deviations over seeds and over the folds of a seed."""
    rows = results.predictions["all10"]
    by_seed = rows.groupby("seed")["correct"].mean()
    over_folds = rows.groupby(["seed", "fold"])["correct"].mean().groupby("seed").std().mean()
    text = "unknown over seeds (--seeds is 1)"
    if len(by_seed) > 1:
        text = f"{100 * by_seed.std():.1f} points over {len(by_seed)} seeds"
    return f"How stable is a score? Standard deviation {text}, {100 * over_folds:.1f} points from fold to fold."


def learning_curve(results: StudyResults) -> tuple[list[Score], float, str]:
    """Accuracy by share of the training groups, the accuracy expected for twice the clips, and a sentence.

    The error is assumed to fall as a power of the number of clips (Hestness et al. 2017): a straight line through the
    logarithms is extrapolated.
    """
    keys = {share: f"train share {share}" for share in TRAIN_SHARES if f"train share {share}" in results.predictions}
    keys[1.0] = "all10"
    shares, scores = list(keys), [results.score(key) for key in keys.values()]
    curve = ", ".join(f"{score.value:.3f} with {share:.0%}" for share, score in zip(shares, scores, strict=True))
    text = f"More clips: accuracy {curve} of the training groups"
    if len(keys) == 1:
        return scores, float("nan"), f"{text}; there are too few groups to train with fewer."
    errors = [(1 - score.value + 0.5 / score.n) / (1 + 1 / score.n) for score in scores]
    slope, intercept = np.polyfit(np.log(shares), np.log(errors), 1)
    doubled = float(np.clip(1 - np.exp(intercept + slope * np.log(2)), 0, 1))
    points = 100 * (doubled - scores[-1].value)
    expected = f"about {points:+.0f} points, to {doubled:.2f}" if points >= 0.5 else "no gain that this curve shows"
    return scores, doubled, f"{text}. Twice as many clips would give {expected} (an extrapolation)."


def unknown_actions(results: StudyResults, max_error: float) -> tuple[dict[str, Score], str]:
    """How often clips of an action that was never trained on, and of known actions, are "unknown"; and a sentence."""
    tables = [table for key, table in results.predictions.items() if key.startswith("without ")]
    if not tables:
        return {}, "An action that was never trained on: not measured, since one of only two actions can't be left out."
    table = pd.concat(tables)
    table["correct"] = ~table["answered"]  # its mean is the share that is unknown
    left_out = table["action"] == table["left_out"]
    novel, known = (cross_validation.trials_score(rows) for rows in (table[left_out], table[~left_out]))
    return {"unknown, never trained on": novel, "unknown, known action": known}, (
        f'An action that was never trained on: {novel} of its clips are "unknown" (n = {novel.n}), and {known} of the '
        f"clips of known actions (n = {known.n}), at the threshold for {max_error:.0%} errors."
    )
