"""Study: what distinguishes these actions, which temporal head helps, and would more clips or frames help?

Trains temporal heads many times on the stored features: k folds by group and several seeds. Finished trainings are kept
in .cache/trials/, so that a repeated or killed run trains only what is missing.

Reads params.yaml, data/clips.csv, data/split.csv (the actions and groups) and data/features.npy.
Writes metrics/study.txt (the answers), metrics/study.csv (their figures with intervals) and
metrics/study-trials.csv (one row per training).
"""

import argparse
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from glimpse.evaluate.intervals import PairedDifference, Score
    from glimpse.tools.cross_validation import FoldedClips, Trial

TRAIN_SHARES = (0.25, 0.5, 0.75)  # of the training groups, for the learning curve
ORDERLESS = {"mean": "the mean", "attention": "attention", "ridge": "ridge regression"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folds", type=int, default=5, help="folds of the cross-validation by group (default: 5)")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each fold (default: 2)")


def run(args: argparse.Namespace) -> None:
    check_counts(args)
    import pandas as pd

    from glimpse.core.files import atomic_write, write_table
    from glimpse.core.settings import read_settings
    from glimpse.features.views import ViewConfig
    from glimpse.tools.cross_validation import Trial, load_clips, run_trials

    settings = read_settings()
    data = load_clips("study", settings, args.folds)
    modalities = ViewConfig.from_settings(settings.features).num_modalities
    all10 = Trial(settings.num_frames("all10"), settings.model.head, modalities, settings.seed, 0)
    first5 = replace(all10, num_frames=settings.num_frames("first5"))
    trials = plan(all10, first5, data, args.seeds)
    unique = list(dict.fromkeys(trial for planned in trials.values() for trial in planned))
    print(
        f"study: {len(unique)} trainings on {len(data.clips)} clips, {args.folds} folds x {args.seeds} seeds",
        flush=True,
    )
    table = run_trials(unique, data, settings)
    results = StudyResults(table, trials)
    _, doubled, learning_curve_text = learning_curve(results)
    unknown, unknown_text = unknown_actions(results, settings.evaluate.max_error)
    lines = [
        *appearance_motion_order(results, modalities, settings.features.crop == "motion"),
        lstm_verdict(results), half_verdict(results, first5.num_frames, all10.num_frames), stability(results),
        learning_curve_text, unknown_text,
    ]  # fmt: skip
    scores = {key: results.score(key) for key in trials if not key.startswith("without ")} | unknown
    rows: list[dict[str, object]] = [{"result": key, **score.row()} for key, score in scores.items()]
    rows.append({"result": "twice the clips, extrapolated", "value": doubled})
    write_table("metrics/study.csv", pd.DataFrame(rows).round(4))
    write_table("metrics/study-trials.csv", trials_table(table).round(4))
    with atomic_write("metrics/study.txt") as file:
        file.write("\n".join(lines) + "\n")
    print("\n".join(lines))


def check_counts(args: argparse.Namespace) -> None:
    """Exit with one line unless --folds and --seeds make sense."""
    if args.folds < 2 or args.seeds < 1:
        raise SystemExit(f"--folds {args.folds} --seeds {args.seeds}: --folds must be 2 or more, and --seeds 1 or more")


def plan(all10: "Trial", first5: "Trial", data: "FoldedClips", seeds: int) -> dict[str, list["Trial"]]:
    """The trials that answer each question, {name of the result: [Trial]}.

    Omitted are shares of the groups that lack an action, and left-out actions where fewer than two would remain.
    Exits with one line if the folds are not feasible.
    """
    first_seed = all10.seed

    def repeat(trial: "Trial", seeds: int = seeds) -> list["Trial"]:
        numbers = range(first_seed, first_seed + seeds)
        return [replace(trial, seed=seed, fold=fold) for seed in numbers for fold in range(data.folds)]

    trials = {
        "all10": repeat(all10),
        "first5": repeat(first5),
        "RGB, mean": repeat(replace(all10, head="mean", num_modalities=1)),
        "RGB, lstm": repeat(replace(all10, head="lstm", num_modalities=1)),
    }
    data.check(trials["all10"], "study")
    trials |= {head: repeat(replace(all10, head=head)) for head in ("lstm", *ORDERLESS)}
    trials |= {f"train share {share}": repeat(replace(all10, train_share=share), 1) for share in TRAIN_SHARES}
    for number, action in enumerate(sorted(set(data.actions))):
        trials[f"without {action}"] = [replace(all10, left_out=action, fold=number % data.folds)]
    return {key: planned for key, planned in trials.items() if all(map(data.is_feasible, planned))}


