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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from glimpse.core.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
BASELINE = "default settings"
ABLATIONS: dict[str, dict[str, Any]] = {
    BASELINE: {},
    "center crop": {"features.crop": "center"},
    "no flow": {"features.flow": False},
    "no RGB difference": {"features.rgb_diff": False},
    "RGB alone": {"features.rgb_diff": False, "features.flow": False},
    "frames stored at 240 pixels": {"frame_size": 240},
    "crops of 128 pixels": {"features.input_size": 128},
    "crops of 192 pixels": {"features.input_size": 192, "frame_size": 192},
    "crops of 224 pixels": {"features.input_size": 224, "frame_size": 240},
    "no augmented views": {"features.augmented_views": 0},
    "8 augmented views": {"features.augmented_views": 8},
    "40 candidates": {"candidates": 40},
    "random sampling": {"sampling": "random"},
    "20 frames": {"frames": 20},
    "LSTM alone": {"model.head": "lstm"},
    "mean head": {"model.head": "mean"},
    "ridge": {"model.head": "ridge"},
    "attention": {"model.head": "attention"},
    "GRU": {"model.head": "gru"},
    "256 hidden units": {"model.hidden": 256},
    "no moving average of the weights": {"train.ema_decay": 0},
    "dropout 0.7": {"model.dropout": 0.7},
    "30 epochs": {"train.epochs": 30},
    "120 epochs": {"train.epochs": 120, "train.patience": 40},
}
MANUAL_TABLES = ("data/groups.csv", "data/labels.csv")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="clips: <action>/<clip> or <action>/<group>/<clip>")
    parser.add_argument("--folds", type=int, default=5, help="folds of the cross-validation by group (default: 5)")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each fold (default: 2)")
    parser.add_argument("--only", metavar="NAMES", help=f"ablations, separated by commas; all: {', '.join(ABLATIONS)}")
    parser.add_argument("--out", metavar="FILE", type=Path, default=Path("docs/ablations.csv"), help="the table")
    parser.add_argument(
        "--work", metavar="FOLDER", type=Path, help="default: .cache/ablate/<name of the clips' folder>"
    )


def run(args: argparse.Namespace) -> None:
    from glimpse.core.params_file import load_params, with_overrides
    from glimpse.core.settings import parse_settings
    from glimpse.tools.study import check_counts

    check_counts(args)
    names = args.only.split(",") if args.only else list(ABLATIONS)
    unknown = [name for name in names if name not in ABLATIONS]
    if unknown:
        raise SystemExit(f"--only: {unknown[0]} is not one of {', '.join(ABLATIONS)}")
    if not args.folder.is_dir():
        raise SystemExit(f"{args.folder}: not a folder of clips")
    defaults = with_overrides(load_params("params.yaml"), {"dataset": str(args.folder.resolve())})
    trees = {name: with_overrides(defaults, ABLATIONS[name]) for name in dict.fromkeys([BASELINE, *names])}
    settings = {name: parse_settings(tree) for name, tree in trees.items()}
    work = args.work or Path(".cache/ablate", args.folder.resolve().name)
    for path in MANUAL_TABLES:
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, work / path)
    baseline = None
    for name, tree in trees.items():
        start = time.perf_counter()
        grouping = ["duplicates", "split"] if name == BASELINE else []  # with the default settings for all ablations
        run_stages(work, tree, ["frames", *grouping, "features"])
        result = validate(work, settings[name], args.folds, args.seeds)
        baseline = result if baseline is None else baseline
        row = {"clips": args.folder.resolve().name, "folds": args.folds, "seeds": args.seeds}
        row |= ablation_row(name, result, baseline) | {"minutes": round((time.perf_counter() - start) / 60, 1)}
        update_table(args.out, [row])
        print("ablate:", ", ".join(f"{column} {value}" for column, value in row.items()), flush=True)


def run_stages(work: Path, tree: dict[str, Any], stages: list[str]) -> None:
    """Run stages with these settings in the folder `work`."""
    import yaml

    (work / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    for stage in stages:
        command = [sys.executable, str(ROOT / "src" / f"{stage}.py")]
        process = subprocess.run(command, cwd=work, capture_output=True, text=True)
        if process.returncode:
            raise SystemExit(
                f"ablate: {stage}: {(process.stderr.strip() or 'ended without a message').splitlines()[-1]}"
            )


def validate(work: Path, settings: "Settings", folds: int, seeds: int) -> "pd.DataFrame":
    """The share of trainings that predicted each validation clip correctly: a table with clip, group, correct."""
    from glimpse.features.views import ViewConfig
    from glimpse.tools.cross_validation import Trial, load_clips, run_trials

    data = load_clips("ablate", settings, folds, work)
    num_frames, modalities = settings.num_frames("all10"), ViewConfig.from_settings(settings.features).num_modalities
    trials = [
        Trial(num_frames, settings.model.head, modalities, seed, fold) for seed in range(seeds) for fold in range(folds)
    ]
    data.check(trials, "ablate")
    without_refit = settings.model_copy(update={"train": settings.train.model_copy(update={"refit": False})})
    table = run_trials(trials, data, without_refit, work / "data/features.npy")
    val = table[table["split"] == "val"]
    return val.groupby("clip", as_index=False).agg(group=("group", "first"), correct=("correct", "mean"))


def ablation_row(name: str, result: "pd.DataFrame", baseline: "pd.DataFrame") -> dict[str, Any]:
    """Validation accuracy of an ablation, and its paired difference to the default settings, on the same clips."""
    from glimpse.evaluate.intervals import accuracy_score, paired_difference

    correct, groups = result["correct"].to_numpy(), result["group"].to_numpy()
    score = accuracy_score(correct, groups)
    row = {"ablation": name, "n": score.n, "groups": score.groups, "val_accuracy": score.value}
    row |= {"low": score.low, "high": score.high}
    if name != BASELINE:
        if not result["clip"].equals(baseline["clip"]):
            raise SystemExit(f"ablate: {name}: other clips could be decoded than with the default settings")
        difference = paired_difference(baseline["correct"].to_numpy(), correct, groups)
        row |= {"difference": difference.value}
        row |= {"difference_low": difference.low, "difference_high": difference.high}
    return row


def update_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows into the table, in place of those of the same clips and ablation."""
    import pandas as pd

    from glimpse.core.files import write_table

    table = pd.DataFrame(rows)
    if path.exists():
        existing = pd.read_csv(path)
        replaced = existing["clips"].isin(table["clips"]) & existing["ablation"].isin(table["ablation"])
        table = pd.concat([existing[~replaced], table])
    write_table(path, table.sort_values("clips", kind="stable").round(4))
