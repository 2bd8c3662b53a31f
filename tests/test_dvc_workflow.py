"""The first ten minutes of a user who knows DVC, in a fresh clone with a small demo.

The tests run in this order; each leaves the working tree as it was. Slow: run by `make test-slow`.
"""

import json
import re
import shlex
import shutil

import psutil
import pytest
from dvc_clone import ALL, SMALL, Clone

pytestmark = pytest.mark.slow
LOCKS = ["data/dvc.lock", "dvc.lock"]
TRAININGS = ["train-first5", "train-all10", "evaluate", "report"]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    return Clone(tmp_path_factory.mktemp("walk") / "a clone")


def test_right_after_the_clone_there_are_metrics_and_a_graph(clone):
    printed = clone.run("dvc", "metrics", "show")
    assert all(f"{approach}.{name}" in printed for approach in ("first5", "all10") for name in ("accuracy", "recall"))
    assert clone.run("dvc", "params", "diff") == ""
    graph = clone.run("dvc", "dag")
    assert all(f"| {stage} |" in graph for stage in ALL[1:]) and "| data/dvc.yaml:demo |" in graph
    assert clone.status() == []


def test_the_first_run_runs_every_stage_and_a_second_runs_none(clone):
    clone.set(SMALL)
    printed = clone.run("dvc", "repro")
    assert clone.ran(printed) == ALL
    assert clone.status() == [*LOCKS, "metrics/test.json", "params.yaml"]
    clone.run("git", "commit", "--quiet", "--all", "--message", "A small demo")
    metrics = clone.metrics()
    assert set(metrics) == {"n", "first5", "all10"} and metrics["n"] >= 10
    assert all(set(metrics[approach]) == {"accuracy", "recall"} for approach in ("first5", "all10"))
    assert "Data and pipelines are up to date." in clone.run("dvc", "repro")
    assert clone.status() == []


def test_an_experiment_with_five_frames_reruns_the_trainings_and_what_follows(clone):
    printed = clone.run("dvc", "exp", "run", "--name", "five", "-S", "frames=5")
    assert clone.ran(printed) == TRAININGS
    assert "both approaches read the same 5 frames" in printed
    difference = clone.run("dvc", "params", "diff")
    assert re.findall(r"^params\.yaml +(\S+) +(\S+) +(\S+)", difference, re.MULTILINE) == [("frames", "10", "5")]
    table = clone.run("dvc", "metrics", "diff", "--all").splitlines()
    assert 4 <= len(table) - 1 <= 6 and all(len(line) <= 110 for line in table)
    assert clone.metrics() != committed_json(clone, "metrics/test.json")
    assert clone.status() == ["dvc.lock", "metrics/test.json", "params.yaml"]
    clone.restore()


def committed_json(clone, path):
    """A JSON file of the last commit."""
    return json.loads(clone.run("git", "show", f"HEAD:{path}"))


def test_settings_that_were_tried_before_are_cached(clone):
    clone.set({"frames": 5})
    printed = clone.run("dvc", "repro")
    assert clone.ran(printed) == [] and all(f"Stage '{stage}' is cached" in printed for stage in TRAININGS)
    clone.restore()


def test_outputs_that_were_deleted_come_back_from_the_cache(clone):
    before, tracked = clone.outputs(), clone.run("git", "ls-files").splitlines()
    outputs = [name for name in before if name not in tracked and not name.startswith("data/demo/")]
    assert len(outputs) > 30
    for name in [*outputs, "metrics/test.json"]:
        (clone.folder / name).unlink()
    assert clone.ran(clone.run("dvc", "repro")) == []
    assert clone.outputs() == before and clone.status() == []


def test_queued_experiments_succeed_and_can_be_listed_applied_and_branched(clone):
    queued = clone.run("dvc", "exp", "run", "--queue", "-S", "frames=5,8")
    names = re.findall(r"Queued experiment '(\S+)'", queued)
    assert len(names) == 2 and clone.status() == []
    clone.run("dvc", "queue", "start")  # the worker inherits stdout, so this waits for it
    status = clone.run("dvc", "queue", "status")
    assert all(re.search(rf"{name} .*Success", status) for name in names), status
    assert re.search(
        r"epoch +2 .*\n.*train-all10: best is epoch", clone.run("dvc", "queue", "logs", names[1]), re.DOTALL
    )
    assert not [process for process in psutil.process_iter(["cwd"]) if str(clone.folder) in (process.info["cwd"] or "")]
    assert clone.status() == []
    table = clone.run("dvc", "exp", "show", "--only-changed", "--drop", ".*/.*|Created|State|Executor").splitlines()
    assert all(len(line) <= 110 for line in table) and "frames" in table[1], table
    assert all(any(name in line for line in table) for name in ("five", *names))
    assert all(name in clone.run("dvc", "exp", "show") for name in names)
    clone.run("dvc", "exp", "apply", names[1])
    assert clone.status() == ["dvc.lock", "metrics/test.json", "params.yaml"]
    assert "Data and pipelines are up to date." in clone.run("dvc", "repro")
    clone.restore()
    clone.run("dvc", "exp", "branch", names[1], "eight")
    assert clone.status() == []
    assert "\nframes: 8\n" in clone.run("git", "show", "eight:params.yaml")


