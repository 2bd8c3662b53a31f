"""Trials: no group is in two splits, every clip is tested once, and finished trainings are never repeated."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, run_tool, write_params

from glimpse.core.settings import read_settings
from glimpse.tools import ablate, cross_validation, study
from glimpse.tools.cross_validation import FoldedClips, Trial, load_clips, run_trials

BASE = Trial(num_frames=4, head="ridge", num_modalities=1, seed=0, fold=0)


def folded_clips(folds=3, groups=12, repetitions=2):
    """Clips in which every group has every action."""
    pairs = [(action, f"g{group}") for action in "abc" for group in range(groups) for _ in range(repetitions)]
    actions, members = [action for action, _ in pairs], [group for _, group in pairs]
    return FoldedClips([f"clip {row}" for row in range(len(pairs))], actions, members, folds, val=0.25, seed=0)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with made-up features from which the actions can be told, and settings for quick trainings."""
    data, rng = folded_clips(groups=6), np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    pd.DataFrame({"clip": data.clips}).to_csv(tmp_path / "data/clips.csv", index=False)
    table = pd.DataFrame({"clip": data.clips, "action": data.actions, "group": data.groups, "split": "train"})
    table.to_csv(tmp_path / "data/split.csv", index=False)
    labels = np.array(["abc".index(action) for action in data.actions])
    features = (
        rng.normal(size=(len(labels), 1, 8, 1280)) + np.repeat(np.eye(3, 4), 320, axis=1)[labels][:, None, None, :]
    )
    np.save(tmp_path / "data/features.npy", features.astype(np.float16))
    write_params(tmp_path, candidates=8, frames=4, **{
        "first5.num_frames": 2, "features.rgb_diff": False, "features.flow": False, "features.augmented_views": 0,
        "model.head": "mean", "model.hidden": 4, "train.epochs": 3,
    })  # fmt: skip
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def trained_trials(monkeypatch):
    """Train in this process; the list of the trials that were trained."""
    trials = []

    @contextlib.contextmanager
    def serial_map(function, items):
        def train(item):
            function(item)
            trials.append(item[0])

        yield map(train, items)

    monkeypatch.setattr(cross_validation, "parallel_map", serial_map)
    return trials


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("fold", range(3))
def test_no_group_is_in_two_splits_of_a_trial(share, fold):
    data, trial = folded_clips(), replace(BASE, seed=1, fold=fold)
    splits = data.split(replace(trial, train_share=share))
    groups = {name: {data.groups[row] for row in rows} for name, rows in splits.items()}
    assert not (groups["train"] & groups["val"] or groups["train"] & groups["test"] or groups["val"] & groups["test"])
    assert all({data.actions[row] for row in rows} == set("abc") for rows in splits.values())
    all_groups = data.split(trial)
    assert set(splits["train"]) <= set(all_groups["train"])
    assert len(splits["train"]) == pytest.approx(share * len(all_groups["train"]), abs=6)  # a group has 6 clips


def test_every_clip_is_tested_once_over_the_folds():
    data = folded_clips(folds=4)
    tested = [data.split(replace(BASE, seed=1, fold=fold))["test"] for fold in range(4)]
    assert sorted(np.concatenate(tested)) == list(range(len(data.clips)))


def test_an_action_that_is_left_out_is_tested_and_never_trained_on():
    data = folded_clips()
    splits = data.split(replace(BASE, left_out="b"))
    assert "b" not in {data.actions[row] for name in ("train", "val") for row in splits[name]}
    assert "b" in {data.actions[row] for row in splits["test"]}


def test_a_repeated_run_trains_nothing_and_gives_the_same_table(project, trained_trials, capsys):
    settings = read_settings()
    data = load_clips("study", settings, 3)
    trials = [replace(BASE, fold=fold) for fold in range(3)]
    table = run_trials(trials, data, settings)
    assert trained_trials == trials and "already" not in capsys.readouterr().out
    again = run_trials(trials, data, settings)
    assert trained_trials == trials and "3 of 3 trainings are in .cache/trials/ already" in capsys.readouterr().out
    pd.testing.assert_frame_equal(table, again)
    test = table[table["split"] == "test"]
    assert sorted(test["clip"]) == sorted(data.clips) and test["correct"].mean() > 0.6
    assert np.allclose(table[["p(a)", "p(b)", "p(c)"]].sum(axis=1), 1)


