"""Settings are checked as a whole: every mistake is one line that names the key."""

import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from glimpse.core.params_file import (
    allowed_values,
    flatten,
    format_value,
    load_params,
    settings_table,
    with_overrides,
)
from glimpse.core.settings import (
    APPROACHES,
    Settings,
    flatten_settings,
    parse_settings,
    read_settings,
    setting_schemas,
)

ROOT = Path(__file__).parents[1]
PARAMS = ROOT / "params.yaml"
TEXT = PARAMS.read_text(encoding="utf-8")
TREE = yaml.safe_load(TEXT)
SCHEMAS = setting_schemas()
ALLOWED = {key: allowed_values(schema) for key, schema in SCHEMAS.items()}
RANGES = {key: next((s for s in schema.get("anyOf", [schema]) if "minimum" in s), None)
          for key, schema in SCHEMAS.items()}  # fmt: skip
GROUPS = sorted({key.rpartition(".")[0] for key in SCHEMAS} - {""})


def setting(settings, key):
    """The value of settings.train.lr for the key train.lr."""
    for name in key.split("."):
        settings = getattr(settings, name)
    return settings


def refused(act, *words):
    """The line that `act` ends with: one, not long, with these words in it."""
    with pytest.raises(SystemExit) as stop:
        act()
    line = str(stop.value)
    assert len(line.splitlines()) == 1 and len(line) < 400 and all(word in line for word in words), line
    return line


def refused_overrides(overrides, *words):
    return refused(lambda: parse_settings(with_overrides(TREE, overrides)), "params.yaml: ", *words)


def test_the_projects_own_settings_are_valid_and_typed():
    settings = read_settings(PARAMS)
    assert settings == parse_settings(TREE)
    assert settings.frames == 10 and settings.first5.num_frames == 5 and settings.train.lr == TREE["train"]["lr"]
    for key, value in flatten(TREE).items():
        assert setting(settings, key) == value
        expected = float if SCHEMAS[key].get("type") == "number" else type(value)
        assert type(setting(settings, key)) is expected, key


def test_settings_cannot_be_changed_once_they_are_checked():
    settings = parse_settings(TREE)
    for change in (lambda: setattr(settings, "frames", 5), lambda: setattr(settings.train, "lr", 1.0)):
        with pytest.raises(ValidationError, match="frozen"):
            change()


def test_num_frames_resolves_all():
    assert [parse_settings(TREE).num_frames(approach) for approach in APPROACHES] == [5, 10]
    changed = parse_settings(with_overrides(TREE, {"frames": 12, "first5.num_frames": "all", "all10.num_frames": 7}))
    assert [changed.num_frames(approach) for approach in APPROACHES] == [12, 7]
    with pytest.raises(KeyError):
        changed.num_frames("all11")


WRONG = [None, -7, 1e12, 10**30, 10**5000, 2**63, float("nan"), float("inf"), float("-inf"), "nan", "inf", [], [1], {},
         {"x": 1}, {"x": {"y": [None]}}, "", " ", "\t", "two\nlines", "\0", "(\ud800)", b"\xff", {1, 2},
         date(2020, 1, 1), "x" * 1000 + "\n", list(range(100))]  # fmt: skip


@pytest.mark.parametrize("key", SCHEMAS)
def test_a_value_that_is_not_allowed_is_named_with_what_is(key):
    texts = ("nan", "inf") if key in ("dataset", "split.official_lists") else ()
    for value in WRONG:
        if isinstance(value, str) and value in texts:
            continue
        line = refused_overrides({key: value}, f"{key} is ", f", but it takes {ALLOWED[key]}")
        if value in (None, [1], "\0"):
            assert line == f"params.yaml: {key} is {format_value(value)}, but it takes {ALLOWED[key]}"