def test_plots_are_drawn_and_compared(clone):
    for command in (["show"], ["diff", "HEAD", "eight"]):
        assert "index.html" in clone.run("dvc", "plots", *command, "--out", "dvc_plots")
        page = (clone.folder / "dvc_plots/index.html").read_text()
        for title in ("Test accuracy against frames seen", "Test clips, all10", "Test recall of each action, first5"):
            assert title in page
        assert clone.status() == []
        shutil.rmtree(clone.folder / "dvc_plots")


def test_what_was_pushed_is_pulled_into_another_clone_and_nothing_trains_again(clone, tmp_path):
    clone.run("dvc", "remote", "add", "--default", "store", str(tmp_path / "the store"))
    assert clone.status() == [".dvc/config"]
    clone.run("git", "commit", "--quiet", "--all", "--message", "Remote storage")
    clone.run("dvc", "push")
    other = Clone(tmp_path / "other", clone.folder)
    other.run("dvc", "pull")
    assert "Data and pipelines are up to date." in other.run("dvc", "repro")
    assert other.status() == [] and other.outputs() == clone.outputs()


def test_a_training_after_ctrl_c_resumes_and_gives_the_same_bytes(clone):
    clone.set({"train.epochs": 300, "train.patience": 300})
    clone.run("dvc", "repro", "train-all10")
    before = {name: content for name, content in clone.outputs().items() if name.startswith("models/all10/")}
    again = ["dvc", "repro", "--force", "--single-item", "--no-run-cache", "train-all10"]
    stopped = clone.interrupted(*again, at="epoch   2", after=1.5)
    assert "epoch 300" not in stopped and not (clone.folder / "models/all10/model.pt").exists()
    printed = clone.run(*again)
    assert {name: content for name, content in clone.outputs().items() if name.startswith("models/all10/")} == before
    clone.restore()
    assert "Traceback" not in stopped and re.search(r"train-all10: resuming at epoch \d+", printed)


def test_a_mistake_is_one_line_that_names_it_and_loses_nothing(clone, tmp_path):
    before = clone.outputs()
    (tmp_path / "empty").mkdir()
    for action in ("up", "down"):
        (tmp_path / "bad" / action).mkdir(parents=True)
        (tmp_path / "bad" / action / "1.mp4").write_text("no video")
    mistakes = {
        "frames=0": "params.yaml: frames is 0, but it takes a whole number from 1 to 200",
        "frames=abc": "params.yaml: frames is abc, but it takes a whole number from 1 to 200",
        "first5.num_frames=11": "params.yaml: first5.num_frames is 11, but it must be no more than frames (10)",
        "frmes=5": "'frmes'",  # DVC's own words
        f"dataset={tmp_path / 'empty'}": f"dataset: {tmp_path / 'empty'} has usable clips of 0 actions",
        f"dataset={tmp_path / 'bad'}": "down/1.mp4: not a video: text",
    }
    for change, words in mistakes.items():
        printed = clone.run("dvc", "exp", "run", "-S", change, fails=True)
        assert words in printed and "Traceback" not in printed
        clone.run("git", "restore", ".")
    assert clone.ran(clone.run("dvc", "repro")) == []  # from the cache what the last one replaced
    assert clone.outputs() == before and clone.status() == []


def test_your_own_clips_versioned_by_dvc_and_a_training_without_dvc(clone):
    shutil.copytree(clone.folder / "data/demo", clone.folder / "data/clips")
    (clone.folder / "data/clips/wave/broken.mp4").write_text("no video")
    clone.run("dvc", "add", "data/clips")
    assert clone.status() == ["data/.gitignore", "data/clips.dvc"]
    clone.run("git", "add", "data")
    clone.run("git", "commit", "--quiet", "--message", "My clips")
    printed = clone.run("dvc", "exp", "run", "-S", "dataset=data/clips")
    assert clone.ran(printed) == ["frames"] + [stage for stage in ALL[2:] if stage in clone.ran(printed)]
    assert "frames: not used: wave/broken.mp4: not a video" in printed
    assert clone.status() == ["dvc.lock", "params.yaml"]  # the same clips, the same scores
    before = (clone.folder / "models/first5/model.pt").read_bytes()
    assert "train-first5: best is epoch" in clone.run("python", "src/train.py", "first5")
    assert (clone.folder / "models/first5/model.pt").read_bytes() == before
    clone.restore()


def test_the_commands_of_readme_and_docs_run(clone, tmp_path):
    """Every line of the blocks marked `sh run`, in their order; a line that stands on several pages runs once."""
    clips = tmp_path / "my clips"
    shutil.copytree(clone.folder / "data/demo", clips)
    pages = [clone.folder / "README.md", *sorted((clone.folder / "docs").glob("*.md"))]
    blocks = [block for page in pages for block in re.findall(r"```sh run\n(.*?)```", page.read_text(), re.DOTALL)]
    commands = dict.fromkeys(line for block in blocks for line in block.splitlines() if line)
    assert len(commands) >= 12
    for command in commands:
        clone.run(*(word.replace("PATH/TO/CLIPS", str(clips)) for word in shlex.split(command.partition(" #")[0])))