def test_whatever_can_change_the_logits_trains_again(project, trained_trials):
    settings = read_settings()
    data = load_clips("study", settings, 3)
    run_trials([BASE], data, settings)
    others = [
        ([replace(BASE, seed=1)], data, settings),
        ([BASE], replace(data, actions=["b", *data.actions[1:]]), settings),
        ([BASE], data, settings.model_copy(update={"frames": 5})),
        ([BASE], data, settings.model_copy(update={"train": settings.train.model_copy(update={"lr": 0.01})})),
    ]
    for number, arguments in enumerate(others, 2):
        run_trials(*arguments)
        assert len(trained_trials) == number
    features = np.load("data/features.npy")
    features[0, 0, 0, 0] += 1
    np.save("data/features.npy", features)
    run_trials([BASE], data, settings)
    assert len(trained_trials) == len(others) + 2
    evaluate = settings.evaluate.model_copy(update={"max_error": 0.3})
    run_trials([BASE], data, settings.model_copy(update={"evaluate": evaluate, "dataset": "elsewhere"}))
    assert len(trained_trials) == len(others) + 2  # neither changes them


def test_a_damaged_cache_entry_is_trained_again(project, trained_trials):
    settings = read_settings()
    data = load_clips("study", settings, 3)
    run_trials([BASE], data, settings)
    (entry,) = (project / ".cache/trials").glob("*/*.npz")
    entry.write_bytes(entry.read_bytes()[:-7])
    run_trials([BASE], data, settings)
    assert len(trained_trials) == 2


@pytest.mark.slow
def test_a_killed_study_goes_on_from_the_trainings_that_are_done(project, capsys):
    code = (
        "from argparse import Namespace; from glimpse.tools import study\n"
        "if __name__ == '__main__': study.run(Namespace(folds=3, seeds=2))"
    )
    (project / "start.py").write_text(code)
    command, environment = [sys.executable, "start.py"], os.environ | {"PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 400
        while len(entries := list((project / ".cache/trials").glob("*/*.npz"))) < 3:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    printed = again.stdout
    assert again.stderr == ""
    total, done = int(printed.split()[1]), len(entries)
    assert total > done and int(printed.splitlines()[1].split()[0]) >= done
    assert len(list((project / ".cache/trials").glob("*/*.npz"))) == total
    files = [project / f"metrics/{name}" for name in ("study.csv", "study-trials.csv", "study.txt")]
    contents = [path.read_bytes() for path in files]
    run_tool(study, "--folds", 3, "--seeds", 2)
    assert f"{total} of {total} trainings are in .cache/trials/ already" in capsys.readouterr().out
    assert [path.read_bytes() for path in files] == contents


def test_ablations_are_compared_with_the_default_settings_and_repeats_train_nothing(
    project, trained_trials, monkeypatch
):
    stages = []

    def run_stages(work, tree, names):
        stages.append(names)
        shutil.copytree(project / "data", work / "data", dirs_exist_ok=True)

    monkeypatch.setattr(ablate, "run_stages", run_stages)
    (project / "clips").mkdir()
    for name in ("data/groups.csv", "data/labels.csv"):
        (project / name).write_text("clip\n")
    arguments = ["clips", "--folds", 3, "--seeds", 1, "--only", "ridge", "--out", "table.csv"]
    run_tool(ablate, *arguments)
    assert (
        stages == [["frames", "duplicates", "split", "features"], ["frames", "features"]] and len(trained_trials) == 6
    )
    table = pd.read_csv("table.csv")
    assert table["ablation"].tolist() == [ablate.BASELINE, "ridge"] and set(table["clips"]) == {"clips"}
    assert table["difference"].isna().tolist() == [True, False]
    difference = table["val_accuracy"][1] - table["val_accuracy"][0]
    assert table["difference"][1] == pytest.approx(difference, abs=2e-4)
    run_tool(ablate, *arguments)
    assert len(trained_trials) == 6
    again = pd.read_csv("table.csv")
    pd.testing.assert_frame_equal(table.drop(columns="minutes"), again.drop(columns="minutes"))


def test_clips_without_a_split_and_a_finetuned_backbone_are_refused_in_one_line(project):
    settings = read_settings()
    table = pd.read_csv("data/split.csv")
    table[1:].to_csv("data/split.csv", index=False)
    with pytest.raises(SystemExit, match="data/split.csv: clip 0 is in no split: study needs all clips"):
        load_clips("study", settings, 3)
    finetuned = settings.model_copy(update={"model": settings.model.model_copy(update={"finetune_blocks": 1})})
    with pytest.raises(SystemExit, match="study: .* set model.finetune_blocks to 0"):
        load_clips("study", finetuned, 3)
