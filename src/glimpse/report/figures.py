"""Figures of the report: charts and tables made from metrics/tables/, and facts about each model."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from glimpse.core.files import read_numbers
from glimpse.model.config import ModelConfig
from glimpse.report.charts import Axis, Line, chart, percent_ticks

TABLES = "metrics/tables"


def read_predictions(approach: str, class_names: Sequence[str]) -> pd.DataFrame:
    """The table predictions-<approach>.csv."""
    columns = [f"p({name})" for name in class_names]
    return read_numbers(f"{TABLES}/predictions-{approach}.csv", ["clip", "action", "predicted"], columns)


def read_scores() -> dict[str, dict[str, dict]]:
    """The rows of scores.csv as {approach: {measure: row}}."""
    columns = ["value", "low", "high", "n", "groups"]
    table = read_numbers(f"{TABLES}/scores.csv", ["approach", "measure", "note"], columns)
    return {
        str(approach): {row["measure"]: row for row in rows.to_dict("records")}
        for approach, rows in table.groupby("approach")
    }


def read_lines(path: str) -> list[str]:
    """The lines of a text file that an earlier stage wrote."""
    try:
        return [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"{path}: can't be read ({type(error).__name__}): run `dvc repro` to make it") from None


def interval_columns(names: Sequence[str]) -> list[str]:
    """Columns of scores and their intervals: first5, first5_low, first5_high, …."""
    return [f"{name}{suffix}" for name in names for suffix in ("", "_low", "_high")]


def frames_chart(table: pd.DataFrame, approaches: Sequence[str]) -> Markup:
    """Accuracy against frames seen, from accuracy_by_frames.csv."""
    lines = []
    for name in approaches:
        columns = ["frames", name, "observation_ratio", f"{name}_low", f"{name}_high"]
        rows = list(table[columns].itertuples(index=False, name=None))
        text = "{}, {:.0f} frames ({:.0%} of the clip): {:.3f} ({:.3f} to {:.3f})"
        points = [
            (frames, value, text.format(name, frames, ratio, value, low, high))
            for frames, value, ratio, low, high in rows
        ]
        band = [(frames, low, high) for frames, _, _, low, high in rows if math.isfinite(low)]
        lines.append(Line(name, points, band))
    step = -(-len(table) // 10)
    ticks = [(frames, f"{frames:.0f}") for frames in table["frames"] if (len(table) - frames) % step == 0]
    ends = ", ".join(f"{line.name} from {line.points[0][1]:.3f} to {line.points[-1][1]:.3f}" for line in lines)
    axis = Axis("frames seen", ticks, table["frames"].min(), table["frames"].max())
    return chart(lines, axis, "accuracy", f"Accuracy against frames seen: {ends}")


def reliability_chart(approaches: Sequence[str]) -> Markup:
    """Reliability diagram, accuracy against confidence, from calibration-<approach>.csv."""
    lines = []
    for name in approaches:
        columns = ["confidence", "accuracy", "clips"]
        table = read_numbers(f"{TABLES}/calibration-{name}.csv", [], columns)
        rows = table[columns].itertuples(index=False, name=None)
        text = "{}: {:.0f} clips, mean confidence {:.2f}, accuracy {:.2f}"
        points = [(x, y, text.format(name, clips, x, y)) for x, y, clips in rows]
        lines.append(Line(name, points, weights=table["clips"].tolist()))
    description = "Accuracy against confidence: " + "; ".join(point[2] for line in lines for point in line.points)
    axis = Axis("mean confidence of the clips in a bin", percent_ticks())
    return chart(lines, axis, "accuracy", description, diagonal=True)


def coverage_chart(approaches: Sequence[str]) -> Markup:
    """Accuracy of the answered clips against coverage, from coverage-<approach>.csv."""
    lines = []
    for name in approaches:
        columns = ["coverage", "accuracy", "confidence"]
        table = read_numbers(f"{TABLES}/coverage-{name}.csv", [], columns)
        rows = table[columns].itertuples(index=False, name=None)
        text = "{}: coverage {:.0%} (confidence from {:.3f} on), accuracy {:.3f}"
        lines.append(Line(name, [(x, y, text.format(name, x, threshold, y)) for x, y, threshold in rows]))
    ends = ", ".join(f"{line.name} {line.points[0][1]:.3f} to {line.points[-1][1]:.3f}" for line in lines)
    axis = Axis("coverage: share of clips answered, most confident first", percent_ticks())
    return chart(lines, axis, "accuracy of answered clips", f"Accuracy at the lowest and at full coverage: {ends}")


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
