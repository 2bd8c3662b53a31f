"""Trials: trainings of a temporal head on the stored features, each tested on one fold of a k-fold split by group.

Apart from what `Trial` says they are trained like the models of the stages `train-*`. The logits of each trial are kept
in `.cache/trials/`, so that a repeated or killed run trains only what is missing.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax
from tqdm import tqdm

from glimpse.core import sampling
from glimpse.core.files import cache_key, cache_read, cache_write, load_array, read_table, source_hash
from glimpse.core.parallel import parallel_map
from glimpse.core.settings import Settings
from glimpse.core.splits import SPLITS, Split
from glimpse.evaluate.intervals import PairedDifference, Score, accuracy_score, paired_difference
from glimpse.features.views import ViewConfig
from glimpse.inference.confidence import confidence_threshold
from glimpse.model.calibration import fit_temperature
from glimpse.split import stratified

CACHE = Path(".cache/trials")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define --folds and --seeds, which `check_counts` checks."""
    parser.add_argument("--folds", type=int, default=5, help="folds of the cross-validation by group (default: 5)")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each fold (default: 2)")


def check_counts(args: argparse.Namespace) -> None:
    """Exit with one line unless --folds and --seeds make sense."""
    if args.folds < 2 or args.seeds < 1:
        raise SystemExit(f"--folds {args.folds} --seeds {args.seeds}: --folds must be 2 or more, and --seeds 1 or more")


@dataclass(frozen=True)
class Trial:
    """One training: how many frames it reads, with which head and which modalities, and what it is trained on."""

    num_frames: int
    head: str
    num_modalities: int  # the first ones, in the order of the features; 1: RGB alone
    seed: int
    fold: int
    train_share: float = 1.0  # of the groups of train and val
    left_out: str = ""  # an action that is tested and never trained on

    @classmethod
    def from_settings(cls, settings: Settings, approach: str = "all10") -> "Trial":
        """Fold 0 with an approach's settings."""
        views = ViewConfig.from_settings(settings.features)
        return cls(settings.num_frames(approach), settings.model.head, views.num_modalities, settings.seed, 0)


@dataclass(frozen=True)
class FoldedClips:
    """The clips of all trials, in the order of their features, and how they are divided into folds."""

    clips: list[str]
    actions: list[str]
    groups: list[str]
    folds: int
    val: float  # fraction of the clips outside the test fold
    seed: int
    features: str = "data/features.npy"  # the file of their features

    def split(self, trial: Trial) -> dict[str, np.ndarray]:
        """The rows of each split in a trial: {"train" | "val" | "test": int (clips,)}."""
        val_seed = f"{self.seed} {trial.seed} {trial.fold}"
        counts = stratified.class_counts_by_group(self.actions, self.groups)
        splits = stratified.fold_split(counts, self.folds, trial.fold, self.val, self.seed, val_seed)
        if trial.train_share < 1:
            for name in ("train", "val"):  # a refit trains on both
                shares = {name: trial.train_share, "unused": 1 - trial.train_share}
                members = {group: counts[group] for group in counts if splits[group] == name}
                splits |= stratified.assign_groups(members, shares, f"{val_seed} share")
        names = np.array([splits[group] for group in self.groups])
        trained = np.array([action != trial.left_out for action in self.actions])
        return {name: np.flatnonzero((names == name) & (trained | (name == "test"))) for name in SPLITS}

    def load(self, trial: Trial) -> tuple[list[str], dict[str, Split]]:
        """The class names of a trial, and its splits; the class index of the left-out action is -1."""
        class_names = sorted(set(self.actions) - {trial.left_out})
        labels = pd.Index(class_names).get_indexer(self.actions)
        return class_names, {
            name: Split([self.clips[row] for row in rows], [self.groups[row] for row in rows], rows, labels[rows])
            for name, rows in self.split(trial).items()
        }

    def repeat(self, trial: Trial, seeds: int) -> list[Trial]:
        """The trial on every fold, with so many seeds from its own on."""
        numbers = range(trial.seed, trial.seed + seeds)
        return [replace(trial, seed=seed, fold=fold) for seed in numbers for fold in range(self.folds)]

    def is_feasible(self, trial: Trial) -> bool:
        """Whether test has clips, and train and val have clips of all actions that are not left out, at least two."""
        actions = {name: {self.actions[row] for row in rows} for name, rows in self.split(trial).items()}
        expected = set(self.actions) - {trial.left_out}
        return len(expected) > 1 and actions["train"] == actions["val"] == expected and bool(actions["test"])

    def check(self, trials: Sequence[Trial], tool: str) -> None:
        """Exit with one line if a trial is not feasible."""
        if not all(map(self.is_feasible, trials)):
            raise SystemExit(
                f"{tool}: with --folds {self.folds} a fold has no clips of some action in train, val or test: each "
                "action needs more groups than there are folds: choose fewer folds"
            )


