"""Trials: trainings of what reads the looks, many of them on the same stored features, each tested on a fold.

They differ from the models of `train` in nothing but what a `Trial` says.
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from glimpse.core.splits import Split
from glimpse.core.files import load_array, read_table
from glimpse.core.parallel import parallel_map
from glimpse.features.extractor import feature_dims
from glimpse.features.views import ViewConfig
from glimpse.inference.confidence import confidence_threshold
from glimpse.model.calibration import fit_temperature
from glimpse.model.network import build_head
from glimpse.split.stratified import assign_groups, class_counts_by_group, fold_split
from glimpse.train.datasets import FeatureDataset, FrameSampler
from glimpse.train.loop import loader, predict_logits, train


@dataclass(frozen=True)
class Trial:
    """One training: how many frames are read, by what, the first how many views of each, with which share of the
    groups."""

    use: int
    temporal: str
    views: int  # 1: the frames alone; as many as looks have: what changed and what moved, too
    seed: int
    fold: int
    share: float = 1.0  # of the groups that may be trained on
    left_out: str = ""  # an action that no training sees


def load_all_clips(stage: str, tune: int) -> tuple[list[str], list[str], list[str]]:
    """The clips in the order of their features, with their actions and groups, for a stage that trains on all of them.

    A tuned backbone, a clip that stands in no part and damaged features end the program with one line.
    """
    if tune:
        raise SystemExit(f"{stage}: reads the frozen backbone's features, so model.finetune_blocks must be 0")
    split = read_table("data/split.csv", ["clip", "action", "group"]).set_index("clip")
    clips = read_table("data/clips.csv", ["clip"])["clip"].tolist()
    load_array("data/features.npy", len(clips), None, None, None)  # found damaged here, not in every training
    missing = [clip for clip in clips if clip not in split.index]
    if missing:
        raise SystemExit(f"data/split.csv: has no {missing[0]}: {stage} wants every clip, so no official lists")
    held = split.loc[clips]
    return clips, held["action"].tolist(), held["group"].tolist()


def run_trials(
    trials: Sequence[Trial], clips: Sequence[str], actions: Sequence[str], groups: Sequence[str], folds: int,
    s: SimpleNamespace, features: Path | str = "data/features.npy",
) -> pd.DataFrame:  # fmt: skip
    """Run the trials side by side; a table with a row for every trial and each of its clips of val and test.

    `clips`, `actions` and `groups` tell of each row of the features; `folds` how many. `s` holds the settings seed,
    candidates, frames, draw, redraw, split, features, model, train and evaluate. Columns: those of `Trial`, part,
    clip, action, group, right (its answer is), known (sure enough to say so), and p(<action>), the probability of
    each action that the trial knows.
    """
    run = partial(_run, clips=clips, actions=actions, groups=groups, folds=folds, s=s, features=features)
    with parallel_map(run, trials) as done:
        tables, tenth = [], max(1, len(trials) // 10)
        for table in tqdm(done, "trainings", len(trials), disable=None):
            tables.append(table)
            if len(tables) % tenth == 0:
                tqdm.write(f"{len(tables)} of {len(trials)} trainings are done")
                sys.stdout.flush()
    return pd.concat(tables, ignore_index=True)


def trial_split(
    trial: Trial, actions: Sequence[str], groups: Sequence[str], folds: int, val: float, seed: int
) -> dict[str, np.ndarray]:
    """Which rows train, validate and are tested in a trial: {"train" | "val" | "test": int array}."""
    drawn = f"{seed} {trial.seed} {trial.fold}"
    holdings = class_counts_by_group(actions, groups)
    part_of = fold_split(holdings, folds, trial.fold, val, seed, drawn)
    if trial.share < 1:
        for part in ("train", "val"):  # the second training reads both
            held = {group: its for group, its in holdings.items() if part_of[group] == part}
            part_of |= assign_groups(held, {part: trial.share, "unused": 1 - trial.share}, f"{drawn} share")
    parts = np.array([part_of[group] for group in groups])
    seen = np.array([action != trial.left_out for action in actions])
    return {part: np.flatnonzero((parts == part) & (seen | (part == "test"))) for part in ("train", "val", "test")}


def is_feasible(trial: Trial, actions: Sequence[str], groups: Sequence[str], folds: int, val: float, seed: int) -> bool:
    """Whether a trial has clips to test, and clips of every action that it knows to train on and to validate."""
    parts = trial_split(trial, actions, groups, folds, val, seed)
    known = set(actions) - {trial.left_out}
    of = {part: {actions[row] for row in rows} for part, rows in parts.items()}
    return len(known) > 1 and of["train"] == of["val"] == known and bool(of["test"])


def _run(
    trial: Trial, clips: Sequence[str], actions: Sequence[str], groups: Sequence[str], folds: int,
    s: SimpleNamespace, features: Path | str,
) -> pd.DataFrame:  # fmt: skip
    """One trial: its rows of the table."""
    torch.set_num_threads(1)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        names = sorted(set(actions) - {trial.left_out})
        rows = trial_split(trial, actions, groups, folds, s.split.val, s.seed)
        numbers = np.array([names.index(action) if action in names else -1 for action in actions], dtype=np.int64)
        parts = {part: Split([clips[row] for row in held], [], held, numbers[held]) for part, held in rows.items()}
        read = feature_dims(ViewConfig.from_settings(s.features))[: trial.views]
        stored = np.load(features, mmap_mode="r")[..., : sum(read)]
        beliefs = train_and_predict(trial, stored, read, parts, len(names), s)
    temperature = fit_temperature(beliefs["val"], parts["val"].labels)
    chances = {part: torch.softmax(torch.from_numpy(of) / temperature, 1) for part, of in beliefs.items()}
    sure = {part: of.max(1) for part, of in chances.items()}
    limit = confidence_threshold(
        sure["val"].values.numpy(), sure["val"].indices.numpy() == parts["val"].labels, s.evaluate.max_error
    )
    tables = []
    for part in ("val", "test"):
        held = rows[part]
        table = pd.DataFrame([trial.__dict__] * len(held))
        table["part"], table["clip"] = part, [clips[row] for row in held]
        table["action"], table["group"] = [actions[row] for row in held], [groups[row] for row in held]
        table["right"] = sure[part].indices.numpy() == parts[part].labels
        table["known"] = sure[part].values.numpy() >= limit
        table[[f"p({name})" for name in names]] = chances[part].numpy()
        tables.append(table)
    return pd.concat(tables)


def train_and_predict(
    trial: Trial, features: np.ndarray, read: list[int], parts: dict[str, Split], count: int, s: SimpleNamespace
) -> dict[str, np.ndarray]:
    """Train as a trial says; the logits after the last frame of val and test, {part: float32 (clips, count)}."""
    torch.manual_seed(trial.seed)
    kept = {"kind": trial.temporal, "hidden": s.model.hidden, "dropout": s.model.dropout}
    network = build_head(**kept, feature_dims=read, actions=count)
    draws = partial(
        FrameSampler,
        s.candidates,
        s.frames,
        trial.use,
        s.sampling,
        s.features.augmented_views,
        s.resample_each_epoch,
        trial.seed,
    )
    trained = [{"params": list(network.parameters()), "lr": s.train.lr}]
    readings, cpu = partial(FeatureDataset, features), torch.device("cpu")
    *_, val = train(readings, draws, parts["train"], parts["val"], network, trained, s.train, trial.seed, cpu)
    tested = loader(readings(parts["test"], *draws(parts["test"].clips).eval_positions()), s.train.batch_size, 0)
    return {"val": val.numpy(), "test": predict_logits(network, tested, cpu, "float32")[0].numpy()}
