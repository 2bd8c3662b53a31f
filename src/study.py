"""Stage `study`: what tells these actions apart, does the LSTM earn its keep, and what would help.

Trains what reads the looks many times: k folds by group and several seeds, on the features that are there. Reads
data/features.npy, data/clips.csv and data/split.csv (for the groups). Writes metrics/study.csv (a row for each
question's figures), metrics/study-trials.csv (a row for each training) and metrics/study.txt (the answers in words).
Run: python src/study.py
"""

from glimpse.core.settings import read  # isort: split

from collections.abc import Iterable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd

from glimpse.core.files import atomic_write
from glimpse.core.files import write_table
from glimpse.evaluate.intervals import PairedDifference, Score, accuracy_score, paired_difference
from glimpse.features.views import ViewConfig
from glimpse.tools.cross_validation import Trial, is_feasible, load_all_clips, run_trials

SHARES = (0.25, 0.5, 0.75)  # of the training groups, for the learning curve
ORDERLESS = {"mean": "a mean", "attention": "attention", "ridge": "ridge regression"}


def plan(
    s: SimpleNamespace, base: Trial, first: Trial, actions: list[str], groups: list[str]
) -> dict[str, list[Trial]]:
    """The trials that answer each question, {question's key: [Trial]}; `actions` and `groups` of each clip.

    Left out: shares of the groups that lack an action, and left-out actions where fewer than two would remain.
    """

    def possible_all(asked: Iterable[Trial]) -> bool:
        return all(is_feasible(trial, actions, groups, s.study.folds, s.split.val, s.seed) for trial in asked)

    folds, seeds = range(s.study.folds), range(s.seed, s.seed + s.study.seeds)

    def over(trial: Trial, seeds: Iterable[int] = seeds) -> list[Trial]:
        return [replace(trial, seed=seed, fold=fold) for seed in seeds for fold in folds]

    trials = {
        "as set": over(base),
        "first": over(first),
        "frames, mean": over(replace(base, temporal="mean", views=1)),
        "frames, in order": over(replace(base, temporal="lstm", views=1)),
    }
    for kind in ("lstm", *ORDERLESS):
        trials[kind] = over(replace(base, temporal=kind))
    if not possible_all(trials["as set"]):
        raise SystemExit(
            f"study: {s.study.folds} folds leave one without clips of every action to train on, validate and test: "
            "each action wants more groups than folds: set study.folds lower"
        )
    for share in SHARES:
        trials[f"share {share}"] = over(replace(base, share=share), seeds[:1])
    for number, action in enumerate(sorted(set(actions))):
        left_out = replace(base, left_out=action, seed=s.seed, fold=number % s.study.folds)
        trials[f"without {action}"] = [left_out]
    return {key: asked for key, asked in trials.items() if possible_all(asked)}


class StudyResults:
    """What the trials came to, question by question."""

    def __init__(self, table: pd.DataFrame, trials: dict[str, list[Trial]]) -> None:
        columns = list(Trial.__dataclass_fields__)
        table = table[table["part"] == "test"]
        rows = {key: group for key, group in table.groupby(columns, dropna=False)}
        self.of = {
            key: pd.concat([rows[tuple(getattr(trial, name) for name in columns)] for trial in asked])
            for key, asked in trials.items()
        }

    def clips(self, key: str) -> pd.DataFrame:
        """The share of trainings that were right about each clip: a table with clip, action, group and right."""
        return (
            self.of[key]
            .groupby("clip", as_index=False)
            .agg(action=("action", "first"), group=("group", "first"), right=("right", "mean"))
        )

    def score(self, key: str) -> Score:
        """Accuracy over all folds, mean over seeds, with its interval."""
        clips = self.clips(key)
        return accuracy_score(clips["right"].to_numpy(), clips["group"].to_numpy())

    def gain(self, key: str, over: str) -> PairedDifference:
        """What `key` has above `over`, on the same clips."""
        more, less = self.clips(key), self.clips(over)
        assert more["clip"].equals(less["clip"])
        return paired_difference(less["right"].to_numpy(), more["right"].to_numpy(), more["group"].to_numpy())

    def spread(self, key: str) -> tuple[float, float]:
        """The standard deviation of the accuracy over seeds, and over folds within a seed."""
        each = self.of[key].groupby(["seed", "fold"])["right"].mean()
        seeds = self.of[key].groupby("seed")["right"].mean()
        return float(seeds.std(ddof=1)) if len(seeds) > 1 else float("nan"), float(each.groupby("seed").std().mean())


def told_by(found: StudyResults, views: int, follows: bool) -> list[str]:
    """Is it appearance, movement or order? Sentences. follows: whether the frames' squares follow what moves."""
    frames = found.score("frames, mean")
    shown = "frames alone" + (", in a square that follows what moves," if follows else ",")
    lines = [f"Appearance: {shown} in no order, get {frames}."]
    helps = []
    order = found.gain("frames, in order", "frames, mean")
    lines.append(f"Order: {order.in_words('frames alone in no order', 'frames alone read in order')}.")
    if order.clear and order.value > 0:
        helps.append("the order of frames")
    if views > 1:
        movement = found.gain("mean", "frames, mean")
        lines.append(f"Movement: {movement.in_words('frames alone', 'frames with what moved')}, both in no order.")
        if movement.clear and movement.value > 0:
            helps.append("what moves between neighbouring frames")
    if helps:
        lines.append(f"So appearance alone is not enough here: more is told by {' and by '.join(helps)}.")
    else:
        lines.append("So appearance tells all that these clips can show to be told.")
    return lines