@pytest.mark.parametrize("key", SCHEMAS)
def test_a_setting_that_is_missing_or_misspelt_is_named(key):
    group, _, name = key.rpartition(".")
    tree = with_overrides(TREE, {})
    siblings = tree[group] if group else tree
    value = siblings.pop(name)
    refused(lambda: parse_settings(tree), f"{key} is missing: it takes {ALLOWED[key]}")
    siblings[name[:-1] + "__"] = value
    refused(lambda: parse_settings(tree), f"{key[:-1]}__ is not a setting")


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("value", [None, 5, "x", [], [{"num_frames": 1}]])
def test_a_group_of_settings_that_is_none_is_named_with_what_belongs_there(group, value):
    keys = [key for key in SCHEMAS if key.startswith(f"{group}.")]
    names = ", ".join(key.rpartition(".")[2] for key in keys)
    refused_overrides({group: value}, f"{group} is {format_value(value)}, but it takes settings below it: {names}")
    if value is None:
        refused(lambda: parse_settings(TREE | {group: {}}), f"{keys[0]} is missing")
        without = {name: below for name, below in TREE.items() if name != group}
        refused(lambda: parse_settings(without), f"{group} is missing: it takes settings below it: {names}")


AGREEING = {"frames": {"candidates": 200, "first5.num_frames": 1}, "candidates": {"frames": 1, "first5.num_frames": 1},
            "first5.num_frames": {"candidates": 200, "frames": 200}, "split.fold": {"split.folds": 1000},
            "all10.num_frames": {"candidates": 200, "frames": 200}, "split.test": {"split.val": 0.05},
            "split.val": {"split.test": 0.05}}  # fmt: skip


@pytest.mark.parametrize("key", [key for key, bounds in RANGES.items() if bounds])
def test_a_range_is_kept_to_its_ends(key):
    low, high = RANGES[key]["minimum"], RANGES[key]["maximum"]
    for end in (low, high):
        settings = parse_settings(with_overrides(TREE, AGREEING.get(key, {}) | {key: end}))
        assert setting(settings, key) == end
    step = 1 if RANGES[key]["type"] == "integer" else 1e-9
    for value in (low - step, high + step, True, str(low - step)):
        refused_overrides({key: value}, f"{key} is {format_value(value)}", ALLOWED[key])


def test_the_ranges_are_those_that_are_documented():
    """One of each kind, in full: a range that is lost or changed by accident is noticed."""
    assert ALLOWED["frames"] == "a whole number from 1 to 200"
    assert ALLOWED["all10.num_frames"] == "a whole number from 1 to 200 or all"
    assert ALLOWED["train.lr"] == "a number from 1e-08 to 10"
    assert ALLOWED["on_bad_clip"] == "one of skip, fail"
    assert ALLOWED["features.rgb_diff"] == "one of true, false"
    assert ALLOWED["features.hflip"] == "one of auto, true, false"
    assert ALLOWED["dataset"] == "a folder of clips"
    for key, schema in SCHEMAS.items():
        kinds = {variant["type"] for variant in schema.get("anyOf", [schema])}
        assert bool(kinds & {"integer", "number"}) == (RANGES[key] is not None), f"{key} has no range"


@pytest.mark.parametrize(
    ("key", "value"),
    [("frames", 5.0), ("frames", True), ("frames", "5"), ("frames", "abc"), ("frames", 0), ("train.lr", "fast"),
     ("train.lr", True), ("resample_each_epoch", "yes"), ("resample_each_epoch", 1), ("resample_each_epoch", "true"),
     ("sampling", "randomly"), ("all10.num_frames", "every"), ("all10.num_frames", True), ("all10.num_frames", 5.0),
     ("split.test", float("nan")), ("model.shared_backbone", 1), ("features.hflip", 1), ("features.hflip", "true"),
     ("split.folds", False), ("dataset", 5), ("features.weights", None)],
)  # fmt: skip
def test_wrong_types_and_ranges_are_refused(key, value):
    refused_overrides({key: value}, f"{key} is {format_value(value)}, but it takes {ALLOWED[key]}")


