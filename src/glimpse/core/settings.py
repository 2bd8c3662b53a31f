"""The settings: what params.yaml may say, checked as a whole before anything runs.

A script asks for the settings it uses, `read("frames", "train")`, and gets just those; the names it asks for are
the `params:` of its stage in dvc.yaml. Every mistake ends the program with one line that names the key.
"""

import copy
import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

PARAMS = Path("params.yaml")


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`, or one of the `words`."""

    low: int
    high: int
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " or ".join([f"a whole number from {self.low} to {self.high}", *self.words])

    def parse(self, value: object) -> int | str:
        if value in self.words and isinstance(value, str):
            return value
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise ValueError
        return value


@dataclass(frozen=True)
class Number:
    """A number from `low` to `high`. YAML reads 1e-05, as `dvc exp run -S` writes it, as text: it counts too."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"a number from {self.low:g} to {self.high:g}"

    def parse(self, value: Any) -> float:
        if isinstance(value, bool) or not self.low <= float(value) <= self.high:
            raise ValueError
        return float(value)


@dataclass(frozen=True)
class Choice:
    """One of a few words; true and false are words too."""

    options: tuple[str | bool, ...]

    def __str__(self) -> str:
        return "one of " + ", ".join(map(format_value, self.options))

    def parse(self, value: object) -> object:
        if not any(value is option or (isinstance(option, str) and value == option) for option in self.options):
            raise ValueError
        return value


@dataclass(frozen=True)
class Text:
    """Some text that is not empty, in one line."""

    what: str

    def __str__(self) -> str:
        return self.what

    def parse(self, value: object) -> str:
        if not isinstance(value, str) or not value.strip() or any(ord(letter) < 32 for letter in value):
            raise ValueError
        return value


@dataclass(frozen=True)
class Pattern(Text):
    """A regular expression with one bracket, or one of the `words`."""

    words: tuple[str, ...]

    def parse(self, value: object) -> str:
        if (text := super().parse(value)) not in self.words and re.compile(text).groups != 1:
            raise ValueError
        return text


BRACKET = "auto, none, or a regular expression with one bracket, around what names the group"
YES_NO = Choice((True, False))
ALLOWED: dict[str, Whole | Number | Choice | Text] = {
    "dataset": Text("a folder of clips"),
    "seed": Whole(0, 2**31 - 1),
    "candidates": Whole(1, 200),
    "store_size": Whole(32, 1024),
    "readable": Number(0, 1),
    "reject": Choice(("report", "fail")),
    "frames": Whole(1, 200),
    "draw": Choice(("segments", "random")),
    "redraw": YES_NO,
    "first5.use": Whole(1, 200, words=("all",)),
    "all10.use": Whole(1, 200, words=("all",)),
    "split.group": Pattern(BRACKET, ("auto", "none")),
    "split.leaks": Choice(("join", "report")),
    "split.test": Number(0.05, 0.8),
    "split.val": Number(0.05, 0.8),
    "split.folds": Whole(0, 1000),
    "split.fold": Whole(0, 999),
    "split.lists": Text("a folder"),
    "split.list": Whole(1, 99),
    "features.weights": Choice(("packaged", "torchvision", "none")),
    "features.size": Whole(32, 1024),
    "features.follow": YES_NO,
    "features.change": YES_NO,
    "features.flow": YES_NO,
    "features.looks": Whole(0, 64),
    "features.mirror": Choice(("auto", True, False)),
    "features.precision": Choice(("float32", "bfloat16")),
    "model.temporal": Choice(("lstm+mean", "lstm", "gru", "mean", "attention", "ridge")),
    "model.hidden": Whole(1, 4096),
    "model.dropout": Number(0, 0.95),
    "model.tied": YES_NO,
    "model.tune": Whole(0, 19),
    "train.epochs": Whole(1, 10000),
    "train.patience": Whole(1, 10000),
    "train.batch": Whole(1, 4096),
    "train.lr": Number(1e-8, 10),
    "train.tune_lr": Number(1e-8, 10),
    "train.weight_decay": Number(0, 10),
    "train.label_smoothing": Number(0, 0.9),
    "train.clip_norm": Number(1e-3, 1e6),
    "train.average": Number(0, 0.9999),
    "train.refit": YES_NO,
    "train.balance": Choice(("weights", "sampler", "none")),
    "evaluate.subsets": Whole(1, 100),
    "evaluate.error": Number(0.001, 0.9),
    "study.folds": Whole(2, 100),
    "study.seeds": Whole(1, 100),
    "demo.actors": Whole(3, 1000),
    "demo.takes": Whole(1, 100),
    "demo.seed": Whole(0, 2**31 - 1),
}


def read(*names: str, path: Path | str = PARAMS) -> SimpleNamespace:
    """The settings of these top-level names, as attributes: read("seed", "train").train.epochs.

    The whole file is checked, so that a mistake anywhere is found by the first stage that runs.
    """
    checked = check(load(path), path)
    return SimpleNamespace(**{name: checked[name] for name in names})


class Once(yaml.SafeLoader):
    """Reads YAML, but refuses a key that stands in one place twice: PyYAML would drop the first without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key.value for key, _ in node.value]
        for number, (key, _) in enumerate(node.value):
            if key.value in keys[:number]:
                raise ValueError(f"{key.value} stands there twice, again in line {key.start_mark.line + 1}")
        return super().construct_mapping(node, deep)


def load(path: Path | str) -> dict:
    """The file as nested dicts, or an exit with one line."""
    try:
        tree = yaml.load(Path(path).read_text(encoding="utf-8"), Once)
    except OSError as error:
        raise SystemExit(f"{path}: {error.strerror or error}: run this from the project's folder") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SystemExit(f"{path}: not valid YAML in UTF-8: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise SystemExit(f"{path}: expected settings such as 'frames: 10', found {format_value(tree)}")
    return tree


def check(tree: dict, path: Path | str = PARAMS) -> dict:
    """The settings of `tree` with their types put right, groups such as `train` as namespaces."""
    flat: dict[str, object] = {}
    for name, value in tree.items():
        below = [key.partition(".")[2] for key in ALLOWED if key.startswith(f"{name}.")]
        if below and not isinstance(value, dict):
            raise SystemExit(
                f"{path}: {name} is {format_value(value)}, but it takes settings below it: {', '.join(below)}"
            )
        flat |= {f"{name}.{key}": of for key, of in value.items()} if below else {str(name): value}
    for key in (key for key in flat if key not in ALLOWED):
        likely = difflib.get_close_matches(key, ALLOWED, n=1)
        hint = f": did you mean {likely[0]}?" if likely else ""
        raise SystemExit(f"{path}: {format_value(key)} is not a setting{hint}")
    parsed = {}
    for key, allowed in ALLOWED.items():
        if key not in flat:
            raise SystemExit(f"{path}: {key} is missing: it takes {allowed}")
        try:
            parsed[key] = allowed.parse(flat[key])
        except (ValueError, TypeError, OverflowError, RecursionError, re.error):
            raise SystemExit(f"{path}: {key} is {format_value(flat[key])}, but it takes {allowed}") from None
    contradictions(parsed, path)
    checked: dict = {}
    for key, value in parsed.items():
        group, _, name = key.rpartition(".")
        (vars(checked.setdefault(group, SimpleNamespace())) if group else checked)[name] = value
    return checked


def with_overrides(tree: dict, changes: dict) -> dict:
    """A copy of the nested settings of a file with changes such as {"train.epochs": 30}."""
    tree = copy.deepcopy(tree)
    for key, value in changes.items():
        group, _, name = key.rpartition(".")
        (tree[group] if group else tree)[name] = value
    return tree


def contradictions(s: dict, path: Path | str) -> None:
    """Settings that are fine one by one and not together."""
    rules = [
        (s["frames"] > s["candidates"], "frames", f"no more than candidates ({s['candidates']})"),
        (s["model.tied"] is False and s["model.tune"] == 0, "model.tied", "true unless model.tune is 1 or more"),
        (s["model.temporal"] == "ridge" and s["model.tune"] > 0, "model.tune", "0 where model.temporal is ridge"),
        (s["split.test"] + s["split.val"] > 0.9, "split.val", "no more than 0.9 together with split.test"),
        (s["split.folds"] == 1, "split.folds", "0, or 2 and more"),
        (s["split.folds"] and s["split.fold"] >= s["split.folds"], "split.fold",
         f"0 to {s['split.folds'] - 1}, for split.folds is {s['split.folds']}"),
        (s["split.fold"] and not s["split.folds"], "split.fold", "0 unless split.folds is 2 or more"),
    ]  # fmt: skip
    for approach in ("first5", "all10"):
        use = s[f"{approach}.use"]
        rules.append((use != "all" and use > s["frames"], f"{approach}.use", f"no more than frames ({s['frames']})"))
    for broken, key, wanted in rules:
        if broken:
            raise SystemExit(f"{path}: {key} is {format_value(s[key])}, but it must be {wanted}")


def format_value(value: object) -> str:
    """A value as YAML writes it, in one line that is not too long: true, null, 0.5, text, '5', [1, 2]."""
    try:
        text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    except ValueError:  # Python writes no number of more than 4300 digits
        return "a number too long to show"
    text = " ".join(text.removesuffix("...\n").split())
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"
