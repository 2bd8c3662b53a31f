"""Figures of the report: charts and tables made from metrics/tables/ and data/, and facts about each model."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from glimpse.core.files import read_numbers
from glimpse.core.splits import SPLITS
from glimpse.model.config import ModelConfig
from glimpse.report.charts import Axis, Line, chart


def read_metrics(name: str, text_columns: Iterable[str], number_columns: Iterable[str]) -> pd.DataFrame:
    """Read a table of metrics/tables/; exits if a column is missing or a number column holds something else."""
    return read_numbers(f"metrics/tables/{name}.csv", text_columns, number_columns)


def read_scores() -> dict[str, dict[str, dict]]:
    """The rows of scores.csv as {approach: {measure: row}}."""
    table = read_metrics("scores", ["approach", "measure", "note"], ["value", "low", "high", "n", "groups"])
    return {name: rows.set_index("measure", drop=False).to_dict("index") for name, rows in table.groupby("approach")}


def read_lines(path: str) -> list[str]:
    """The lines of a text file that an earlier stage wrote."""
    try:
        return [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"{path}: can't be read ({type(error).__name__}): run `dvc repro` to make it") from None


def class_table(clips: pd.DataFrame, split: pd.DataFrame) -> list[dict]:
    """A row for all actions and one for each: clips, groups, clips per split, shortest, median and longest seconds.

    clips: clip, seconds (NaN where unknown); split: clip, action, group, split.
    """
    table = split.merge(clips[["clip", "seconds"]], on="clip")
    rows: list[dict] = []
    for name, members in [("", table), *table.groupby("action")]:
        seconds, counts = members["seconds"], members["split"].value_counts()
        row = {"action": name, "all": not rows, "clips": len(members), "groups": members["group"].nunique()}
        row |= {split_name: counts.get(split_name, 0) for split_name in SPLITS}
        rows.append(row | {"shortest": seconds.min(), "median": seconds.median(), "longest": seconds.max()})
    return rows


def frames_chart(table: pd.DataFrame, approaches: Sequence[str]) -> Markup:
    """Accuracy against frames seen, from accuracy_by_frames.csv."""
    text = "{name}, {frames:.0f} frames ({observation_ratio:.0%} of the clip): {accuracy:.3f} ({low:.3f} to {high:.3f})"
    lines = []
    for name in approaches:
        renamed = table.rename(columns={name: "accuracy", f"{name}_low": "low", f"{name}_high": "high"})
        band = renamed[["frames", "low", "high"]].dropna().itertuples(index=False, name=None)
        lines.append(Line(name, _points(name, renamed, "frames", text), list(band)))
    step = -(-len(table) // 10)
    ticks = [(frames, f"{frames:.0f}") for frames in table["frames"] if (len(table) - frames) % step == 0]
    ends = ", ".join(f"{line.name} from {line.points[0][1]:.3f} to {line.points[-1][1]:.3f}" for line in lines)
    axis = Axis("frames seen", ticks, table["frames"].min(), table["frames"].max())
    return chart(lines, axis, "accuracy", f"Accuracy against frames seen: {ends}")


def reliability_chart(approaches: Sequence[str]) -> Markup:
    """Reliability diagram, accuracy against confidence, from calibration-<approach>.csv."""
    text = "{name}: {clips:.0f} clips, mean confidence {confidence:.2f}, accuracy {accuracy:.2f}"
    lines = []
    for name in approaches:
        table = read_metrics(f"calibration-{name}", [], ["confidence", "accuracy", "clips"])
        lines.append(Line(name, _points(name, table, "confidence", text), weights=table["clips"].tolist()))
    description = "Accuracy against confidence: " + "; ".join(point[2] for line in lines for point in line.points)
    return chart(lines, Axis("mean confidence of the clips in a bin"), "accuracy", description, diagonal=True)


def coverage_chart(approaches: Sequence[str]) -> Markup:
    """Accuracy of the answered clips against coverage, from coverage-<approach>.csv."""
    text = "{name}: coverage {coverage:.0%} (confidence from {confidence:.3f} on), accuracy {accuracy:.3f}"
    lines = []
    for name in approaches:
        table = read_metrics(f"coverage-{name}", [], ["coverage", "accuracy", "confidence"])
        lines.append(Line(name, _points(name, table, "coverage", text)))
    ends = ", ".join(f"{line.name} {line.points[0][1]:.3f} to {line.points[-1][1]:.3f}" for line in lines)
    axis = Axis("coverage: share of clips answered, most confident first")
    return chart(lines, axis, "accuracy of answered clips", f"Accuracy at the lowest and at full coverage: {ends}")


def _points(name: str, table: pd.DataFrame, x: str, text: str) -> list[tuple[float, float, str]]:
    """The points of a line of accuracy against column x; the text of each is formatted with its row."""
    return [(row[x], row["accuracy"], text.format(name=name, **row)) for row in table.to_dict("records")]


def confusion(predictions: pd.DataFrame, class_names: Sequence[str]) -> list[tuple[str, int, list[int]]]:
    """Confusion matrix: (true action, number of its clips, how many of them were predicted as each action)."""
    counts = pd.crosstab(predictions["action"], predictions["predicted"])
    counts = counts.reindex(index=class_names, columns=class_names, fill_value=0)
    return [(action, int(row.sum()), row.tolist()) for action, row in counts.iterrows()]


def model_facts(config: ModelConfig) -> dict[str, str]:
    """How a model was made: rows of a table."""
    details = "" if config.head == "ridge" else f", {config.hidden} units, epoch {config.best_epoch['epoch']:.0f}"
    return {
        "frames read": f"{config.num_frames} of {config.frames}",
        "temporal head": config.head + details,
        "fine-tuned blocks": str(config.finetune_blocks),
        "val accuracy": f"{config.best_epoch['val_accuracy']:.3f}",
        "temperature": f"{config.temperature:.3f}",
        "median clip length": f"{config.clip_seconds:g} s" if config.clip_seconds else "unknown",
    } | {f"{name} version": version for name, version in config.versions.items()}
