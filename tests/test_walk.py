"""A user's walk through a fresh clone, with DVC and a small demo. Slow: run by `make test-slow`."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = pytest.mark.slow

SMALL = ["demo.actors=9", "demo.takes=1", "features.looks=1", "features.size=128", "train.epochs=25"]
ALL = ["demo", "frames", "leaks", "split", "features", "train-first5", "train-all10", "evaluate"]


class Clone:
    """A clone of the repository, and a shell in it whose `python` and `dvc` are this environment's."""

    def __init__(self, folder):
        self.folder = folder
        self.run("git", "clone", "--quiet", str(ROOT), str(folder), where=folder.parent)
        self.run("git", "config", "user.email", "someone@example.org")
        self.run("git", "config", "user.name", "Someone")

    def run(self, *command, fails=False, where=None):
        """What a command prints, both streams; it must succeed, or fail where that is expected."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1", "COLUMNS": "110"}
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        done = subprocess.run(command, cwd=where or self.folder, env=environment, check=False, **streams)
        assert (done.returncode != 0) == fails, done.stdout
        return done.stdout

    def ran(self, output):
        """The stages that DVC ran, in order."""
        return [name.rpartition(":")[2] for name in re.findall(r"Running stage '([^']+)'", output)]

    def metrics(self):
        return json.loads((self.folder / "metrics/test.json").read_text())


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone with a small demo, its first `dvc repro` done and committed."""
    clone = Clone(tmp_path_factory.mktemp("walk") / "a clone")
    before = clone.run("dvc", "metrics", "show")
    assert "all10.accuracy" in before and "first5.recall" in before  # the committed baseline
    for change in SMALL:
        name, _, value = change.partition("=")
        group, _, key = name.partition(".")
        text = (clone.folder / "params.yaml").read_text()
        head, _, tail = text.partition(f"\n{group}:\n")
        tail = re.sub(rf"^(  {key}: )\S+", rf"\g<1>{value}", tail, count=1, flags=re.MULTILINE)
        (clone.folder / "params.yaml").write_text(f"{head}\n{group}:\n{tail}")
    printed = clone.run("dvc", "repro")
    assert clone.ran(printed) == ALL
    clone.run("git", "commit", "--quiet", "--all", "--message", "A small demo")
    return clone


def test_the_first_run_leaves_metrics_for_both_approaches_and_a_clean_tree(clone):
    metrics = clone.metrics()
    assert set(metrics) == {"n", "first5", "all10"} and metrics["n"] >= 10
    assert all(set(metrics[approach]) == {"accuracy", "recall"} for approach in ("first5", "all10"))
    assert clone.run("git", "status", "--porcelain") == ""
    shown = clone.run("dvc", "metrics", "show")
    assert all(f"{approach}.{name}" in shown for approach in ("first5", "all10") for name in ("accuracy", "recall"))


def test_a_second_run_does_nothing(clone):
    assert "Data and pipelines are up to date." in clone.run("dvc", "repro")


def test_an_experiment_with_five_frames_reruns_the_trainings_and_what_follows(clone):
    printed = clone.run("dvc", "exp", "run", "-S", "frames=5")
    assert clone.ran(printed) == ["train-first5", "train-all10", "evaluate"]
    assert "both approaches read the same 5 frames" in printed
    difference = clone.run("dvc", "params", "diff")
    assert re.findall(r"^params\.yaml +(\S+) +(\S+) +(\S+)", difference, re.MULTILINE) == [("frames", "10", "5")]
    clone.run("git", "restore", ".")
    clone.run("dvc", "checkout")
    assert "Data and pipelines are up to date." in clone.run("dvc", "repro")


def test_a_setting_out_of_range_is_one_line_that_names_it(clone):
    for change in ("frames=0", "frames=abc", "first5.use=11"):
        words = change.replace("=", " is ")
        printed = clone.run("dvc", "exp", "run", "-S", change, fails=True)
        assert words in printed and "Traceback" not in printed
        clone.run("git", "restore", ".")


def test_plots_are_drawn(clone):
    page = clone.run("dvc", "plots", "show", "--out", "plots")
    assert "index.html" in page
    drawn = (clone.folder / "plots/index.html").read_text()
    for title in ("Test accuracy against frames seen", "Test clips, all10", "Test recall of each action, first5"):
        assert title in drawn
    shutil.rmtree(clone.folder / "plots")


def test_readmes_commands_run(clone, tmp_path):
    """Every `$` line of README's blocks marked `sh run`, in their order."""
    readme = (clone.folder / "README.md").read_text()
    mine = tmp_path / "my clips"
    shutil.copytree(clone.folder / "data/demo", mine)
    commands = [
        line for block in re.findall(r"```sh run\n(.*?)```", readme, re.DOTALL) for line in block.splitlines() if line
    ]
    assert len(commands) >= 6
    for command in commands:
        words = shlex.split(command.partition(" #")[0])
        words = [str(mine) if word == "PATH/TO/CLIPS" else word.replace("PATH/TO/CLIPS", str(mine)) for word in words]
        clone.run(*words)
