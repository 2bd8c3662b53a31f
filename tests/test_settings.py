"""Settings are checked as a whole: every mistake is one line that names the key."""

import subprocess
import sys
from datetime import date

import pytest
import yaml
from conftest import ROOT

from glimpse.core.settings import ALLOWED, check, read, with_overrides

TEXT = (ROOT / "params.yaml").read_text()
TREE = yaml.safe_load(TEXT)


def test_the_projects_own_settings_are_allowed():
    checked = check(TREE)
    assert checked["frames"] == 10 and checked["first5"].use == 5 and checked["train"].lr == TREE["train"]["lr"]


def refused(act, *words):
    """The line that `act` ends with: one, not long, with these words in it."""
    with pytest.raises(SystemExit) as stop:
        act()
    line = str(stop.value)
    assert len(line.splitlines()) == 1 and len(line) < 400 and all(word in line for word in words), line
    return line


WRONG = [None, -7, 1e12, 10**30, 10**5000, 2**63, float("nan"), float("inf"), float("-inf"), [], [1], {}, {"x": 1},
         {"x": {"y": [None]}}, "", " ", "\t", "two\nlines", "\0", b"\xff", {1, 2}, date(2020, 1, 1), "x" * 1000 + "\n",
         list(range(100))]  # fmt: skip


@pytest.mark.parametrize("key", ALLOWED)
def test_a_value_that_is_not_allowed_is_named_with_what_is(key):
    for value in WRONG:
        line = refused(lambda value=value: check(with_overrides(TREE, {key: value})), f"{key} is ", str(ALLOWED[key]))
        if value in (None, [1], "\0"):
            assert f"{key} is {format_value(value)}, but it takes" in line


@pytest.mark.parametrize("key", ALLOWED)
def test_a_setting_that_is_missing_or_misspelt_is_named(key):
    group, _, name = key.rpartition(".")
    tree = with_overrides(TREE, {})
    of = tree[group] if group else tree
    value = of.pop(name)
    refused(lambda: check(tree), f"{key} is missing: it takes {ALLOWED[key]}")
    of[name[:-1] + "__"] = value
    refused(lambda: check(tree), f"{key[:-1]}__ is not a setting")


@pytest.mark.parametrize("group", sorted({key.rpartition(".")[0] for key in ALLOWED} - {""}))
@pytest.mark.parametrize("value", [None, 5, "x", [], [{"use": 1}]])
def test_a_group_of_settings_that_is_none_is_named_with_what_belongs_there(group, value):
    below = [key for key in ALLOWED if key.startswith(f"{group}.")]
    refused(
        lambda: check(with_overrides(TREE, {group: value})),
        f"{group} is {format_value(value)}",
        below[0].rpartition(".")[2],
    )
    if value is None:
        refused(lambda: check(TREE | {group: {}}), f"{below[0]} is missing")


@pytest.mark.parametrize("key", [key for key, allowed in ALLOWED.items() if hasattr(allowed, "low")])
def test_a_range_is_kept_to_its_ends(key):
    allowed = ALLOWED[key]
    assert allowed.parse(allowed.low) == allowed.low and allowed.parse(allowed.high) == allowed.high
    step = 1 if isinstance(allowed.low, int) and isinstance(allowed.high, int) else 1e-9
    for value in (allowed.low - step, allowed.high + step, True, str(allowed.low - step)):
        refused(
            lambda value=value: check(with_overrides(TREE, {key: value})),
            f"{key} is {format_value(value)}",
            str(allowed),
        )


@pytest.mark.parametrize(
    ("key", "value"),
    [("frames", 5.0), ("frames", True), ("frames", "abc"), ("frames", 0), ("train.lr", "fast"), ("redraw", "yes"),
     ("draw", "randomly"), ("all10.use", "every"), ("split.test", float("nan")), ("model.tied", 1)],
)  # fmt: skip
def test_wrong_types_and_ranges_are_refused(key, value):
    with pytest.raises(SystemExit, match=key):
        check(with_overrides(TREE, {key: value}))


