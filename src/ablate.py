"""Tool: what each lever is worth. Trains with one setting changed at a time and compares on validation clips.

Run: python src/ablate.py FOLDER --folds 9 [--seeds 2] [--only "no changes,mean"] [--table docs/ablations.csv]

Reads params.yaml, data/groups.csv and data/labels.csv. All trainings of a row are k folds by group; what counts is
validation inside the folds, and the test folds are left alone. Validation also chose the epoch, which flatters all rows
alike, but those with more epochs more. Writes into the table a row for each lever, with the difference from the
settings as they are on the same clips. Works in a temporary folder, or in --work, where what was decoded and looked at
is kept.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import yaml

from glimpse.core.settings import check, load, with_overrides
from glimpse.core.files import read_table, write_table
from glimpse.evaluate.intervals import accuracy_score, paired_difference
from glimpse.features.views import ViewConfig
from glimpse.tools.cross_validation import Trial, is_feasible, run_trials

ROOT = Path(__file__).resolve().parents[1]
BASELINE = "settings as they are"
ABLATIONS: dict[str, dict[str, object]] = {
    BASELINE: {},
    "square in the middle": {"features.crop": False},
    "no flow": {"features.flow": False},
    "no changes": {"features.rgb_diff": False},
    "frames alone": {"features.rgb_diff": False, "features.flow": False},
    "frames stored at 240 pixels": {"frame_size": 240},
    "squares of 128 pixels": {"features.input_size": 128},
    "squares of 192 pixels": {"features.input_size": 192, "frame_size": 192},
    "squares of 224 pixels": {"features.input_size": 224, "frame_size": 240},
    "no augmented looks": {"features.augmented_views": 0},
    "8 augmented looks": {"features.augmented_views": 8},
    "40 candidates": {"candidates": 40},
    "frames drawn at random": {"sampling": "random"},
    "20 frames": {"frames": 20},
    "LSTM alone": {"model.head": "lstm"},
    "mean": {"model.head": "mean"},
    "ridge": {"model.head": "ridge"},
    "attention": {"model.head": "attention"},
    "gru": {"model.head": "gru"},
    "hidden 256": {"model.hidden": 256},
    "weights of the last step": {"train.ema_decay": 0},
    "dropout 0.7": {"model.dropout": 0.7},
    "30 epochs": {"train.epochs": 30},
    "120 epochs": {"train.epochs": 120, "train.patience": 40},
}
STAGES = ("frames.py", "features.py")  # for each lever; the groups are told once, with the settings as they are
BY_HAND = ("data/groups.csv", "data/labels.csv")


def prepare(work: Path, tree: dict, stages: Iterable[str]) -> None:
    """Run stages with these settings in the folder `work`; what they decoded and looked at before is kept."""
    (work / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    for script in stages:
        done = subprocess.run([sys.executable, f"src/{script}"], cwd=work, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"ablate: {script}: {(done.stderr.strip() or 'ended early').splitlines()[-1]}")


def read_labels(work: Path) -> pd.DataFrame:
    """The action and the group of each clip: a table by clip."""
    return read_table(work / "data/split.csv", ["clip", "action", "group"]).set_index("clip")


def validate(work: Path, tree: dict, labels: pd.DataFrame, folds: int, seeds: int) -> pd.DataFrame:
    """How many of its trainings were right about each validation clip: a table with clip, group and right."""
    s = SimpleNamespace(**check(with_overrides(tree, {"train.refit": False})))  # val is judged before it
    clips = read_table(work / "data/clips.csv", ["clip"])["clip"]
    of = labels.loc[clips]
    base = Trial(
        s.frames if s.all10.num_frames == "all" else s.all10.num_frames,
        s.model.head,
        ViewConfig.from_settings(s.features).num_views,
        0,
        0,
    )
    trials = [replace(base, seed=seed, fold=fold) for seed in range(seeds) for fold in range(folds)]
    known = of["action"].tolist(), of["group"].tolist(), folds
    if not all(is_feasible(trial, *known, s.split.val, s.seed) for trial in trials):
        raise SystemExit(
            f"--folds {folds}: one would lack clips of an action: each action wants more groups than folds"
        )
    table = run_trials(trials, list(clips), *known, s, str(work / "data/features.npy"))
    val = table[table["part"] == "val"]
    return val.groupby("clip", as_index=False).agg(group=("group", "first"), right=("right", "mean"))


def ablation_row(lever: str, answers: pd.DataFrame, reference: pd.DataFrame) -> dict[str, object]:
    """A lever's figures, and what it has above the settings as they are, on the same clips."""
    right, groups = answers["right"].to_numpy(), answers["group"].to_numpy()
    score = accuracy_score(right, groups)
    row = {"lever": lever, "n": score.n, "groups": score.groups, "val_accuracy": score.value}
    row |= {"low": score.low, "high": score.high}
    if lever != BASELINE:
        if not answers["clip"].equals(reference["clip"]):
            raise SystemExit(f"ablate: {lever}: other clips were usable than with the settings as they are")
        more = paired_difference(reference["right"].to_numpy(), right, groups)
        row |= {"more": more.value, "more_low": more.low, "more_high": more.high}
    return row


def update_table(path: Path, rows: list[dict[str, object]]) -> None:
    """Put rows into the table, in place of those of the same clips and lever."""
    table = pd.DataFrame(rows)
    if path.exists():
        kept = pd.read_csv(path)
        again = kept["clips"].isin(table["clips"]) & kept["lever"].isin(table["lever"])
        table = pd.concat([kept[~again], table])
    write_table(path, table.sort_values("clips", kind="stable").round(4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", help="levers, by commas")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--table", type=Path, default=Path("docs/ablations.csv"))
    asked = parser.parse_args()
    chosen = asked.only.split(",") if asked.only else list(ABLATIONS)
    unknown = [name for name in chosen if name not in ABLATIONS]
    if unknown:
        raise SystemExit(f"--only: {unknown[0]} is not one of {', '.join(ABLATIONS)}")
    if asked.folds < 2 or asked.seeds < 1:
        raise SystemExit("--folds must be 2 or more, --seeds 1 or more")
    if not asked.folder.is_dir():
        raise SystemExit(f"{asked.folder}: not a folder of clips")
    base = with_overrides(load("params.yaml"), {"dataset": str(asked.folder.resolve())})
    trees = {lever: with_overrides(base, ABLATIONS[lever]) for lever in dict.fromkeys([BASELINE, *chosen])}
    for tree in trees.values():
        if check(tree)["model"].tune:
            raise SystemExit(
                "params.yaml: model.finetune_blocks must be 0: ablations train on the frozen backbone's features"
            )
    reference = labels = None
    with tempfile.TemporaryDirectory() as temporary:
        work = asked.work or Path(temporary)
        shutil.copytree(ROOT / "src", work / "src", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        for path in BY_HAND:
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, work / path)
        for lever, tree in trees.items():
            began = time.perf_counter()
            if reference is None:
                prepare(work, tree, ["frames.py", "duplicates.py", "split.py"])
                labels = read_labels(work)
            prepare(work, tree, STAGES)
            answers = validate(work, tree, labels, asked.folds, asked.seeds)
            reference = answers if reference is None else reference
            row = {"clips": asked.folder.name, "folds": asked.folds, "seeds": asked.seeds}
            row |= ablation_row(lever, answers, reference) | {"minutes": round((time.perf_counter() - began) / 60, 1)}
            update_table(asked.table, [row])
            print("ablate:", ", ".join(f"{name} {value}" for name, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