def keep_of_lstm(found: StudyResults) -> str:
    """Does the LSTM earn its keep? A sentence."""
    best = max(ORDERLESS, key=lambda kind: found.score(kind).value)
    gain = found.gain("lstm", best)
    verdict = {True: "yes" if gain.value > 0 else "no", False: "not that these clips could show"}[gain.clear]
    return f"Does the LSTM earn its keep? {verdict}: {gain.in_words(f'{ORDERLESS[best]} of the looks', 'the LSTM')}."


def half_enough(found: StudyResults, first: int, use: int) -> str:
    """Is half of the clip enough? A sentence."""
    if first == use:
        return f"Both approaches read {use} frames: whether half of the clip is enough was not asked."
    gain = found.gain("as set", "first")
    said = gain.in_words(f"the first {first} frames", f"all {use}")
    enough = "no" if gain.clear and gain.value > 0 else "yes" if gain.high < 0.05 else "not clear"
    return f"Is half of the clip enough? {enough}: {said}."


def stability(found: StudyResults) -> str:
    """How stable is a score? A sentence."""
    seeds, folds = found.spread("as set")
    count = found.of["as set"]["seed"].nunique()
    over = f"{100 * seeds:.1f} points over {count} seeds" if seeds == seeds else "unknown over seeds (study.seeds is 1)"
    return f"How stable is a score? Standard deviation {over}, {100 * folds:.1f} points from fold to fold."


def learning_curve(found: StudyResults) -> tuple[list[Score], float, str]:
    """The score by the share of the training groups, and what twice as many would give.

    The errors are taken to fall as a power of the number of clips (Hestness and others 2017); a straight line through
    their logarithms goes on to twice the clips.
    """
    keys = {share: f"share {share}" for share in SHARES if f"share {share}" in found.of} | {1.0: "as set"}
    shares, scores = list(keys), [found.score(key) for key in keys.values()]
    curve = ", ".join(f"{score.value:.3f} from {share:.0%}" for share, score in zip(shares, scores, strict=True))
    if len(keys) == 1:
        return scores, float("nan"), f"More clips: {curve} of the training groups; too few groups to try with less."
    errors = [(1 - score.value + 0.5 / score.n) / (1 + 1 / score.n) for score in scores]
    slope, level = np.polyfit(np.log(shares), np.log(errors), 1)
    twice = float(np.clip(1 - np.exp(level + slope * np.log(2)), 0, 1))
    more = 100 * (twice - scores[-1].value)
    said = f"about {more:+.0f} points, to {twice:.2f}" if more >= 0.5 else "nothing that this curve shows"
    words = f"More clips: {curve} of the training groups. Twice as many would give {said} (an extrapolation)."
    return scores, twice, words


def never_seen(found: StudyResults, error: float) -> tuple[dict[str, Score], str]:
    """How often clips of an action that no training saw end as unknown, beside those of known actions."""
    asked = [of for key, of in found.of.items() if key.startswith("without ")]
    if not asked:
        return {}, "An action that was never trained on: with two actions, none can be left out."
    of = pd.concat(asked)
    of["unknown"] = ~of["known"]
    strange, known = of[of["action"] == of["left_out"]], of[of["action"] != of["left_out"]]
    lost = {}
    for name, part in (("never seen, unknown", strange), ("known, unknown", known)):
        clips = part.groupby("clip").agg(group=("group", "first"), unknown=("unknown", "mean"))
        lost[name] = accuracy_score(clips["unknown"].to_numpy(), clips["group"].to_numpy())
    stranger, own = lost.values()
    said = (
        f"An action that was never trained on: {stranger} of its clips end as unknown (n = {stranger.n}), and {own} of "
        f"the clips of known actions (n = {own.n}), at the threshold for {error:.0%} errors."
    )
    return lost, said


def main() -> None:
    s = read("seed", "candidates", "frames", "sampling", "resample_each_epoch", "first5", "all10", "split", "features", "model",
             "train", "evaluate", "study")  # fmt: skip
    clips, actions, groups = load_all_clips("study", s.model.finetune_blocks)
    use = s.frames if s.all10.num_frames == "all" else s.all10.num_frames
    first = s.frames if s.first5.num_frames == "all" else s.first5.num_frames
    base = Trial(use, s.model.head, ViewConfig.from_settings(s.features).num_views, s.seed, 0)
    trials = plan(s, base, replace(base, use=first), actions, groups)
    unique = list(dict.fromkeys(trial for asked in trials.values() for trial in asked))
    folds = f"{s.study.folds} folds x {s.study.seeds} seeds"
    print(f"study: {len(unique)} trainings on {len(clips)} clips, {folds}", flush=True)
    table = run_trials(unique, clips, actions, groups, s.study.folds, s)
    found = StudyResults(table, trials)
    _, twice, more_clips = learning_curve(found)
    lost, unseen = never_seen(found, s.evaluate.max_error)
    lines = [*told_by(found, base.views, s.features.crop), keep_of_lstm(found), half_enough(found, first, use)]
    lines += [stability(found), more_clips, unseen]
    scores = {key: found.score(key) for key in trials if not key.startswith("without ")} | lost
    rows = [{"what": key, **score.row()} for key, score in scores.items()]
    rows.append({"what": "twice the clips, extrapolated", "value": twice})
    write_table("metrics/study.csv", pd.DataFrame(rows).round(4))
    tested = table[(table["part"] == "test") & (table["action"] != table["left_out"])]
    each = tested.groupby(list(Trial.__dataclass_fields__), sort=False)["right"].agg(["mean", "size"])
    each = each.rename(columns={"mean": "accuracy", "size": "n"}).reset_index()
    write_table("metrics/study-trials.csv", each.round(4))
    with atomic_write("metrics/study.txt") as file:
        file.write("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