def test_scientific_notation_as_dvc_writes_it_is_a_number():
    assert check(with_overrides(TREE, {"train.lr": "1e-05"}))["train"].lr == 1e-5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"first5.use": 11}, "first5.use is 11, but it must be no more than frames"),
        ({"frames": 4}, "first5.use is 5, but it must be no more than frames"),
        ({"frames": 21}, "frames is 21, but it must be no more than candidates"),
        ({"model.tied": False}, "model.tied is false, but it must be true unless model.tune"),
        (
            {"model.temporal": "ridge", "model.tune": 1},
            "model.tune is 1, but it must be 0 where model.temporal is ridge",
        ),
        ({"split.folds": 5, "split.fold": 5}, "split.fold is 5, but it must be 0 to 4"),
        ({"split.folds": 1}, "split.folds is 1"),
        ({"split.fold": 2}, "split.fold is 2, but it must be 0 unless split.folds is 2 or more"),
        ({"split.test": 0.6, "split.val": 0.5}, "split.val is 0.5"),
        ({"all10.use": 11}, "all10.use is 11, but it must be no more than frames"),
        ({"candidates": 9}, "frames is 10, but it must be no more than candidates"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, words):
    refused(lambda: check(with_overrides(TREE, changes)), words)


@pytest.mark.parametrize("rule", ["(", "x", "(a)(b)", "a{99999999999}(b)", "(" * 5000 + ")" * 5000, "(?P<n>a"])
def test_a_rule_for_groups_that_cannot_be_is_found_before_anything_runs(rule):
    refused(
        lambda: check(with_overrides(TREE, {"split.group": rule})),
        "split.group is",
        "regular expression with one bracket",
    )


def test_a_misspelt_key_is_named_with_the_right_one():
    misspelt = {("frmes" if key == "frames" else key): value for key, value in TREE.items()}
    refused(lambda: check(misspelt), "frmes is not a setting: did you mean frames?")
    also = TREE | {"train": TREE["train"] | {"epoch": 3}}
    refused(lambda: check(also), "train.epoch is not a setting: did you mean train.epochs?")
    refused(lambda: check(TREE | {"fra\nmes": 3}), "'fra mes' is not a setting")
    refused(lambda: check(TREE | {5: 3}), "5' is not a setting")


def written(tmp_path, content):
    """Read a params.yaml with this content."""
    path = tmp_path / "params.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return lambda: read("seed", path=path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "found null"), ("# nothing\n", "found null"), ("- 1", "found [1]"), ("5", "found 5"), ("a: [", "line 1"),
        (TEXT + "\nframes: 5\n", "frames stands there twice, again in line"),
        (TEXT.replace("  lr: 0.002", "  lr: 0.002\n  lr: 0.1"), "lr stands there twice"),
        (TEXT.replace("  lr: 0.002", "\tlr: 0.002"), "'\\t' that cannot start any token"),
        (TEXT.replace("seed: 0", "seed: !!python/object/apply:os.getcwd []", 1), "could not determine a constructor"),
        (TEXT.replace("seed: 0", "seed: 2001-99-99", 1), "month must be in 1..12"),
        (TEXT.replace("seed: 0", "seed: " + "[" * 5000, 1), "maximum recursion depth"),
        (TEXT.replace("seed: 0", "seed: &a [*a]", 1), "seed is &id001 [*id001]"),
        (TEXT.replace("seed: 0", "seed: " + "9" * 5000, 1), "digits"),
        (TEXT.replace("seed: 0", "? [a]\n: 5\nseed: 0", 1), "unhashable key"),
        (TEXT + "\n---\nframes: 5\n", "expected a single document"),
        (TEXT.encode() + b"# caf\xe9\n", "can't decode byte 0xe9"), (TEXT.encode("utf-16"), "can't decode byte 0xff"),
        (b"\0", "unacceptable character"),
    ],
)  # fmt: skip
def test_a_file_that_holds_no_settings_is_one_line(tmp_path, content, words):
    refused(written(tmp_path, content), "params.yaml", words)


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path):
    assert written(tmp_path, b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())().seed == TREE["seed"]


def test_a_file_that_is_not_there_or_a_folder_is_one_line(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        refused(lambda path=path: read("seed", path=path), "run this from the project's folder")


def test_a_script_ends_with_the_line_and_no_traceback(tmp_path):
    (tmp_path / "params.yaml").write_text(TEXT.replace("frames: 10", "frames: ten"))
    done = subprocess.run([sys.executable, ROOT / "src/split.py"], cwd=tmp_path, capture_output=True, text=True)
    line = "params.yaml: frames is ten, but it takes a whole number from 1 to 200\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)
