"""params.yaml as text: read it, override values, say in one line what is wrong in it, list what it may hold."""

import copy
import difflib
import itertools
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

PARAMS = Path("params.yaml")


class UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a key that a mapping has twice: PyYAML would drop the first one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        for first, key in itertools.combinations([key for key, _ in node.value], 2):
            if first.value == key.value:
                lines = f"in line {first.start_mark.line + 1} and in line {key.start_mark.line + 1}"
                raise ValueError(f"{key.value} is a duplicate key, {lines}")
        return super().construct_mapping(node, deep)


def load_params(path: Path | str = PARAMS) -> dict[str, Any]:
    """The file as nested dicts, not checked yet. SystemExit with one line if it is no YAML mapping."""
    try:
        tree = yaml.load(Path(path).read_text(encoding="utf-8"), UniqueKeyLoader)
    except OSError as error:
        raise SystemExit(f"{path}: {error.strerror or error}: run this from the project's folder") from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        # PyYAML raises the last three for `!!bool x`, `!!timestamp x` and deep nesting.
        raise SystemExit(f"{path}: not valid YAML in UTF-8: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise SystemExit(f"{path}: expected settings such as 'frames: 10', found {format_value(tree)}")
    return tree


def with_overrides(tree: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """A copy of the nested dicts with overrides such as {"train.epochs": 30}."""
    tree = copy.deepcopy(tree)
    for key, value in overrides.items():
        group, _, name = key.rpartition(".")
        (tree[group] if group else tree)[name] = value
    return tree


def format_value(value: object) -> str:
    """A value as YAML writes it, in one line of at most 80 characters: true, null, 0.5, text, '5', [1, 2]."""
    try:
        text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    except (ValueError, RecursionError):  # Python writes no number of more than 4300 digits, nor 400 nested lists
        return "a value too long to show"
    text = " ".join(text.removesuffix("...\n").split())
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"


def allowed_values(schema: dict[str, Any], quote: str = "") -> str:
    """What a setting takes, in words: a whole number from 1 to 200 or all; one of skip, fail."""
    if "takes" in schema:
        return schema["takes"]
    ranges, options = [], []
    for variant in schema.get("anyOf", [schema]):
        match variant:
            case {"type": "integer", "minimum": low, "maximum": high}:
                ranges.append(f"a whole number from {low} to {high}")
            case {"type": "number", "minimum": low, "maximum": high}:
                ranges.append(f"a number from {low:g} to {high:g}")
            case {"type": "boolean"}:
                options += ["true", "false"]
            case _:
                options += variant.get("enum") or [variant["const"]]
    options = [f"{quote}{option}{quote}" for option in options]
    return " or ".join(ranges + options) if ranges else "one of " + ", ".join(options)


def flatten(tree: dict[str, Any]) -> dict[str, Any]:
    """{"train": {"lr": 1}} as {"train.lr": 1}."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= {f"{name}.{key}": below for key, below in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def with_text_keys(value: Any) -> Any:
    """A mapping with every key as text that UTF-8 can write, as pydantic needs it; any other value as it is."""
    if not isinstance(value, dict):
        return value
    return {str(key).encode(errors="backslashreplace").decode(): below for key, below in value.items()}


def first_mistake(error: ValidationError, tree: dict[str, Any], schemas: dict[str, dict[str, Any]]) -> str:
    """The first of pydantic's errors in the file's order, in one line; missing keys come last."""
    groups = {key.partition(".")[0] for key in schemas if "." in key}
    mistakes: dict[str, str] = {}
    for mistake in error.errors(include_url=False, include_input=False):
        location = mistake["loc"]  # of a union: with the variant at the end
        if not location:  # settings that contradict each other, found only where each of them is valid
            return str(mistake["ctx"]["error"])
        mistakes.setdefault(".".join(map(str, location[: 2 if location[0] in groups else 1])), mistake["type"])
    keys = (key for name in tree for key in (name, *flatten({name: tree[name]})))
    key = next((key for key in keys if key in mistakes), next(iter(mistakes)))
    group, _, name = key.rpartition(".")
    if mistakes[key] == "extra_forbidden":
        likely = difflib.get_close_matches(key, [*schemas, *groups], n=1)
        if key in schemas:
            return f"{key} is not a setting: write {name} below {group}"
        return f"{format_value(key)} is not a setting" + (f": did you mean {likely[0]}?" if likely else "")
    names = ", ".join(below.removeprefix(f"{key}.") for below in schemas if below.startswith(f"{key}."))
    allowed = f"settings below it: {names}" if key in groups else allowed_values(schemas[key])
    if mistakes[key] == "missing":
        return f"{key} is missing: it takes {allowed}"
    value = tree[group][name] if group else tree[name]
    return f"{key} is {format_value(value)}, but it takes {allowed}"


def settings_table(schemas: dict[str, dict[str, Any]], tree: dict[str, Any]) -> str:
    """The Markdown table of docs/settings.md; the defaults are the values of `tree`, what params.yaml holds."""
    values = flatten(tree)
    table = "| setting | default | allowed values | what it does |\n|---|---|---|---|\n"
    for key, schema in schemas.items():
        default, allowed = format_value(values[key]), allowed_values(schema, "`")
        table += f"| `{key}` | `{default}` | {allowed} | {schema['description']} |\n"
    return table