def test_scientific_notation_as_dvc_writes_it_is_a_number():
    assert parse_settings(with_overrides(TREE, {"train.lr": "1e-05"})).train.lr == 1e-5
    dropout = parse_settings(with_overrides(TREE, {"model.dropout": 0})).model.dropout
    assert dropout == 0 and type(dropout) is float


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"first5.num_frames": 11}, "first5.num_frames is 11, but it must be no more than frames (10)"),
        ({"frames": 4}, "first5.num_frames is 5, but it must be no more than frames (4)"),
        ({"frames": 21}, "frames is 21, but it must be no more than candidates (20)"),
        ({"model.shared_backbone": False},
         "model.shared_backbone is false, but it must be true unless model.finetune_blocks is 1 or more"),
        ({"model.head": "ridge", "model.finetune_blocks": 1},
         "model.finetune_blocks is 1, but it must be 0 where model.head is ridge"),
        ({"split.folds": 5, "split.fold": 5}, "split.fold is 5, but it must be 0 to 4, for split.folds is 5"),
        ({"split.folds": 1}, "split.folds is 1, but it must be 0, or 2 and more"),
        ({"split.fold": 2}, "split.fold is 2, but it must be 0 unless split.folds is 2 or more"),
        ({"split.test": 0.6, "split.val": 0.5}, "split.val is 0.5, but it must be no more than 0.9 together"),
        ({"all10.num_frames": 11}, "all10.num_frames is 11, but it must be no more than frames (10)"),
        ({"candidates": 9}, "frames is 10, but it must be no more than candidates (9)"),
    ],
)  # fmt: skip
def test_settings_that_contradict_each_other_are_refused(overrides, words):
    assert refused_overrides(overrides, words).startswith(f"params.yaml: {words}")


@pytest.mark.parametrize(
    "overrides",
    [{"frames": 20}, {"first5.num_frames": 10}, {"split.folds": 5, "split.fold": 4}, {"split.folds": 2},
     {"model.shared_backbone": False, "model.finetune_blocks": 1}, {"model.head": "ridge"},
     {"split.test": 0.5, "split.val": 0.4}],
)  # fmt: skip
def test_settings_just_short_of_a_contradiction_are_valid(overrides):
    parse_settings(with_overrides(TREE, overrides))


@pytest.mark.parametrize("pattern", ["(", "x", "(a)(b)", "a{99999999999}(b)", "(" * 5000 + ")" * 5000, "(?P<n>a"])
def test_a_pattern_for_groups_that_cannot_be_is_found_before_anything_runs(pattern):
    refused_overrides({"split.group_by": pattern}, "split.group_by is", "regular expression with one capture group")


@pytest.mark.parametrize("pattern", ["auto", "none", "(x)", "([a-z]+)_.*", "(?P<who>a)(?:b)"])
def test_a_pattern_for_groups_that_can_be_is_valid(pattern):
    assert parse_settings(with_overrides(TREE, {"split.group_by": pattern})).split.group_by == pattern


def test_a_misspelt_key_is_named_with_the_right_one():
    misspelt = {("frmes" if key == "frames" else key): value for key, value in TREE.items()}
    refused(lambda: parse_settings(misspelt), "frmes is not a setting: did you mean frames?")
    misspelt = {("trian" if key == "train" else key): value for key, value in TREE.items()}
    refused(lambda: parse_settings(misspelt), "trian is not a setting: did you mean train?")
    refused_overrides({"train.epoch": 3}, "train.epoch is not a setting: did you mean train.epochs?")
    refused(lambda: parse_settings(TREE | {"train.lr": 3}), "train.lr is not a setting: write lr below train")
    keys = [("fra\nmes", "'fra mes' is not a setting"), (5, "'5' is not a setting"), ((1, 2), "(1, 2)"),
            (None, "None is not a setting"), ("", "'' is not a setting"), ("\ud800", r"\ud800 is not"),
            ("x" * 1000, "(1000 characters) is not a setting"), ("qqqq", "qqqq is not a setting")]  # fmt: skip
    for key, words in keys:
        line = refused(lambda key=key: parse_settings(TREE | {key: 3}), words)
        assert "did you mean ?" not in line
        refused(lambda key=key: parse_settings(with_overrides(TREE, {"train": TREE["train"] | {key: 3}})), "not a sett")