def load_clips(tool: str, settings: Settings, folds: int, folder: Path | str = ".") -> FoldedClips:
    """All clips of data/clips.csv below `folder`, with their actions and groups of data/split.csv.

    Exits with one line for a finetuned backbone, damaged features, or a clip that is in no split.
    """
    if settings.model.finetune_blocks:
        raise SystemExit(f"{tool}: trains on the frozen features: set model.finetune_blocks to 0 in params.yaml")
    split_csv, clips_csv, features = (Path(folder, "data", name) for name in ("split.csv", "clips.csv", "features.npy"))
    table = read_table(split_csv, ["clip", "action", "group"]).set_index("clip")
    clips = read_table(clips_csv, ["clip"])["clip"].tolist()
    load_array(features, len(clips), None, None, None)  # now, not in every training
    if missing := [clip for clip in clips if clip not in table.index]:
        raise SystemExit(
            f"{split_csv}: {missing[0]} is in no split: {tool} needs all clips, so it does not work with official "
            "lists that leave some out"
        )
    actions, groups = (table.loc[clips, name].tolist() for name in ("action", "group"))
    return FoldedClips(clips, actions, groups, folds, settings.split.val, settings.seed, str(features))


def run_trials(trials: Sequence[Trial], data: FoldedClips, settings: Settings) -> pd.DataFrame:
    """Train what is not cached, one training per core; returns a row for each trial and each of its val and test clips.

    Columns: those of `Trial`, split, clip, action, group, correct, answered (confident enough for
    `evaluate.max_error`), and p(<action>), the probability of each action that the trial knows.
    """
    entries = _cache_entries(trials, data, settings)
    missing = [(trial, path) for trial, path in zip(trials, entries, strict=True) if cache_read(path) is None]
    if len(missing) < len(trials):
        print(f"{len(trials) - len(missing)} of {len(trials)} trainings are in {CACHE}/ already", flush=True)
    if missing:
        with parallel_map(partial(train_trial, data=data, settings=settings), missing) as finished:
            for number, _ in enumerate(tqdm(finished, "trainings", len(missing), disable=None), 1):
                if number % max(1, len(missing) // 10) == 0:
                    tqdm.write(f"{number} of {len(missing)} trainings are done")
                    sys.stdout.flush()
    tables = []
    for trial, path in zip(trials, entries, strict=True):
        content = cache_read(path)
        if content is None:
            raise SystemExit(f"{path}: deleted or damaged meanwhile: run the command again")
        with np.load(io.BytesIO(content)) as logits:
            tables.append(predictions(trial, data, dict(logits), settings.evaluate.max_error))
    return pd.concat(tables, ignore_index=True)


def _cache_entries(trials: Sequence[Trial], data: FoldedClips, settings: Settings) -> list[Path]:
    """The cache entry of each trial: keyed by all that its logits depend on."""
    from glimpse.features.extractor import versions
    from glimpse.model import heads, ridge
    from glimpse.train import datasets, loop

    code = source_hash(datasets, heads, loop, ridge, sampling, stratified, sys.modules[__name__])
    names = {"candidates", "frames", "sampling", "resample_each_epoch", "features", "train"}
    used = settings.model_dump(include=names), settings.model.hidden, settings.model.dropout
    shared = cache_key(data.features, code, versions(), used, asdict(data))
    keys = [hashlib.sha256(json.dumps([shared, asdict(trial)]).encode()).hexdigest()[:40] for trial in trials]
    return [CACHE / key[:2] / f"{key}.npz" for key in keys]


def train_trial(job: tuple[Trial, Path], data: FoldedClips, settings: Settings) -> None:
    """Train one trial, in a worker process, and cache its logits after the last frame of the val and test clips."""
    import torch

    from glimpse.features.extractor import feature_dims
    from glimpse.model.heads import build_head
    from glimpse.train.datasets import FrameSampler, StoredFeatures
    from glimpse.train.loop import Trainer

    trial, path = job
    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())  # its own is a semaphore, which a worker that is killed would leak
    with open(os.devnull, "w") as null, contextlib.redirect_stdout(null), contextlib.redirect_stderr(null):
        class_names, splits = data.load(trial)
        dims = feature_dims(ViewConfig.from_settings(settings.features))[: trial.num_modalities]
        stored = np.load(data.features, mmap_mode="r")[..., : sum(dims)]
        torch.manual_seed(trial.seed)
        head = build_head(trial.head, dims, settings.model.hidden, len(class_names), settings.model.dropout)
        sampler = FrameSampler(
            settings.candidates, settings.frames, trial.num_frames, settings.sampling,
            settings.features.augmented_views, settings.resample_each_epoch, trial.seed,
        )  # fmt: skip
        parameters = [{"params": list(head.parameters()), "lr": settings.train.lr}]
        trainer = Trainer(head, StoredFeatures(stored), sampler, settings.train, parameters, trial.seed)
        val_logits = trainer.train(splits["train"], splits["val"]).val_logits
        test_logits, _ = trainer.predict_logits(trainer.network, trainer.eval_loader(splits["test"]))
    content = io.BytesIO()
    np.savez(content, val=val_logits.numpy(), test=test_logits.numpy())
    cache_write(path, content.getvalue())


