"""Messages about settings that are wrong: one line with the key, the value and what is allowed."""

import difflib
from typing import Any

import yaml
from pydantic import ValidationError

RENAMED = {
    "store_size": "frame_size", "readable": "min_decoded", "reject": "on_bad_clip", "draw": "sampling",
    "redraw": "resample_each_epoch", "first5.use": "first5.num_frames", "all10.use": "all10.num_frames",
    "split.group": "split.group_by", "split.leaks": "split.near_duplicates", "split.lists": "split.official_lists",
    "split.list": "split.official_split", "features.size": "features.input_size", "features.follow": "features.crop",
    "features.change": "features.rgb_diff", "features.looks": "features.augmented_views",
    "features.mirror": "features.hflip", "model.temporal": "model.head", "model.tied": "model.shared_backbone",
    "model.tune": "model.finetune_blocks", "train.batch": "train.batch_size", "train.tune_lr": "train.backbone_lr",
    "train.clip_norm": "train.max_grad_norm", "train.average": "train.ema_decay",
    "train.balance": "train.class_balance", "evaluate.error": "evaluate.max_error", "demo.takes": "demo.repetitions",
    "study": "glimpse study --folds 5 --seeds 2",
}  # fmt: skip


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
    groups: dict[str, list[str]] = {}
    for group, _, name in (key.rpartition(".") for key in schemas):
        groups.setdefault(group, []).append(name)
    mistakes: dict[str, str] = {}
    for mistake in error.errors(include_url=False, include_input=False):
        location = mistake["loc"]  # of a union: with the variant at the end
        if not location:  # settings that contradict each other, found only where each of them is valid
            return str(mistake["ctx"]["error"])
        mistakes.setdefault(".".join(map(str, location[: 2 if location[0] in groups else 1])), mistake["type"])
    keys = [key for name in tree for key in (name, *flatten({name: tree[name]}))]
    positions = {key: number for number, key in enumerate(keys)}
    key = min(mistakes, key=lambda key: positions.get(key, len(keys)))
    group, _, name = key.rpartition(".")
    if mistakes[key] == "extra_forbidden":
        if key in RENAMED:
            return f"{key} is called {RENAMED[key]} now"
        likely = difflib.get_close_matches(key, [*schemas, *filter(None, groups)], n=1)
        if key in schemas:
            return f"{key} is not a setting: write {name} below {group}"
        return f"{format_value(key)} is not a setting" + (f": did you mean {likely[0]}?" if likely else "")
    allowed = allowed_values(schemas[key]) if key in schemas else f"settings below it: {', '.join(groups[key])}"
    if mistakes[key] == "missing":
        return f"{key} is missing: it takes {allowed}"
    value = tree[group][name] if group else tree[name]
    return f"{key} is {format_value(value)}, but it takes {allowed}"
