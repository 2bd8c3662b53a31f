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

from glimpse.core.parallel import parallel_map
from glimpse.core.splits import Part
from glimpse.core.tables import read_array, read_table
from glimpse.features.extractor import widths
from glimpse.features.views import Look
from glimpse.inference.confidence import threshold
from glimpse.model.calibration import fit_temperature
from glimpse.model.network import reader
from glimpse.split.stratified import assign, holdings_of, in_folds
from glimpse.train.datasets import Draws, FeatureReadings
from glimpse.train.loop import last_logits, loader, train_on


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


def all_clips(stage: str, tune: int) -> tuple[list[str], list[str], list[str]]:
    """The clips in the order of their features, with their actions and groups, for a stage that trains on all of them.

    A tuned backbone, a clip that stands in no part and damaged features end the program with one line.
    """
    if tune:
        raise SystemExit(f"{stage}: reads the frozen backbone's features, so model.tune must be 0")
    split = read_table("data/split.csv", ["clip", "action", "group"]).set_index("clip")
    clips = read_table("data/clips.csv", ["clip"])["clip"].tolist()
    read_array("data/features.npy", len(clips), None, None, None)  # found damaged here, not in every training
    missing = [clip for clip in clips if clip not in split.index]
    if missing:
        raise SystemExit(f"data/split.csv: has no {missing[0]}: {stage} wants every clip, so no official lists")
    held = split.loc[clips]
    return clips, held["action"].tolist(), held["group"].tolist()


def run_all(
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


def parts_of(
    trial: Trial, actions: Sequence[str], groups: Sequence[str], folds: int, val: float, seed: int
) -> dict[str, np.ndarray]:
    """Which rows train, validate and are tested in a trial: {"train" | "val" | "test": int array}."""
    drawn = f"{seed} {trial.seed} {trial.fold}"
    holdings = holdings_of(actions, groups)
    part_of = in_folds(holdings, folds, trial.fold, val, seed, drawn)
    if trial.share < 1:
        for part in ("train", "val"):  # the second training reads both
            held = {group: its for group, its in holdings.items() if part_of[group] == part}
            part_of |= assign(held, {part: trial.share, "unused": 1 - trial.share}, f"{drawn} share")
    parts = np.array([part_of[group] for group in groups])
    seen = np.array([action != trial.left_out for action in actions])
    return {part: np.flatnonzero((parts == part) & (seen | (part == "test"))) for part in ("train", "val", "test")}


def possible(trial: Trial, actions: Sequence[str], groups: Sequence[str], folds: int, val: float, seed: int) -> bool:
    """Whether a trial has clips to test, and clips of every action that it knows to train on and to validate."""
    parts = parts_of(trial, actions, groups, folds, val, seed)
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
        rows = parts_of(trial, actions, groups, folds, s.split.val, s.seed)
        numbers = np.array([names.index(action) if action in names else -1 for action in actions], dtype=np.int64)
        parts = {part: Part([clips[row] for row in held], [], held, numbers[held]) for part, held in rows.items()}
        read = widths(Look.of(s.features))[: trial.views]
        stored = np.load(features, mmap_mode="r")[..., : sum(read)]
        beliefs = train_and_believe(trial, stored, read, parts, len(names), s)
    temperature = fit_temperature(beliefs["val"], parts["val"].actions)
    chances = {part: torch.softmax(torch.from_numpy(of) / temperature, 1) for part, of in beliefs.items()}
    sure = {part: of.max(1) for part, of in chances.items()}
    limit = threshold(sure["val"].values.numpy(), sure["val"].indices.numpy() == parts["val"].actions, s.evaluate.error)
    tables = []
    for part in ("val", "test"):
        held = rows[part]
        table = pd.DataFrame([trial.__dict__] * len(held))
        table["part"], table["clip"] = part, [clips[row] for row in held]
        table["action"], table["group"] = [actions[row] for row in held], [groups[row] for row in held]
        table["right"] = sure[part].indices.numpy() == parts[part].actions
        table["known"] = sure[part].values.numpy() >= limit
        table[[f"p({name})" for name in names]] = chances[part].numpy()
        tables.append(table)
    return pd.concat(tables)


def train_and_believe(
    trial: Trial, features: np.ndarray, read: list[int], parts: dict[str, Part], count: int, s: SimpleNamespace
) -> dict[str, np.ndarray]:
    """Train as a trial says; the logits after the last frame of val and test, {part: float32 (clips, count)}."""
    torch.manual_seed(trial.seed)
    kept = {"kind": trial.temporal, "hidden": s.model.hidden, "dropout": s.model.dropout}
    network = reader(**kept, widths=read, actions=count)
    draws = partial(Draws, s.candidates, s.frames, trial.use, s.draw, s.features.looks, s.redraw, trial.seed)
    trained = [{"params": list(network.parameters()), "lr": s.train.lr}]
    readings, cpu = partial(FeatureReadings, features), torch.device("cpu")
    *_, val = train_on(readings, draws, parts["train"], parts["val"], network, trained, s.train, trial.seed, cpu)
    tested = loader(readings(parts["test"], *draws(parts["test"].clips).fixed()), s.train.batch, 0)
    return {"val": val.numpy(), "test": last_logits(network, tested, cpu, "float32")[0].numpy()}