def predictions(trial: Trial, data: FoldedClips, logits: dict[str, np.ndarray], max_error: float) -> pd.DataFrame:
    """A trial's rows of the table of `run_trials`, from its logits {"val" | "test": (clips, classes)}."""
    class_names, splits = data.load(trial)
    temperature = fit_temperature(logits["val"], splits["val"].labels)
    probabilities = {name: softmax(values.astype(float) / temperature, axis=1) for name, values in logits.items()}
    correct = {name: values.argmax(1) == splits[name].labels for name, values in logits.items()}
    threshold = confidence_threshold(probabilities["val"].max(1), correct["val"], max_error)
    tables = []
    for name in ("val", "test"):
        split, p = splits[name], probabilities[name]
        columns = {
            "split": name, "clip": split.clips, "action": [data.actions[row] for row in split.rows],
            "group": split.groups, "correct": correct[name], "answered": p.max(1) >= threshold,
        }  # fmt: skip
        columns |= {f"p({action})": p[:, index] for index, action in enumerate(class_names)}
        tables.append(pd.DataFrame(asdict(trial) | columns))
    return pd.concat(tables)


def by_clip(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each clip in rows of `run_trials`: clip, group, and correct, the share of its trials that are."""
    return table.groupby("clip", as_index=False).agg(group=("group", "first"), correct=("correct", "mean"))


def trials_score(table: pd.DataFrame) -> Score:
    """Accuracy over the clips in rows of `run_trials`, mean over their trials."""
    clips = by_clip(table)
    return accuracy_score(clips["correct"].to_numpy(), clips["group"])


def trials_difference(first: pd.DataFrame, second: pd.DataFrame) -> PairedDifference:
    """Difference in accuracy on the same clips, second minus first."""
    before, after = by_clip(first), by_clip(second)
    assert after["clip"].equals(before["clip"])
    return paired_difference(before["correct"].to_numpy(), after["correct"].to_numpy(), after["group"])
