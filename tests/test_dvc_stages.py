"""What re-runs which stage, with real DVC: an edited folder, a setting, and what editors and Python leave in folders.

Slow: run by `make test-slow`.
"""

import pytest
import yaml
from conftest import ROOT
from dvc_clone import ALL, SMALL, Clone
from stub_pipeline import StubPipeline, leaves

pytestmark = pytest.mark.slow
AFTER_FEATURES = ["train-first5", "train-all10", "evaluate", "report"]
LEFT_BEHIND = [
    "__pycache__/module.cpython-311.pyc", "module.pyc", ".module.py.swp", ".module.py.swo", "module.py~", ".#module.py",
    "#module.py#", "module.py.orig", "module.py.rej", "module.py.bak", ".DS_Store", ".idea/workspace.xml",
    ".vscode/settings.json", ".ipynb_checkpoints/module.py", ".mypy_cache/x.json", ".ruff_cache/x", ".pytest_cache/x",
]  # fmt: skip


@pytest.fixture
def pipeline(tmp_path, monkeypatch):
    """The pipeline with stubs, run once."""
    monkeypatch.chdir(tmp_path)
    pipeline = StubPipeline(tmp_path, leaves(yaml.safe_load((ROOT / "params.yaml").read_text())))
    assert set(pipeline.run()) == set(pipeline.stages)
    return pipeline


def test_what_editors_and_python_leave_in_the_folders_of_stages_reruns_nothing(pipeline):
    folders = [folder for folder in (pipeline.folder / "src/glimpse").iterdir() if folder.is_dir()]
    assert len(folders) > 8
    for folder in folders:
        for name in LEFT_BEHIND:
            pipeline.write(folder / name, "left behind")
    assert pipeline.run() == []
    pipeline.write("src/glimpse/core/module.py", "another module")
    assert set(pipeline.run()) == set(pipeline.stages)


@pytest.mark.parametrize("folder", ["app", "predict", "tools"])
def test_a_folder_of_no_stage_reruns_nothing(folder, pipeline):
    pipeline.write(f"src/glimpse/{folder}/content", "changed")
    assert pipeline.run() == []


@pytest.mark.parametrize("folder", ["core", "demo", "duplicates", "evaluate", "features", "frames", "inference",
                                    "model", "report", "split", "train"])  # fmt: skip
def test_a_folder_that_changes_outputs_reruns_the_stages_that_declare_it_and_what_follows(folder, pipeline):
    pipeline.write(f"src/glimpse/{folder}/content", "changed")
    readers = {name for name, stage in pipeline.stages.items() if f"src/glimpse/{folder}" in stage["deps"]}
    assert readers and set(pipeline.run()) == pipeline.following(readers)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone with a small demo, all stages done and committed; the tests below leave it as they found it."""
    clone = Clone(tmp_path_factory.mktemp("stages") / "clone")
    clone.set(SMALL)
    assert clone.ran(clone.run("dvc", "repro")) == ALL
    clone.run("git", "commit", "--quiet", "--all", "--message", "A small demo")
    return clone


def rerun_by_comment(clone, folder):
    """The stages that a comment at the end of every module of a folder re-runs."""
    modules = sorted((clone.folder / "src/glimpse" / folder).glob("*.py"))
    assert modules
    for path in modules:
        path.write_text(path.read_text() + "# a comment\n")
    ran = clone.ran(clone.run("dvc", "repro"))
    clone.run("git", "restore", ".")
    assert clone.ran(clone.run("dvc", "repro")) == []
    return ran


@pytest.mark.parametrize("folder, stages", [
    ("report", ["report"]),
    ("evaluate", ["evaluate"]),  # and the report only if an output changed, which a comment cannot do
    ("split", ["split"]),
    ("duplicates", ["duplicates"]),
    ("train", ["train-first5", "train-all10"]),
    ("app", []),
    ("predict", []),
    ("tools", []),
])  # fmt: skip
def test_a_comment_in_a_folder_reruns_the_stages_that_use_it_and_stops_where_outputs_stay(folder, stages, clone):
    assert rerun_by_comment(clone, folder) == stages


def test_an_evaluation_that_writes_something_else_reruns_the_report(clone):
    script = clone.folder / "src/evaluate.py"
    text = script.read_text()
    changed = text.replace("file.write(text)", "file.write('Changed\\n' + text)")  # metrics/summary.txt
    assert changed != text
    script.write_text(changed)
    assert clone.ran(clone.run("dvc", "repro")) == ["evaluate", "report"]
    clone.run("git", "restore", ".")
    assert clone.ran(clone.run("dvc", "repro")) == []


def test_five_frames_rerun_what_follows_features(clone):
    assert clone.ran(clone.run("dvc", "exp", "run", "-S", "frames=5")) == AFTER_FEATURES
    clone.restore()


def test_another_input_size_is_extracted_and_trained_anew(clone):
    assert clone.ran(clone.run("dvc", "exp", "run", "-S", "features.input_size=48")) == ["features", *AFTER_FEATURES]
    clone.restore()


@pytest.mark.parametrize("name", ["first5", "all10"])
def test_a_registered_model_is_an_artifact_that_dvc_gets_by_name(name, clone, tmp_path):
    artifact = yaml.safe_load((clone.folder / "dvc.yaml").read_text())["artifacts"][name]
    assert artifact["type"] == "model" and artifact["desc"]
    clone.run("gto", "register", name, "--version", "v1.0.0")  # a Git tag; without one, there is nothing to get
    clone.run("dvc", "artifacts", "get", str(clone.folder), name, "--out", str(tmp_path / "model.pt"), where=tmp_path)
    assert (tmp_path / "model.pt").read_bytes() == (clone.folder / f"models/{name}/model.pt").read_bytes()
