"""Tool: what each lever is worth. Trains with one setting changed at a time and compares on validation clips.

Run: python src/ablate.py FOLDER --folds 9 [--seeds 2] [--only "no changes,mean"] [--table docs/ablations.csv]

Reads params.yaml. All trainings of a row are k folds by group; validation accuracy is inside the folds, and the test
folds are left alone. Writes into the table one row for each lever, with the difference from the settings as they are
on the same clips. Works in a temporary folder, or in --work, where what was decoded and looked at is kept.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import yaml

from glimpse.files import read_table, write_table
from glimpse.intervals import accuracy_score, difference
from glimpse.settings import check, load
from glimpse.trials import Trial, run_all

ROOT = Path(__file__).resolve().parents[1]
AS_SET = "settings as they are"
LEVERS = {
    AS_SET: {},
    "square in the middle": {"features.follow": False},
    "no changes": {"features.change": False},
    "square in the middle, no changes": {"features.follow": False, "features.change": False},
    "frames stored at 240 pixels": {"store_size": 240},
    "squares of 128 pixels": {"features.size": 128},
    "squares of 192 pixels": {"features.size": 192, "store_size": 192},
    "squares of 224 pixels": {"features.size": 224, "store_size": 240},
    "no augmented looks": {"features.looks": 0},
    "8 augmented looks": {"features.looks": 8},
    "40 candidates": {"candidates": 40},
    "frames drawn at random": {"draw": "random"},
    "20 frames": {"frames": 20},
    "mean": {"model.temporal": "mean"},
    "attention": {"model.temporal": "attention"},
    "gru": {"model.temporal": "gru"},
    "hidden 256": {"model.hidden": 256},
    "dropout 0.7": {"model.dropout": 0.7},
    "30 epochs": {"train.epochs": 30},
    "120 epochs": {"train.epochs": 120, "train.patience": 40},
}
STAGES = ("frames.py", "leaks.py", "split.py", "features.py")


def changed(tree, changes):
    """A copy of nested settings with changes such as {"train.epochs": 30}."""
    tree = {name: dict(value) if isinstance(value, dict) else value for name, value in tree.items()}
    for key, value in changes.items():
        name, _, below = key.partition(".")
        if below:
            tree[name][below] = value
        else:
            tree[name] = value
    return tree


def prepare(work, tree):
    """Decode and look at the clips, as the stages do, in the folder `work`; what is there already is kept."""
    (work / "data").mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "src", work / "src", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    (work / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    for script in STAGES:
        done = subprocess.run([sys.executable, f"src/{script}"], cwd=work, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"ablate: {script}: {done.stderr.strip().splitlines()[-1]}")


def validate(work, tree, folds, seeds):
    """The answers to the validation clips of all folds and seeds: a table as `run_all` makes it."""
    s = SimpleNamespace(**check(tree))
    clips = read_table(work / "data/clips.csv", ["clip"])["clip"]
    split = read_table(work / "data/split.csv", ["clip", "action", "group"]).set_index("clip").loc[clips]
    use = s.frames if s.all10.use == "all" else s.all10.use
    trials = [
        Trial(use, s.model.temporal, 1 + s.features.change, seed, fold)
        for seed in range(seeds)
        for fold in range(folds)
    ]
    labels = split["action"].tolist(), split["group"].tolist()
    table = run_all(trials, list(clips), *labels, folds, s, str(work / "data/features.npy"))
    return table[table["part"] == "val"].sort_values(["seed", "fold", "clip"], ignore_index=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", help="levers, by commas")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--table", type=Path, default=Path("docs/ablations.csv"))
    asked = parser.parse_args()
    chosen = asked.only.split(",") if asked.only else list(LEVERS)
    unknown = [name for name in chosen if name not in LEVERS]
    if unknown:
        raise SystemExit(f"--only: {unknown[0]} is not one of {', '.join(LEVERS)}")
    if not asked.folder.is_dir():
        raise SystemExit(f"{asked.folder}: not a folder of clips")
    base = changed(load("params.yaml"), {"dataset": str(asked.folder.resolve())})
    rows, reference = [], None
    with tempfile.TemporaryDirectory() as temporary:
        work = asked.work or Path(temporary)
        for lever in dict.fromkeys([AS_SET, *chosen]):
            began = time.perf_counter()
            tree = changed(base, LEVERS[lever])
            prepare(work, tree)
            answers = validate(work, tree, asked.folds, asked.seeds)
            reference = answers if reference is None else reference
            right, groups = answers["right"].to_numpy(), answers["group"].to_numpy()
            score = accuracy_score(right, groups)
            against = difference(reference["right"].to_numpy(), right, groups)
            row = {"clips": asked.folder.name, "lever": lever, "folds": asked.folds, "seeds": asked.seeds, "n": score.n}
            row |= {"val_accuracy": score.value, "low": score.low, "high": score.high, "more": against.value}
            row |= {"more_low": against.low, "more_high": against.high} if lever != AS_SET else {}
            rows.append(row | {"minutes": round((time.perf_counter() - began) / 60, 1)})
            more = f"{against.value:+.3f} ({against.low:+.3f} to {against.high:+.3f})"
            print(f"ablate: {lever}: {score}, {more}", flush=True)
    table = pd.DataFrame(rows).round(4)
    if asked.table.exists():
        kept = pd.read_csv(asked.table)
        table = pd.concat([kept[~(kept["clips"].isin(table["clips"]) & kept["lever"].isin(table["lever"]))], table])
    write_table(asked.table, table.sort_values("clips", kind="stable"))
    print(f"ablate: {len(rows)} rows in {asked.table}")


if __name__ == "__main__":
    main()
