"""Ablations: changes one setting at a time, trains on k folds by group, and compares on the validation clips.

The test folds are not used. Validation also chose the epoch, which makes all rows slightly optimistic, and those with
more epochs more. Frames and features are kept in the folder --work and finished trainings in .cache/trials/, so that a
repeated or killed run computes only what is missing; delete .cache/ablate/ to free the disk.

Reads params.yaml, data/groups.csv, data/labels.csv and the clips of FOLDER.
Writes into the table --out one row per ablation, with the difference to the default settings (those of params.yaml) on
the same clips; a row of the same clips and ablation is replaced.
"""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from glimpse.core.files import write_table
from glimpse.core.params_file import load_params, with_overrides
from glimpse.core.settings import Settings, parse_settings
from glimpse.tools import cross_validation

ROOT = Path(__file__).resolve().parents[3]
BASELINE = "default settings"
MANUAL_TABLES = ("data/groups.csv", "data/labels.csv")
ABLATIONS: dict[str, dict[str, Any]] = {
    BASELINE: {},
    "center crop": {"features.crop": "center"}, "no flow": {"features.flow": False},
    "no RGB difference": {"features.rgb_diff": False},
    "RGB alone": {"features.rgb_diff": False, "features.flow": False},
    "frames stored at 240 pixels": {"frame_size": 240}, "crops of 128 pixels": {"features.input_size": 128},
    "crops of 192 pixels": {"features.input_size": 192, "frame_size": 192},
    "crops of 224 pixels": {"features.input_size": 224, "frame_size": 240},
    "no augmented views": {"features.augmented_views": 0}, "8 augmented views": {"features.augmented_views": 8},
    "40 candidates": {"candidates": 40}, "random sampling": {"sampling": "random"}, "20 frames": {"frames": 20},
    "LSTM alone": {"model.head": "lstm"}, "mean head": {"model.head": "mean"}, "ridge": {"model.head": "ridge"},
    "attention": {"model.head": "attention"}, "GRU": {"model.head": "gru"}, "256 hidden units": {"model.hidden": 256},
    "no moving average of the weights": {"train.ema_decay": 0}, "dropout 0.7": {"model.dropout": 0.7},
    "30 epochs": {"train.epochs": 30}, "120 epochs": {"train.epochs": 120, "train.patience": 40},
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="clips: <action>/<clip> or <action>/<group>/<clip>")
    cross_validation.add_arguments(parser)
    parser.add_argument("--only", metavar="NAMES", help=f"ablations, separated by commas; all: {', '.join(ABLATIONS)}")
    parser.add_argument("--out", metavar="FILE", type=Path, default=Path("docs/ablations.csv"), help="the table")
    help_text = "default: .cache/ablate/<name of the clips' folder>"
    parser.add_argument("--work", metavar="FOLDER", type=Path, help=help_text)


def run(args: argparse.Namespace) -> None:
    cross_validation.check_counts(args)
    names = args.only.split(",") if args.only else list(ABLATIONS)
    if unknown := [name for name in names if name not in ABLATIONS]:
        raise SystemExit(f"--only: {unknown[0]} is not one of {', '.join(ABLATIONS)}")
    if not args.folder.is_dir():
        raise SystemExit(f"{args.folder}: not a folder of clips")
    dataset = args.folder.resolve()
    defaults = with_overrides(load_params(), {"dataset": str(dataset)})
    trees = {name: with_overrides(defaults, ABLATIONS[name]) for name in dict.fromkeys([BASELINE, *names])}
    settings = {name: parse_settings(tree) for name, tree in trees.items()}
    work = args.work or Path(".cache/ablate", dataset.name)
    (work / "data").mkdir(parents=True, exist_ok=True)
    for path in MANUAL_TABLES:
        shutil.copy(path, work / path)
    baseline = None
    for name, tree in trees.items():
        start = time.perf_counter()
        grouping = ["duplicates", "split"] if name == BASELINE else []  # with the default settings for all ablations
        run_stages(work, tree, ["frames", *grouping, "features"])
        result = validate(work, settings[name], args.folds, args.seeds)
        baseline = result if baseline is None else baseline
        row = {"clips": dataset.name, "folds": args.folds, "seeds": args.seeds, **ablation_row(name, result, baseline)}
        row["minutes"] = round((time.perf_counter() - start) / 60, 1)
        update_table(args.out, row)
        print("ablate:", ", ".join(f"{column} {value}" for column, value in row.items()), flush=True)


def run_stages(work: Path, tree: dict[str, Any], stages: list[str]) -> None:
    """Run stages with these settings in the folder `work`."""
    (work / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    for stage in stages:
        command = [sys.executable, str(ROOT / "src" / f"{stage}.py")]
        process = subprocess.run(command, cwd=work, capture_output=True, text=True)
        if process.returncode:
            message = process.stderr.strip() or "ended without a message"
            raise SystemExit(f"ablate: {stage}: {message.splitlines()[-1]}")


def validate(work: Path, settings: Settings, folds: int, seeds: int) -> pd.DataFrame:
    """The rows of `run_trials` for the validation clips of all folds."""
    data = cross_validation.load_clips("ablate", settings, folds, work)
    trials = data.repeat(cross_validation.Trial.from_settings(settings), seeds)
    data.check(trials, "ablate")
    without_refit = settings.model_copy(update={"train": settings.train.model_copy(update={"refit": False})})
    table = cross_validation.run_trials(trials, data, without_refit)
    return table[table["split"] == "val"]


def ablation_row(name: str, result: pd.DataFrame, baseline: pd.DataFrame) -> dict[str, Any]:
    """Validation accuracy of an ablation, and its paired difference to the default settings, on the same clips."""
    score = cross_validation.trials_score(result)
    row: dict[str, Any] = {"ablation": name, "n": score.n, "groups": score.groups}
    row |= {"val_accuracy": score.value, "low": score.low, "high": score.high}
    if name == BASELINE:
        return row
    if set(result["clip"]) != set(baseline["clip"]):
        raise SystemExit(f"ablate: {name}: other clips could be decoded than with the default settings")
    difference = cross_validation.trials_difference(baseline, result)
    row |= {"difference": difference.value, "difference_low": difference.low, "difference_high": difference.high}
    return row


def update_table(path: Path, row: dict[str, Any]) -> None:
    """Write a row into the table, in place of that of the same clips and ablation."""
    table = pd.DataFrame([row])
    if path.exists():
        existing = pd.read_csv(path, converters={"clips": str})  # a folder may be called 01
        replaced = (existing["clips"] == row["clips"]) & (existing["ablation"] == row["ablation"])
        table = pd.concat([existing[~replaced], table])
    write_table(path, table.sort_values("clips", kind="stable").round(4))
