"""Stage `report`: all that is known of both approaches and their data, as one page that needs nothing else.

Reads metrics/, models/<approach>/model.pt, data/split.csv, data/clips.csv, data/rejected.csv, data/leaks.csv and
data/frames/. Writes metrics/report.html. Run: python src/report.py
"""

from glimpse.core.settings import read  # isort: split

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
from markupsafe import Markup

from glimpse.core.files import atomic_write
from glimpse.core.frame_store import FrameStore
from glimpse.core.settings import format_value
from glimpse.core.files import read_table
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.report.charts import Axis, Line, chart, shares
from glimpse.report.clip_strips import Strip, frame_strip, pick_examples
from glimpse.report.dataset_summary import class_table, head_rows, sizes, split_groups_across
from glimpse.report.templates import render
from glimpse.split.leakage import COLUMNS, leaked_test_clips

APPROACHES = ("first5", "all10")
MISTAKES, HITS = 3, 2  # strips of each approach; where both are the same, twice as many of one


def read_numbers(path: str, words: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
    """A table whose columns `numbers` are figures, NaN where there is none; others in it end the program."""
    table = read_table(path, [*words, *numbers])
    for name in numbers:
        made = pd.to_numeric(table[name], errors="coerce").astype(float)
        if (made.isna() & (table[name] != "")).any():
            raise SystemExit(f"{path}: its column {name} has something else than figures: run `dvc repro`")
        table[name] = made
    return table


def read_lines(path: str) -> list[str]:
    """The lines of a text that an earlier stage wrote."""
    try:
        return [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"{path}: can't be read ({type(error).__name__}): run `dvc repro` to make it") from None


def interval_columns(*names: str) -> list[str]:
    """The columns of figures with their intervals."""
    return [f"{name}{end}" for name in names for end in ("", "_low", "_high")]


def scores_by_approach(table: pd.DataFrame) -> dict[str, dict[str, dict]]:
    """{approach: {measure: its row}} of the table of scores."""
    return {str(name): {row["measure"]: row for row in held.to_dict("records")}
            for name, held in table.groupby("approach")}  # fmt: skip


def frames_chart(table: pd.DataFrame, names: Sequence[str]) -> Markup:
    """Accuracy against frames seen, from the table of the early curve."""
    lines = []
    for name in names:
        rows = list(zip(table["frames"], table[name], table["seen"], table[f"{name}_low"], table[f"{name}_high"]))
        said = "{}, {:.0f} frames ({:.0%} of the clip): {:.3f} ({:.3f} to {:.3f})"
        points = [(at, value, said.format(name, at, seen, value, low, high)) for at, value, seen, low, high in rows]
        band = [(at, low, high) for at, _, _, low, high in rows if math.isfinite(low)]
        lines.append(Line(name, points, band))
    step = -(-len(table) // 10)
    chosen = [row for row in table.itertuples() if (len(table) - row.frames) % step == 0]
    marks = [(row.frames, f"{row.frames:.0f}") for row in chosen]
    ends = ", ".join(f"{line.name} from {line.points[0][1]:.3f} to {line.points[-1][1]:.3f}" for line in lines)
    axis = Axis("frames seen", marks, table["frames"].min(), table["frames"].max())
    return chart(lines, axis, "accuracy", f"Accuracy against frames seen: {ends}")


def reliability_chart(names: Sequence[str]) -> Markup:
    """Accuracy against confidence, from metrics/calibration-<approach>.csv."""
    lines = []
    for name in names:
        table = read_numbers(f"metrics/calibration-{name}.csv", [], ["clips", "confidence", "accuracy"])
        rows = list(zip(table["confidence"], table["accuracy"], table["clips"]))
        said = "{}: {:.0f} clips of confidence {:.2f}, {:.2f} of them right"
        points = [(sure, right, said.format(name, clips, sure, right)) for sure, right, clips in rows]
        lines.append(Line(name, points, weights=table["clips"].tolist()))
    told = "Accuracy against confidence: " + "; ".join(point[2] for line in lines for point in line.points)
    return chart(lines, Axis("mean confidence of the clips in a bin", shares()), "accuracy", told, diagonal=True)


def coverage_chart(names: Sequence[str]) -> Markup:
    """Accuracy against the share of clips answered, from metrics/selective-<approach>.csv."""
    lines = []
    for name in names:
        table = read_numbers(f"metrics/selective-{name}.csv", [], ["answered", "accuracy", "threshold"])
        said = "{}: the surest {:.0%} (from {:.3f} on), {:.3f} of them right"
        rows = zip(table["answered"], table["accuracy"], table["threshold"])
        points = [(share, right, said.format(name, share, least, right)) for share, right, least in rows]
        lines.append(Line(name, points))
    ends = ", ".join(f"{line.name} {line.points[0][1]:.3f} to {line.points[-1][1]:.3f}" for line in lines)
    told = f"Accuracy of the surest clips, from the fewest to all: {ends}"
    return chart(lines, Axis("share of clips answered, the surest first", shares()), "accuracy of those", told)


def confusion(answers: pd.DataFrame, actions: Sequence[str]) -> list[tuple[str, int, list[int]]]:
    """(true action, its clips, how many of them each action was the answer to), for each action."""
    counts = pd.crosstab(answers["action"], answers["predicted"]).reindex(index=actions, columns=actions, fill_value=0)
    return [(name, int(row.sum()), row.tolist()) for name, row in counts.iterrows()]


def clip_strips(
    recognizer: TorchRecognizer, answers: pd.DataFrame, frames: FrameStore, mistakes: int, hits: int
) -> tuple[list[Strip], list[Strip]]:
    """The strips of an approach: its worst mistakes, and its least sure hits."""
    worst, least = (
        [frame_strip(recognizer, frames.load(row["clip"]), row) for _, row in rows.iterrows()]
        for rows in pick_examples(answers, mistakes, hits)
    )
    return worst, least


def model_facts(recognizer: TorchRecognizer) -> dict[str, object]:
    """What a model's file tells of how it was made."""
    kept, best = recognizer.config, recognizer.config.best_epoch
    kind, wide = kept["temporal"]["kind"], f", {kept['temporal']['hidden']} wide, epoch {best['epoch']}"
    told = {"frames read": f"{recognizer.num_frames} of {kept['frames']}"}
    told |= {"reader": kind if kind == "ridge" else kind + wide, "blocks tuned": kept["tune"]}
    told |= {"val accuracy": f"{best['val_accuracy']:.3f}", "temperature": f"{kept['temperature']:.3f}"}
    told |= {"median length of its clips": f"{kept['seconds']:g} s" if kept["seconds"] else "unknown"}
    return told | {f"{name} version": version for name, version in kept["versions"].items()}


def flat(settings: SimpleNamespace) -> dict[str, str]:
    """The settings by their full names, as YAML writes them; without split.official_lists, which is a path."""
    told: dict[str, str] = {}
    for name, value in vars(settings).items():
        group = isinstance(value, SimpleNamespace)
        below = {f"{name}.{key}": of for key, of in vars(value).items()} if group else {name: value}
        told |= {key: format_value(of) for key, of in below.items() if key != "split.official_lists"}
    return told


def main() -> None:
    settings = read(
        "seed", "candidates", "frame_size", "min_decoded", "on_bad_clip", "frames", "sampling", "resample_each_epoch", "first5", "all10",
        "split", "features", "model", "train", "evaluate",
    )  # fmt: skip
    recognizers = {approach: TorchRecognizer(f"models/{approach}/model.pt") for approach in APPROACHES}
    actions, same = recognizers["all10"].class_names, len({one.use for one in recognizers.values()}) == 1
    names = APPROACHES[1:] if same else APPROACHES
    chances = [f"p({action})" for action in actions]
    answers = {
        name: read_numbers(f"metrics/predictions-{name}.csv", ["clip", "action", "predicted"], chances)
        for name in names
    }
    clips = read_numbers("data/clips.csv", ["clip", "width", "height"], ["seconds", "min_decoded"])
    split = read_table("data/split.csv", ["clip", "action", "group", "part"])
    leaks, rejected = read_table("data/leaks.csv", COLUMNS), read_table("data/rejected.csv", ["clip", "reason"])
    columns = ["value", "low", "high", "n", "groups"]
    controls = read_numbers("metrics/controls.csv", ["control", "what"], ["accuracy", "low", "high"])
    known = {
        "approaches": names,
        "same": same,
        "actions": actions,
        "recognizers": recognizers,
        "scores": scores_by_approach(read_numbers("metrics/scores.csv", ["approach", "measure", "note"], columns)),
        "controls": controls.to_dict("records"),
        "alarms": read_table("metrics/alarms.csv", ["sentence"])["sentence"].tolist(),
        "recalls": read_numbers("metrics/recall.csv", ["action"], ["clips", *interval_columns(*names)]).to_dict(
            "records"
        ),
        "holdings": class_table(clips, split),
        "torn": split_groups_across(split),
        "settings": flat(settings),
        "error": settings.evaluate.max_error,
    }
    curve = read_numbers("metrics/early.csv", [], ["frames", "seen", *interval_columns(*names)])
    summary = read_lines("metrics/summary.txt")
    frames, strips = FrameStore("data/frames"), {}
    for name in names:
        strips[name] = clip_strips(
            recognizers[name], answers[name], frames, *(n * (1 + same) for n in (MISTAKES, HITS))
        )
    html = render(
        "report.html.jinja",
        **known,
        card=render("model_card.md.jinja", **known),
        summary=[line for line in summary if line != "no alarm" and not line.startswith("ALARM: ")],
        early=frames_chart(curve, names),
        curve=curve.to_dict("records"),
        reliability=reliability_chart(names),
        selective=coverage_chart(names),
        confusions={name: confusion(table, actions) for name, table in answers.items()},
        strips=strips,
        rejected=head_rows(rejected),
        damaged=int((clips["min_decoded"] < 1).sum()),
        leaks=head_rows(leaks),
        exposed=len(leaked_test_clips(leaks)),
        sizes=sizes(clips),
        made={name: model_facts(recognizer) for name, recognizer in recognizers.items()},
    )
    with atomic_write("metrics/report.html") as file:
        file.write(html)
    print(f"report: metrics/report.html, {Path('metrics/report.html').stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