class StudyResults:
    """The predictions of the trials, by the name of the result."""

    def __init__(self, table: "pd.DataFrame", trials: dict[str, list["Trial"]]) -> None:
        import pandas as pd

        test = table[table["split"] == "test"]
        columns = list(asdict(next(iter(trials.values()))[0]))
        rows = {key: group for key, group in test.groupby(columns, dropna=False)}
        self.predictions = {
            key: pd.concat([rows[tuple(asdict(trial).values())] for trial in planned])
            for key, planned in trials.items()
        }

    def clips(self, key: str) -> "pd.DataFrame":
        """The share of trainings that predicted each clip correctly: clip, action, group, correct."""
        columns = {"action": ("action", "first"), "group": ("group", "first"), "correct": ("correct", "mean")}
        return self.predictions[key].groupby("clip", as_index=False).agg(**columns)

    def score(self, key: str) -> "Score":
        """Accuracy over all folds, mean over seeds."""
        from glimpse.evaluate.intervals import accuracy_score

        clips = self.clips(key)
        return accuracy_score(clips["correct"].to_numpy(), clips["group"].to_numpy())

    def difference(self, first: str, second: str) -> "PairedDifference":
        """Difference in accuracy on the same clips, second minus first."""
        from glimpse.evaluate.intervals import paired_difference

        before, after = self.clips(first), self.clips(second)
        assert after["clip"].equals(before["clip"])
        return paired_difference(before["correct"].to_numpy(), after["correct"].to_numpy(), after["group"].to_numpy())

    def spread(self, key: str) -> tuple[float, float]:
        """Standard deviation of the accuracy over seeds (nan for one seed), and over the folds of a seed."""
        rows = self.predictions[key]
        by_seed = rows.groupby("seed")["correct"].mean()
        by_fold = rows.groupby(["seed", "fold"])["correct"].mean().groupby("seed").std().mean()
        return float(by_seed.std(ddof=1)), float(by_fold)


def appearance_motion_order(results: StudyResults, modalities: int, crop_follows: bool) -> list[str]:
    """Do the actions differ in appearance, motion or order? Sentences."""
    crop = ", crop follows the motion" if crop_follows else ""
    lines = [f"Appearance: RGB alone, no order (mean){crop}: accuracy {results.score('RGB, mean')}."]
    helpful = []
    order = results.difference("RGB, mean", "RGB, lstm")
    lines.append(f"Order: {order.describe('RGB with the mean', 'RGB with the LSTM')}.")
    if order.significant and order.value > 0:
        helpful.append("the order of the frames")
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
    """How stable is a score? A sentence."""
    over_seeds, over_folds = results.spread("all10")
    seeds = results.predictions["all10"]["seed"].nunique()
    text = f"{100 * over_seeds:.1f} points over {seeds} seeds" if seeds > 1 else "unknown over seeds (--seeds is 1)"
    return f"How stable is a score? Standard deviation {text}, {100 * over_folds:.1f} points from fold to fold."


def learning_curve(results: StudyResults) -> tuple[list["Score"], float, str]:
    """Accuracy by share of the training groups, the accuracy expected for twice the clips, and a sentence.

    The error is assumed to fall as a power of the number of clips (Hestness et al. 2017): a straight line through the
    logarithms is extrapolated.
    """
    import numpy as np

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


def unknown_actions(results: StudyResults, max_error: float) -> tuple[dict[str, "Score"], str]:
    """How often clips of an action that was never trained on, and of known actions, are "unknown"; and a sentence."""
    import pandas as pd

    from glimpse.evaluate.intervals import accuracy_score

    tables = [table for key, table in results.predictions.items() if key.startswith("without ")]
    if not tables:
        return {}, "An action that was never trained on: not measured, since one of only two actions can't be left out."
    table = pd.concat(tables)
    table["unknown"] = ~table["answered"]
    is_left_out = table["action"] == table["left_out"]
    scores = {}
    for name, rows in (
        ("unknown, never trained on", table[is_left_out]),
        ("unknown, known action", table[~is_left_out]),
    ):
        clips = rows.groupby("clip").agg(group=("group", "first"), unknown=("unknown", "mean"))
        scores[name] = accuracy_score(clips["unknown"].to_numpy(), clips["group"].to_numpy())
    novel, known = scores.values()
    return scores, (
        f'An action that was never trained on: {novel} of its clips are "unknown" (n = {novel.n}), and {known} of the '
        f"clips of known actions (n = {known.n}), at the threshold for {max_error:.0%} errors."
    )


def trials_table(table: "pd.DataFrame") -> "pd.DataFrame":
    """One row per training: its test accuracy on the actions that it knows, and their number of clips."""
    from glimpse.tools.cross_validation import Trial

    test = table[(table["split"] == "test") & (table["action"] != table["left_out"])]
    rows = test.groupby(list(Trial.__dataclass_fields__), sort=False)["correct"].agg(["mean", "size"])
    return rows.rename(columns={"mean": "accuracy", "size": "n"}).reset_index()
