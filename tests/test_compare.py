"""Experiments in a table: runs of one thing stand together, and what their spread means is said."""

import json
import subprocess
import sys

import pandas as pd
import pytest
import summarise
from scipy import stats


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
    """A baseline with these experiments, beside the workspace."""
    held = [{"revs": [one], "executor": None, "name": name} for name, one in experiments.items()]
    return [state(0.1) | {"rev": "workspace", "experiments": None}, state(0.2) | {"name": "main", "experiments": held}]


@pytest.fixture
def run(monkeypatch, capsys):
    """The tool's main() with a made-up answer of DVC: run(answer, arguments …)."""

    def told(answer, *arguments):
        monkeypatch.setattr(summarise, "shown", lambda all_commits: answer)
        monkeypatch.setattr(sys, "argv", ["summarise.py", *map(str, arguments)])
        summarise.main()
        return capsys.readouterr()

    return told


def test_folds_of_one_seed_are_pooled(run, tmp_path):
    folds = {f"fold-{n}": state(a, 30, folds=5, fold=n) for n, a in enumerate([0.5, 0.7, 0.6, 0.8, 0.9])}
    out = run(commits(**folds), "--csv", tmp_path / "folds.csv").out
    table = pd.read_csv(tmp_path / "folds.csv")
    assert len(table) == 4 and set(table["runs"]) == {5} and set(table["n"]) == {150}
    row = table[(table["approach"] == "all10") & (table["measure"] == "accuracy")].iloc[0]
    limits = stats.binomtest(105, 150).proportion_ci(method="wilson")
    assert row["mean"] == 0.7 and row["sd"] == pytest.approx(0.1581, abs=1e-4) and row["pooled"] == 0.7
    assert (row["low"], row["high"]) == pytest.approx((limits.low, limits.high), abs=1e-4)
    assert row["t_low"] == pytest.approx(0.7 - 2.7764 * 0.1581 / 5**0.5, abs=1e-4)
    assert table["pooled"].notna().tolist() == [True, False, True, False] and summarise.FOLDS in out


def test_seeds_have_a_spread_and_are_not_pooled(run, tmp_path):
    seeds = {f"seed-{n}": state(a, seed=n) for n, a in enumerate([0.5, 0.6, 0.7])}
    out = run(commits(**seeds), "--csv", tmp_path / "seeds.csv").out
    table = pd.read_csv(tmp_path / "seeds.csv")
    assert table["pooled"].isna().all() and table["sd"].tolist() == pytest.approx([0.1] * 4) and summarise.SPREAD in out
    twice = {f"fold-{n}": state(0.5, folds=3, fold=n % 2) for n in range(3)}  # a fold that stands there twice
    assert summarise.SPREAD in run(commits(**twice)).out


def test_other_settings_make_other_rows_that_name_them(run, tmp_path):
    kinds = {f"{frames}-{seed}": state(frames / 20, frames=frames, seed=seed) for frames in (5, 8) for seed in (0, 1)}
    run(commits(**kinds, alone=state(0.9, frames=10, draw="random")), "--csv", tmp_path / "kinds.csv")
    table = pd.read_csv(tmp_path / "kinds.csv")
    assert list(table)[:2] == ["sampling", "frames"] and len(table) == 12 and "seed" not in table
    assert table.groupby("frames")["runs"].first().to_dict() == {5: 2, 8: 2, 10: 1}
    assert table["sd"].isna().sum() == 4


def test_experiments_are_chosen_by_name_and_the_baseline_too(run, tmp_path):
    answer = commits(a=state(0.5, seed=1), b=state(0.9, seed=2))
    run(answer, "a", "main", "--csv", tmp_path / "some.csv")
    assert pd.read_csv(tmp_path / "some.csv")["mean"].tolist() == [0.35] * 4
    with pytest.raises(SystemExit, match="c: no such experiment"):
        run(answer, "a", "c")


def test_runs_without_figures_are_named(run):
    assert "queued" in run(commits(done=state(0.5), queued=state(None))).err
    failed = {"rev": "f" * 40, "name": None, "error": {"msg": "broken"}}
    assert "left out: failed" in run(commits(done=state(0.5), failed=failed)).err
    with pytest.raises(SystemExit, match="no experiment with figures"):
        run(commits())


@pytest.mark.slow
def test_a_real_sweep_over_folds_is_read(tmp_path, monkeypatch):
    """A project whose one stage writes made-up metrics: what DVC says of its experiments is understood."""
    (tmp_path / "params.yaml").write_text("seed: 0\nsplit:\n  folds: 3\n  fold: 0\n")
    (tmp_path / "stage.py").write_text(
        "import json, yaml\n"
        "fold = yaml.safe_load(open('params.yaml'))['split']['fold']\n"
        "of = {'accuracy': fold / 4, 'recall': fold / 4}\n"
        "json.dump({'n': 8, 'first5': of, 'all10': of}, open('test.json', 'w'))\n"
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
    runs, empty = summarise.runs_of(summarise.shown(False), [])
    assert len(runs) == 2 and not empty
    table = summarise.summarise(runs)
    assert table["mean"].tolist() == [0.375] * 4 and table["pooled"].iloc[0] == 6 / 16
    named = summarise.runs_of(summarise.shown(True), [*runs, "workspace"])[0]
    assert len(named) == 3 and json.dumps(named["workspace"][0]["split.fold"]) in "012"
