"""Every setting, through real DVC with its run cache on: a changed value re-runs the stages that read it, no others.

Slow: run by `make test-slow`.
"""

import pytest
import yaml
from conftest import ROOT
from dvc.utils.hydra import apply_overrides
from stub_pipeline import StubPipeline, covers, leaves

from glimpse.core.settings import read_settings

pytestmark = pytest.mark.slow
SETTINGS = leaves(yaml.safe_load((ROOT / "params.yaml").read_text()))
# Values that go together with each changed value below: a fold needs folds, a backbone per frame needs fine-tuning.
BASE = SETTINGS | {"split.folds": 5, "model.finetune_blocks": 1}
OTHER_VALUES = {
    "dataset": "data/other", "on_bad_clip": "fail", "sampling": "random", "all10.num_frames": 8,
    "split.group_by": "none", "split.near_duplicates": "report", "split.official_lists": "data/other_lists",
    "features.weights": "none", "features.crop": "center", "features.hflip": False, "features.precision": "bfloat16",
    "model.head": "gru", "train.class_balance": "none",
}  # fmt: skip


def another(key, value):
    """Another valid value of a setting."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value - 1 if value > 1 else value + 1
    if isinstance(value, float):
        return value / 2
    assert key in OTHER_VALUES, f"{key}: add another valid value to OTHER_VALUES"
    return OTHER_VALUES[key]


@pytest.fixture(scope="module")
def base_run(tmp_path_factory):
    """The pipeline, run once with the settings BASE; and its outputs."""
    folder = tmp_path_factory.mktemp("pipeline")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        pipeline = StubPipeline(folder, BASE)
        for path in (OTHER_VALUES["dataset"], OTHER_VALUES["split.official_lists"]):
            pipeline.write(f"{path}/content", path)
        assert set(pipeline.run()) == set(pipeline.stages)
        assert pipeline.run() == []
        return pipeline, pipeline.outputs()


@pytest.fixture
def pipeline(base_run, monkeypatch):
    monkeypatch.chdir(base_run[0].folder)
    return base_run[0]


@pytest.mark.parametrize("key", SETTINGS)
def test_a_changed_setting_reruns_the_stages_that_declare_it_and_what_follows_and_is_cached_the_second_time(
    key, pipeline, base_run
):
    changed = BASE | {key: another(key, BASE[key])}
    readers = {name for name, stage in pipeline.stages.items() if any(covers(param, key) for param in stage["params"])}
    assert readers, f"no stage reads {key}"
    pipeline.set(changed)
    read_settings()  # the value is valid
    assert set(pipeline.run()) == pipeline.following(readers)
    outputs = pipeline.outputs()
    assert {path for path in outputs if outputs[path] != base_run[1][path]} == {
        pipeline.folder / path for name in pipeline.following(readers) for path in pipeline.stages[name]["outs"]
    }
    pipeline.set(BASE)
    assert pipeline.run() == [] and pipeline.outputs() == base_run[1]
    pipeline.set(changed)
    assert pipeline.run() == [] and pipeline.outputs() == outputs


def test_no_setting_has_a_name_that_dvc_leaves_out_of_the_key_of_its_run_cache():
    assert not {"size", "nfiles"} & {name for key in SETTINGS for name in key.split(".")}


@pytest.mark.parametrize("name", ["size", "nfiles"])
def test_dvc_still_leaves_these_names_out_of_the_key_of_its_run_cache(name, tmp_path, monkeypatch):
    """If this fails, DVC was repaired, and settings may have these names."""
    monkeypatch.chdir(tmp_path)
    pipeline = StubPipeline(tmp_path, BASE | {f"features.{name}": 160})
    assert pipeline.run()
    pipeline.set(BASE | {f"features.{name}": 128})
    assert pipeline.run() == []


def test_a_small_number_that_dvc_writes_as_text_is_read_as_a_number(pipeline):
    pipeline.set(BASE)
    apply_overrides("params.yaml", ["train.lr=0.00001"])  # what `dvc exp run -S train.lr=0.00001` does
    assert yaml.safe_load((pipeline.folder / "params.yaml").read_text())["train"]["lr"] == "1e-05"
    assert read_settings().train.lr == 1e-5
