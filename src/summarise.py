"""Tool: what several experiments come to, by settings. Run: python src/summarise.py [EXPERIMENT …] [--csv FILE]

Reads `dvc exp show`: the experiments named, or all of the current baseline's. Those that differ in nothing but `seed`
and `split.fold` are runs of one thing: their mean, standard deviation (n - 1) and intervals stand in one row.
"""

import argparse
import json
import subprocess
import sys

import numpy as np
import pandas as pd
from scipy import stats

from glimpse.core.files import write_table

RUNS = ("seed", "split.fold")  # settings in which runs of one thing may differ
APPROACHES, MEASURES = ("first5", "all10"), ("accuracy", "recall")
FOLDS = "no clip tested twice: the pooled interval (Wilson) takes clips for independent, groups or not"
SPREAD = "runs share clips: the interval (t) is about the luck of split and training, not about other clips"
ONE = "one run: no spread"
Run = tuple[dict, dict]  # its settings and its metrics, by their names


def shown(all_commits: bool) -> list[dict]:
    """What `dvc exp show --json` says, of the current commit or of all."""
    command = [sys.executable, "-m", "dvc", "exp", "show", "--json", *(["--all-commits"] if all_commits else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"dvc exp show: {(done.stderr.strip() or 'failed').splitlines()[-1]}")
    return json.loads(done.stdout)


def told(state: dict, kind: str) -> dict:
    """The params or metrics that DVC read in one state of the project, over all its files: {"split.fold": 0, …}."""
    files = ((state.get("data") or {}).get(kind) or {}).values()
    return {name: value for file in files for name, value in flat(file.get("data") or {}).items()}


def flat(tree: dict, prefix: str = "") -> dict:
    """A nested tree as {"split.fold": 0, …}."""
    found: dict = {}
    for name, value in tree.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def runs_of(commits: list[dict], names: list[str]) -> tuple[dict[str, Run], list[str]]:
    """The experiments by name, and the names of those without metrics (queued, failed).

    commits: what `shown` gives. names: experiments, commits by name, or "workspace"; empty: the experiments.
    """
    states = []
    for commit in commits:
        if names:
            states.append((commit.get("name") or commit["rev"], commit))
        for experiment in commit.get("experiments") or []:
            states.append((experiment["name"] or experiment["revs"][0]["rev"][:7], experiment["revs"][0]))
    runs, empty = {}, []
    for name, state in states:
        if names and name not in names:
            continue
        settings, metrics = told(state, "params"), told(state, "metrics")
        if "n" in metrics:
            runs[name] = settings, metrics
        else:
            empty.append(name)
    missing = [name for name in names if name not in runs and name not in empty]
    if missing:
        raise SystemExit(f"{', '.join(missing)}: no such experiment: `dvc exp show` names them")
    return runs, empty


def group(runs: dict[str, Run]) -> list[tuple[dict, list[Run]]]:
    """Runs that differ in RUNS alone, together: [({setting: value} that tells it from the others, [run, …])]."""
    same: dict[str, list[Run]] = {}
    for settings, metrics in runs.values():
        key = json.dumps({k: v for k, v in settings.items() if k not in RUNS}, sort_keys=True)
        same.setdefault(key, []).append((settings, metrics))
    kinds = [json.loads(key) for key in same]
    names = sorted({name for kind in kinds for name in kind})
    differ = [name for name in names if len({json.dumps(kind.get(name)) for kind in kinds}) > 1]
    return [({name: kind.get(name) for name in differ}, held) for kind, held in zip(kinds, same.values(), strict=True)]


def is_folds(runs: list[Run]) -> bool:
    """Whether the runs are folds of one seed, each of them once, so that no clip is tested twice."""
    folds = [settings.get("split.fold") for settings, _ in runs]
    seeds = {settings.get("seed") for settings, _ in runs}
    return len(runs) > 1 and runs[0][0].get("split.folds", 0) > 1 and len(seeds) == 1 and len(set(folds)) == len(folds)


def row_of(runs: list[Run], approach: str, measure: str) -> dict[str, object]:
    """Mean, standard deviation and intervals of one figure over runs of one thing.

    t_low, t_high: Student's interval of the mean over runs. pooled, low, high: over all clips of the folds, Wilson's
    (1927), for accuracy, which is a share of clips.
    """
    values, sizes = (np.array([metrics[name] for _, metrics in runs]) for name in (f"{approach}.{measure}", "n"))
    row = {"approach": approach, "measure": measure, "runs": len(runs), "n": int(sizes.sum()), "mean": values.mean()}
    row["note"] = ONE if len(runs) == 1 else FOLDS if is_folds(runs) else SPREAD
    if len(runs) > 1:
        half = stats.t.ppf(0.975, len(runs) - 1) * values.std(ddof=1) / np.sqrt(len(runs))
        row |= {"sd": values.std(ddof=1), "t_low": values.mean() - half, "t_high": values.mean() + half}
    if is_folds(runs) and measure == "accuracy":
        hits = round((values * sizes).sum())
        limits = stats.binomtest(hits, int(sizes.sum())).proportion_ci(method="wilson")
        row |= {"pooled": hits / sizes.sum(), "low": limits.low, "high": limits.high}
    return row


def summarise(runs: dict[str, Run]) -> pd.DataFrame:
    """A row for each kind of experiment, approach and measure; first the settings that tell the kinds apart."""
    columns = ["approach", "measure", "runs", "n", "mean", "sd", "t_low", "t_high", "pooled", "low", "high", "note"]
    kinds = group(runs)
    rows = [kind | row_of(held, a, m) for kind, held in kinds for a in APPROACHES for m in MEASURES]
    return pd.DataFrame(rows, columns=[*kinds[0][0], *columns])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help="all of the current baseline's if none")
    parser.add_argument("--csv", metavar="FILE", help="write the table there too")
    asked = parser.parse_args()
    runs, empty = runs_of(shown(bool(asked.experiments)), asked.experiments)
    if empty:
        print(f"summarise: without figures, and left out: {', '.join(empty)}", file=sys.stderr)
    if not runs:
        raise SystemExit("summarise: no experiment with figures here: `dvc exp run` makes one")
    table = summarise(runs).round(4)
    if asked.csv:
        write_table(asked.csv, table)
    print(table.drop(columns="note").to_string(index=False, na_rep=""))
    for note in table["note"].unique():
        print(note)


if __name__ == "__main__":
    main()
