"""Compare experiments: one row per combination of settings, the mean over its runs, with intervals.

Experiments that differ only in `seed` and `split.fold` are runs of the same settings. For folds of one seed the
accuracy is also pooled over all clips, with Wilson's interval (1927).

Reads what `dvc exp show` knows: the experiments named, or all of the current commit.
Prints a table; with --csv FILE writes it there, too.
"""

import argparse
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from glimpse.core.files import write_table
from glimpse.core.params_file import flatten
from glimpse.core.settings import APPROACHES

RUN_SETTINGS = ("seed", "split.fold")  # in which runs of the same settings may differ
METRICS = ("accuracy", "recall")
FOLDS_NOTE = "no clip is tested twice: the pooled interval (Wilson) takes clips as independent, and ignores groups"
SPREAD_NOTE = (
    "runs share clips: the interval (Student's t) is about the variation by split and training, not about other clips"
)
SINGLE_NOTE = "a single run: no standard deviation"
Run = tuple[dict[str, Any], dict[str, Any]]  # flat settings, flat metrics


def add_arguments(parser: argparse.ArgumentParser) -> None:
    help_text = "an experiment, a commit or `workspace`; default: all experiments of the current commit"
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help=help_text)
    parser.add_argument("--csv", metavar="FILE", help="write the table to this file, too")


def run(args: argparse.Namespace) -> None:
    runs, without_metrics = select_runs(exp_show(all_commits=bool(args.experiments)), args.experiments)
    if without_metrics:
        print(f"compare: without metrics, and left out: {', '.join(without_metrics)}", file=sys.stderr)
    if not runs:
        raise SystemExit("compare: no experiment with metrics here: `dvc exp run` makes one")
    table = compare(runs).round(4)
    if args.csv:
        write_table(args.csv, table)
    print(table.drop(columns="note").to_string(index=False, na_rep=""))
    for note in table["note"].unique():
        print(note)


def exp_show(all_commits: bool) -> list[dict[str, Any]]:
    """The output of `dvc exp show --json`, for the current commit or for all."""
    command = [sys.executable, "-m", "dvc", "exp", "show", "--json", *(["--all-commits"] if all_commits else [])]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        raise SystemExit(f"dvc exp show: {(process.stderr.strip() or 'failed').splitlines()[-1]}")
    return json.loads(process.stdout)


def flat_values(state: dict[str, Any], kind: str) -> dict[str, Any]:
    """The `params` or `metrics` of all files in one state of the project: {"split.fold": 0, …}."""
    files = ((state.get("data") or {}).get(kind) or {}).values()
    return {name: value for file in files for name, value in flatten(file.get("data") or {}).items()}


def select_runs(commits: list[dict[str, Any]], names: list[str]) -> tuple[dict[str, Run], list[str]]:
    """The runs by name, and the names of those without metrics (queued, failed).

    commits: from `exp_show`. names: experiments, commits or "workspace"; empty: all experiments.
    """
    states = {}
    for commit in commits:
        if names:
            states[commit.get("name") or commit["rev"]] = commit
        for experiment in commit.get("experiments") or []:
            states[experiment["name"] or experiment["revs"][0]["rev"][:7]] = experiment["revs"][0]
    if missing := [name for name in names if name not in states]:
        raise SystemExit(f"{', '.join(missing)}: no such experiment: `dvc exp show` lists them")
    chosen = {name: state for name, state in states.items() if not names or name in names}
    values = {name: (flat_values(state, "params"), flat_values(state, "metrics")) for name, state in chosen.items()}
    runs = {name: run for name, run in values.items() if "n" in run[1]}
    return runs, [name for name in values if name not in runs]


def group_runs(runs: dict[str, Run]) -> list[tuple[dict[str, Any], list[Run]]]:
    """Group the runs of the same settings: [({setting: value} where the groups differ, runs)]."""
    names = sorted({name for settings, _ in runs.values() for name in settings} - set(RUN_SETTINGS))
    groups: dict[tuple[str, ...], list[Run]] = {}
    for settings, metrics in runs.values():
        groups.setdefault(tuple(json.dumps(settings.get(name)) for name in names), []).append((settings, metrics))
    differing = [name for name, values in zip(names, zip(*groups)) if len(set(values)) > 1]
    return [({name: members[0][0].get(name) for name in differing}, members) for members in groups.values()]


def are_folds(runs: list[Run]) -> bool:
    """Whether the runs are different folds of one seed, so that no clip is tested twice."""
    folds = [settings.get("split.fold") for settings, _ in runs]
    seeds = {settings.get("seed") for settings, _ in runs}
    return len(runs) > 1 and runs[0][0].get("split.folds", 0) > 1 and len(seeds) == 1 and len(set(folds)) == len(folds)


def summary_row(runs: list[Run], approach: str, metric: str) -> dict[str, Any]:
    """Mean, standard deviation (n - 1) and intervals of one metric over runs of the same settings.

    t_low, t_high: Student's interval of the mean over runs. pooled, low, high: accuracy over all clips of the folds.
    """
    values, sizes = (np.array([metrics[name] for _, metrics in runs]) for name in (f"{approach}.{metric}", "n"))
    row = {"approach": approach, "metric": metric, "runs": len(runs), "n": int(sizes.sum()), "mean": values.mean()}
    row["note"] = SINGLE_NOTE if len(runs) == 1 else FOLDS_NOTE if are_folds(runs) else SPREAD_NOTE
    if len(runs) > 1:
        row["sd"] = values.std(ddof=1)
        row["t_low"] = row["t_high"] = values.mean()
        if row["sd"] > 0:
            row["t_low"], row["t_high"] = stats.t.interval(0.95, len(runs) - 1, values.mean(), stats.sem(values))
    if are_folds(runs) and metric == "accuracy":
        hits = round((values * sizes).sum())
        limits = stats.binomtest(hits, int(sizes.sum())).proportion_ci(method="wilson")
        row |= {"pooled": hits / sizes.sum(), "low": limits.low, "high": limits.high}
    return row


def compare(runs: dict[str, Run]) -> pd.DataFrame:
    """A row for each group of runs, approach and metric; first the settings in which the groups differ."""
    columns = ["approach", "metric", "runs", "n", "mean", "sd", "t_low", "t_high", "pooled", "low", "high", "note"]
    groups = group_runs(runs)
    kinds = [(approach, metric) for approach in APPROACHES for metric in METRICS]
    rows = [settings | summary_row(members, *kind) for settings, members in groups for kind in kinds]
    return pd.DataFrame(rows, columns=[*groups[0][0], *columns])