def test_the_first_mistake_in_the_files_order_is_named():
    tree = with_overrides(TREE, {"demo.seed": -1, "train.lr": 11, "train.epochs": 0})
    refused(lambda: parse_settings(tree), "train.epochs is 0")
    refused(lambda: parse_settings(dict(reversed(tree.items()))), "demo.seed is -1")
    refused(lambda: parse_settings({"frmes": 5} | tree), "frmes is not a setting")
    del tree["seed"]
    refused(lambda: parse_settings(tree), "train.epochs is 0")
    refused(lambda: parse_settings({}), "dataset is missing: it takes a folder of clips")


def test_overrides_leave_the_original_alone():
    before = yaml.safe_dump(TREE)
    tree = with_overrides(TREE, {"train.epochs": 3, "seed": 7})
    assert (tree["train"]["epochs"], tree["seed"]) == (3, 7) and yaml.safe_dump(TREE) == before


def written(tmp_path, content):
    """Read a params.yaml with this content."""
    path = tmp_path / "params.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return lambda: read_settings(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "found null"), ("# nothing\n", "found null"), ("- 1", "found [1]"), ("5", "found 5"), ("a: [", "line 1"),
        ("frames: 4\nseed: 0\nframes: 5\n", "frames is a duplicate key, in line 1 and in line 3"),
        (TEXT + "\nframes: 5\n", "frames is a duplicate key"),
        (TEXT.replace("  lr: 0.002", "  lr: 0.002\n  lr: 0.1"), "lr is a duplicate key"),
        (TEXT.replace("  lr: 0.002", "\tlr: 0.002"), "'\\t' that cannot start any token"),
        (TEXT.replace("seed: 0", "seed: !!python/object/apply:os.getcwd []", 1), "could not determine a constructor"),
        (TEXT.replace("seed: 0", "seed: 2001-99-99", 1), "month must be in 1..12"),
        (TEXT.replace("seed: 0", "seed: !!bool x", 1), "not valid YAML"),
        (TEXT.replace("seed: 0", 'seed: !!int ""', 1), "not valid YAML"),
        (TEXT.replace("seed: 0", "seed: !!timestamp x", 1), "not valid YAML"),
        (TEXT.replace("seed: 0", "seed: " + "[" * 5000, 1), "maximum recursion depth"),
        (TEXT.replace("seed: 0", "seed: &a [*a]", 1), "seed is &id001 [*id001]"),
        (TEXT.replace("seed: 0", "seed: " + "9" * 5000, 1), "digits"),
        (TEXT.replace("seed: 0", "? [a]\n: 5\nseed: 0", 1), "unhashable key"),
        (TEXT.replace("seed: 0", '"\\ud800": 0\nseed: 0', 1), "is not a setting"),
        (TEXT.replace("dataset: data/demo", 'dataset: "\\ud800"', 1), "dataset is"),
        (TEXT + "\n---\nframes: 5\n", "expected a single document"),
        (TEXT.encode() + b"# caf\xe9\n", "can't decode byte 0xe9"), (TEXT.encode("utf-16"), "can't decode byte 0xff"),
        (b"\0", "unacceptable character"),
    ],
)  # fmt: skip
def test_a_file_that_holds_no_settings_is_one_line(tmp_path, content, words):
    refused(written(tmp_path, content), "params.yaml", words)


@pytest.mark.parametrize("depth", [350, 400, 450])
def test_a_value_however_deep_is_one_line(tmp_path, depth):
    refused(written(tmp_path, TEXT.replace("seed: 0", "seed: " + "[" * depth + "]" * depth, 1)), "params.yaml")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path):
    assert written(tmp_path, b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())().seed == TREE["seed"]


