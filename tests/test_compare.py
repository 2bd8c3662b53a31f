"""Experiments in a table: runs of the same settings share a row, and a note says what their spread means."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from conftest import run_tool
from scipy import stats

from glimpse.tools import compare


def state(accuracy, n=40, **changes):
    """What `dvc exp show --json` says of one run with metrics, or without where accuracy is None."""
    tree = {"seed": 0, "frames": 10, "split": {"folds": 0, "fold": 0}}
    for key, value in changes.items():
        tree["split" if key in ("folds", "fold") else key] = (
            value if key not in tree["split"] else tree["split"] | {key: value}
        )
    figures = {"accuracy": accuracy, "recall": accuracy}
    metrics = {} if accuracy is None else {"metrics/test.json": {"data": {"n": n, "first5": figures, "all10": figures}}}
    return {"rev": "f" * 40, "name": None, "data": {"params": {"params.yaml": {"data": tree}}, "metrics": metrics}}


def commits(**experiments):
    """The workspace, and a commit with these experiments."""
    rows = [{"revs": [experiment], "executor": None, "name": name} for name, experiment in experiments.items()]
    return [state(0.1) | {"rev": "workspace", "experiments": None}, state(0.2) | {"name": "main", "experiments": rows}]


@pytest.fixture
def run(monkeypatch, capsys):
    """`glimpse compare` with a made-up output of DVC: run(output, arguments …)."""

    def run_compare(output, *arguments):
        monkeypatch.setattr(compare, "exp_show", lambda all_commits: output)
        run_tool(compare, *arguments)
        return capsys.readouterr()

    return run_compare


def test_folds_of_one_seed_are_pooled(run, tmp_path):
    folds = {f"fold-{n}": state(a, 30, folds=5, fold=n) for n, a in enumerate([0.5, 0.7, 0.6, 0.8, 0.9])}
    out = run(commits(**folds), "--csv", tmp_path / "folds.csv").out
    table = pd.read_csv(tmp_path / "folds.csv")
    assert len(table) == 4 and set(table["runs"]) == {5} and set(table["n"]) == {150}
    row = table[(table["approach"] == "all10") & (table["metric"] == "accuracy")].iloc[0]
    limits = stats.binomtest(105, 150).proportion_ci(method="wilson")
    assert row["mean"] == 0.7 and row["sd"] == pytest.approx(0.1581, abs=1e-4) and row["pooled"] == 0.7
    assert (row["low"], row["high"]) == pytest.approx((limits.low, limits.high), abs=1e-4)
    assert row["t_low"] == pytest.approx(0.7 - 2.7764 * 0.1581 / 5**0.5, abs=1e-4)
    assert table["pooled"].notna().tolist() == [True, False, True, False] and compare.FOLDS_NOTE in out


def test_runs_with_several_seeds_are_not_pooled(run, tmp_path):
    seeds = {f"seed-{n}": state(a, seed=n) for n, a in enumerate([0.5, 0.6, 0.7])}
    out = run(commits(**seeds), "--csv", tmp_path / "seeds.csv").out
    table = pd.read_csv(tmp_path / "seeds.csv")
    assert table["pooled"].isna().all() and table["sd"].tolist() == pytest.approx([0.1] * 4)
    assert compare.SPREAD_NOTE in out
    twice = {f"fold-{n}": state(0.5, folds=3, fold=n % 2) for n in range(3)}  # one fold twice
    assert compare.SPREAD_NOTE in run(commits(**twice)).out


def test_other_settings_have_rows_of_their_own_that_name_them(run, tmp_path):
    kinds = {f"{frames}-{seed}": state(frames / 20, frames=frames, seed=seed) for frames in (5, 8) for seed in (0, 1)}
    run(commits(**kinds, alone=state(0.9, frames=10, sampling="random")), "--csv", tmp_path / "kinds.csv")
    table = pd.read_csv(tmp_path / "kinds.csv")
    assert list(table)[:2] == ["frames", "sampling"] and len(table) == 12 and "seed" not in table
    assert table.groupby("frames")["runs"].first().to_dict() == {5: 2, 8: 2, 10: 1}
    assert table["sd"].isna().sum() == 4


def test_experiments_are_chosen_by_name_and_the_baseline_too(run, tmp_path):
    output = commits(a=state(0.5, seed=1), b=state(0.9, seed=2))
    run(output, "a", "main", "--csv", tmp_path / "some.csv")
    assert pd.read_csv(tmp_path / "some.csv")["mean"].tolist() == [0.35] * 4
    with pytest.raises(SystemExit, match="c: no such experiment"):
        run(output, "a", "c")


def test_runs_without_metrics_are_named(run):
    assert "queued" in run(commits(done=state(0.5), queued=state(None))).err
    failed = {"rev": "f" * 40, "name": None, "error": {"msg": "broken"}}
    assert "left out: failed" in run(commits(done=state(0.5), failed=failed)).err
    with pytest.raises(SystemExit, match="no experiment with metrics"):
        run(commits())


@pytest.mark.slow
def test_a_real_sweep_over_folds_is_read(tmp_path, monkeypatch):
    """In a project whose only stage writes made-up metrics, with what DVC really prints."""
    (tmp_path / "params.yaml").write_text("seed: 0\nsplit:\n  folds: 3\n  fold: 0\n")
    (tmp_path / "stage.py").write_text(
        "import json, yaml\n"
        "fold = yaml.safe_load(open('params.yaml'))['split']['fold']\n"
        "scores = {'accuracy': fold / 4, 'recall': fold / 4}\n"
        "json.dump({'n': 8, 'first5': scores, 'all10': scores}, open('test.json', 'w'))\n"
    )
    (tmp_path / "dvc.yaml").write_text(
        f"stages:\n  evaluate:\n    cmd: {sys.executable} stage.py\n    deps: [stage.py]\n    params: [seed, split]\n"
        "    metrics: [test.json: {cache: false}]\n"
    )
    dvc = [sys.executable, "-m", "dvc"]
    for command in (
        ["git", "init", "-q"], ["git", "config", "user.email", "a@example.org"], ["git", "config", "user.name", "A"],
        [*dvc, "init", "-q"], [*dvc, "repro", "-q"], ["git", "add", "-A"], ["git", "commit", "-qm", "baseline"],
        *([*dvc, "exp", "run", "-q", "-S", f"split.fold={fold}"] for fold in (1, 2)),
    ):  # fmt: skip
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.chdir(tmp_path)
    runs, empty = compare.select_runs(compare.exp_show(False), [])
    assert len(runs) == 2 and not empty
    table = compare.compare(runs)
    assert table["mean"].tolist() == [0.375] * 4 and table["pooled"].iloc[0] == 6 / 16
    named = compare.select_runs(compare.exp_show(True), [*runs, "workspace"])[0]
    assert len(named) == 3 and json.dumps(named["workspace"][0]["split.fold"]) in "012"
