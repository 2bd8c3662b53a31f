"""Trials: trainings of what reads the looks, many of them on the same stored features, each tested on a fold.

They differ from the models of `train` in nothing but what a `Trial` says.
"""

import contextlib
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from glimpse.backbone import WIDTH
from glimpse.calibration import fit_temperature, threshold
from glimpse.model import Temporal
from glimpse.parts import Part
from glimpse.readings import Draws, FeatureReadings
from glimpse.splitting import assign
from glimpse.training import fit, last_logits, loader, sampler_of, weight_of


@dataclass(frozen=True)
class Trial:
    """One training: how many frames are read, by what, how many views of each, with which share of the groups."""

    use: int
    temporal: str
    views: int  # 1: the frames alone; 2: what changed, too
    seed: int
    fold: int
    share: float = 1.0  # of the groups that may be trained on
    left_out: str = ""  # an action that no training sees


def run_all(trials, clips, actions, groups, folds, s, features="data/features.npy"):
    """Run the trials side by side; a table with a row for every trial and each of its clips of val and test.

    `clips`, `actions` and `groups` tell of each row of the features; `folds` how many. `s` holds the settings seed,
    candidates, frames, draw, redraw, split, features, model, train and evaluate. Columns: those of `Trial`, part,
    clip, action, group, right (its answer is), and known (sure enough to say so).
    """
    run = partial(_run, clips=clips, actions=actions, groups=groups, folds=folds, s=s, features=features)
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        done = tqdm(pool.map(run, trials), "study", len(trials), unit="training", disable=None)
        return pd.concat(list(done), ignore_index=True)


def parts_of(trial, actions, groups, folds, val, seed):
    """Which rows train, validate and are tested in a trial: {"train" | "val" | "test": int array}."""
    holdings = {}
    for action, group in zip(actions, groups, strict=True):
        counts = holdings.setdefault(group, {})
        counts[action] = counts.get(action, 0) + 1
    fold_of = assign(holdings, {number: 1 / folds for number in range(folds)}, f"{seed} folds")
    rest = {group: held for group, held in holdings.items() if fold_of[group] != trial.fold}
    part_of = dict.fromkeys(holdings, "test") | assign(rest, {"train": 1 - val, "val": val}, f"{seed} {trial.seed}")
    if trial.share < 1:
        train = {group: held for group, held in rest.items() if part_of[group] == "train"}
        shares = {"train": trial.share, "unused": 1 - trial.share}
        part_of |= assign(train, shares, f"{seed} {trial.seed} share")
    parts = np.array([part_of[group] for group in groups])
    seen = np.array([action != trial.left_out for action in actions])
    return {part: np.flatnonzero((parts == part) & (seen | (part == "test"))) for part in ("train", "val", "test")}


def _run(trial, clips, actions, groups, folds, s, features):
    """One trial: its rows of the table."""
    torch.set_num_threads(1)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        names = sorted(set(actions) - {trial.left_out})
        rows = parts_of(trial, actions, groups, folds, s.split.val, s.seed)
        numbers = np.array([names.index(action) if action in names else -1 for action in actions], dtype=np.int64)
        parts = {part: Part([clips[row] for row in held], [], held, numbers[held]) for part, held in rows.items()}
        stored = np.load(features, mmap_mode="r")[..., : trial.views * WIDTH]
        beliefs = train_and_believe(trial, stored, parts, len(names), s)
    temperature = fit_temperature(beliefs["val"], parts["val"].actions)
    sure = {part: torch.softmax(torch.from_numpy(of) / temperature, 1).max(1) for part, of in beliefs.items()}
    limit = threshold(sure["val"].values.numpy(), sure["val"].indices.numpy() == parts["val"].actions, s.evaluate.error)
    tables = []
    for part in ("val", "test"):
        held = rows[part]
        table = pd.DataFrame([trial.__dict__] * len(held))
        table["part"], table["clip"] = part, [clips[row] for row in held]
        table["action"], table["group"] = [actions[row] for row in held], [groups[row] for row in held]
        table["right"] = sure[part].indices.numpy() == parts[part].actions
        table["known"] = sure[part].values.numpy() >= limit
        tables.append(table)
    return pd.concat(tables)


def train_and_believe(trial, features, parts, count, s):
    """Train as a trial says; the logits after the last frame of val and test, {part: float32 (clips, count)}."""
    torch.manual_seed(trial.seed)
    kept = {"kind": trial.temporal, "hidden": s.model.hidden}
    network = Temporal(**kept, views=trial.views, width=WIDTH, actions=count, dropout=s.model.dropout)
    draws = partial(Draws, s.candidates, s.frames, trial.use, s.draw, s.features.looks, s.redraw, trial.seed)
    readings = {part: draws(held.clips) for part, held in parts.items()}

    def train_loader(epoch):
        sampler = sampler_of(parts["train"].actions, s.train.balance, trial.seed + epoch)
        shown = FeatureReadings(features, parts["train"], *readings["train"].training(epoch))
        return loader(shown, s.train.batch, 0, sampler)

    fixed = {part: FeatureReadings(features, parts[part], *readings[part].fixed()) for part in ("val", "test")}
    weight = weight_of(parts["train"].actions, count, s.train.balance)
    trained = [{"params": list(network.parameters()), "lr": s.train.lr}]
    cpu = torch.device("cpu")
    state, _, _ = fit(network, train_loader, loader(fixed["val"], 64, 0), weight, trained, s.train, cpu, "float32")
    network.load_state_dict(state)
    return {
        part: last_logits(network, loader(shown, 64, 0), cpu, "float32")[0].numpy() for part, shown in fixed.items()
    }