def test_a_file_that_is_not_there_or_a_folder_is_one_line(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        refused(lambda path=path: read_settings(path), f"{path}: ", "run this from the project's folder")
        refused(lambda path=path: load_params(path), "run this from the project's folder")


def test_a_program_ends_with_the_line_and_no_traceback(tmp_path):
    (tmp_path / "params.yaml").write_text(TEXT.replace("frames: 10", "frames: ten"))
    code = "from glimpse.core.settings import read_settings; read_settings()"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "src")},
    )
    line = "params.yaml: frames is ten, but it takes a whole number from 1 to 200\n"
    assert (run.returncode, run.stdout, run.stderr) == (1, "", line)


def test_importing_the_settings_loads_nothing_heavy():
    code = "import sys, glimpse.core.settings; print({'torch', 'numpy', 'pandas', 'cv2'} & set(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT / "src")}
    )
    assert (run.stdout, run.stderr) == ("set()\n", "")


def test_no_key_has_a_name_that_dvcs_run_cache_leaves_out():
    """DVC drops `size` and `nfiles` from its run-cache key, so that a changed value would run nothing."""
    names = {name for key in [*SCHEMAS, *flatten(TREE)] for name in key.split(".")}
    assert not names & {"size", "nfiles"}


def test_params_yaml_has_every_setting_in_the_models_order_with_a_comment_above_it():
    assert list(flatten(TREE)) == list(SCHEMAS)
    lines = TEXT.splitlines()
    assert "docs/settings.md" in lines[0]
    for number, line in enumerate(lines):
        if re.fullmatch(r" *\w+: .*", line):
            assert "#" not in line and lines[number - 1].lstrip().startswith("# "), line


def test_the_table_has_a_row_for_every_setting_with_its_value():
    header, rule, *rows = settings_table(SCHEMAS, with_overrides(TREE, {"train.lr": 0.5})).splitlines()
    assert header == "| setting | default | allowed values | what it does |" and rule == "|---|---|---|---|"
    assert [row.split("`")[1] for row in rows] == list(SCHEMAS)
    assert all(len(row.split(" | ")) == 4 and row.endswith(". |") for row in rows)
    assert "| `train.lr` | `0.5` | a number from 1e-08 to 10 | Peak learning rate of the one-cycle schedule. |" in rows
    assert any(
        row.startswith("| `all10.num_frames` | `all` | a whole number from 1 to 200 or `all` | ") for row in rows
    )
    assert any(row.startswith("| `features.rgb_diff` | `true` | one of `true`, `false` | Add the ") for row in rows)


def test_flat_settings_are_written_as_in_yaml():
    flat = flatten_settings(parse_settings(with_overrides(TREE, {"train.lr": "1e-05"})))
    assert list(flat) == list(SCHEMAS)
    assert (flat["frames"], flat["features.rgb_diff"], flat["train.lr"]) == ("10", "true", "1.0e-05")
    assert all(yaml.safe_load(text) == value for text, value in zip(flat.values(), flatten(TREE).values())
               if value != TREE["train"]["lr"])  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (None, "null"), (0.5, "0.5"), ("text", "text"), ("5", "'5'"), ([1, 2], "[1, 2]"),
     ("a\nb", "'a b'"), ("x" * 80, "x" * 80),
     ("x" * 81, "x" * 60 + "… (81 characters)")],
)  # fmt: skip
def test_a_value_is_formatted_as_yaml_in_one_short_line(value, text):
    assert format_value(value) == text


def test_a_value_too_long_for_python_to_write_is_named_as_such():
    assert format_value(10**5000) == "a value too long to show"


def test_the_models_check_what_is_built_without_a_file():
    with pytest.raises(ValidationError, match="first5.num_frames is 11"):
        Settings.model_validate(with_overrides(TREE, {"first5.num_frames": 11}))
