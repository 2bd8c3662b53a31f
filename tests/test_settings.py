"""Settings are checked as a whole: every mistake is one line that names the key."""

import pytest
import yaml
from conftest import ROOT

from glimpse.settings import ALLOWED, changed, check, read

TREE = yaml.safe_load((ROOT / "params.yaml").read_text())


def test_the_projects_own_settings_are_allowed():
    checked = check(TREE)
    assert checked["frames"] == 10 and checked["first5"].use == 5 and checked["train"].lr == TREE["train"]["lr"]


@pytest.mark.parametrize("key", ALLOWED)
@pytest.mark.parametrize("value", [None, -7, 1e12, [], {"x": 1}, "\t"])
def test_a_value_that_is_not_allowed_is_named_with_what_is(key, value):
    with pytest.raises(SystemExit) as stop:
        check(changed(TREE, {key: value}))
    assert key in str(stop.value) and "\n" not in str(stop.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [("frames", 5.0), ("frames", True), ("frames", "abc"), ("frames", 0), ("train.lr", "fast"), ("redraw", "yes"),
     ("draw", "randomly"), ("all10.use", "every"), ("split.test", float("nan")), ("model.tied", 1)],
)  # fmt: skip
def test_wrong_types_and_ranges_are_refused(key, value):
    with pytest.raises(SystemExit, match=key):
        check(changed(TREE, {key: value}))


def test_scientific_notation_as_dvc_writes_it_is_a_number():
    assert check(changed(TREE, {"train.lr": "1e-05"}))["train"].lr == 1e-5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"first5.use": 11}, "first5.use is 11, but it must be no more than frames"),
        ({"frames": 4}, "first5.use is 5, but it must be no more than frames"),
        ({"frames": 21}, "frames is 21, but it must be no more than candidates"),
        ({"model.tied": False}, "model.tied is false, but it must be true unless model.tune"),
        ({"split.folds": 5, "split.fold": 5}, "split.fold is 5, but it must be 0 to 4"),
        ({"split.folds": 1}, "split.folds is 1"),
        ({"split.test": 0.6, "split.val": 0.5}, "split.val is 0.5"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, words):
    with pytest.raises(SystemExit) as stop:
        check(changed(TREE, changes))
    assert words in str(stop.value)


def test_a_misspelt_key_is_named_with_the_right_one():
    with pytest.raises(SystemExit, match=r"frmes.*|.*misspelling"):
        check({("frmes" if key == "frames" else key): value for key, value in TREE.items()})
    with pytest.raises(SystemExit, match=r"train.epoch is not a setting: did you mean train.epochs"):
        check(TREE | {"train": TREE["train"] | {"epoch": 3}})


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "5"])
def test_a_file_that_holds_no_settings_is_one_line(tmp_path, text):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(SystemExit, match=r"params\.yaml") as stop:
        read("seed", path=tmp_path / "params.yaml")
    assert "\n" not in str(stop.value)
    with pytest.raises(SystemExit, match="run this from the project's folder"):
        read("seed", path=tmp_path / "none.yaml")
