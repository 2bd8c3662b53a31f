"""metrics/summary.txt, which `evaluate` also prints: the results in sentences."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from glimpse.evaluate.intervals import PairedDifference
from glimpse.evaluate.metrics import Scores


@dataclass(frozen=True)
class Evaluation:
    """Results of an evaluation on the test clips; dicts by approach where nothing else is said."""

    scores: dict[str, Scores]
    num_frames: dict[str, int]  # that the model reads
    seen_accuracy: dict[str, float]  # mean accuracy on the subsets of train and val clips
    differences: dict[str, PairedDifference]  # all10 - first5, by measure
    accuracy_by_frames: pd.DataFrame
    baselines: pd.DataFrame
    order_effect: PairedDifference  # accuracy of all10 on its frames in time order, minus in random order
    max_error: float
    warnings: Sequence[str]


def percent(value: float) -> str:
    """A share in whole percent: 72 %."""
    return f"{100 * value:.0f} %"


def summary(results: Evaluation) -> list[str]:
    """The lines of summary.txt."""
    accuracy, num_frames = next(iter(results.scores.values())).accuracy, [*results.num_frames.values()]
    lines = [f"{accuracy.n} test clips of {accuracy.groups} groups, none used in training; 95 % intervals in brackets"]
    lines += [accuracy.note] if accuracy.note else []
    lines += score_lines(results)
    if len(set(num_frames)) == 1:
        lines.append(f"both approaches read the same {num_frames[0]} frames and are the same model")
    else:
        lines += [f"{name}: {difference.describe(*results.scores)}" for name, difference in results.differences.items()]
        lines.append(frames_line(results.accuracy_by_frames, num_frames[0]))
    lines += baseline_lines(results.baselines, num_frames[0], results.order_effect)
    lines += calibration_lines(results.scores)
    lines += threshold_lines(results.scores, results.max_error)
    return lines + ([f"WARNING: {message}" for message in results.warnings] or ["no warning"])


def score_lines(results: Evaluation) -> Iterator[str]:
    """Accuracy and recall of each approach, and its accuracy on the clips of train and val."""
    for approach, scores in results.scores.items():
        seen = results.seen_accuracy[approach]
        yield (
            f"{approach:>6}: accuracy {scores.accuracy}, recall {scores.recall}; accuracy on train and val clips "
            f"{seen:.3f} ({seen - scores.accuracy.value:+.3f})"
        )


def frames_line(table: pd.DataFrame, num_frames: int) -> str:
    """Accuracy of all10 after `num_frames` frames and after all, from `accuracy_by_frames`."""
    early, last = table.iloc[min(num_frames, len(table)) - 1], table.iloc[-1]
    return (
        f"all10 after {early['frames']:.0f} frames (observation ratio {percent(early['observation_ratio'])}): accuracy "
        f"{early['all10']:.3f}; after {last['frames']:.0f} ({percent(last['observation_ratio'])}): {last['all10']:.3f}"
    )


def baseline_lines(table: pd.DataFrame, num_frames: int, order_effect: PairedDifference) -> Iterator[str]:
    """Accuracy of the baselines, and whether the order of frames matters to all10."""
    rows = {row["baseline"]: row for row in table.to_dict("records")}
    yield (
        f"baselines: chance {rows['chance']['accuracy']:.3f}, most frequent action {rows['majority']['accuracy']:.3f}"
    )
    inputs = {
        "middle_frame": "the middle frame alone",
        "shuffled_frames": "its frames in random order",
        "evenly_spaced_frames": f"{num_frames} frames evenly spaced over the clip",
    }
    scores = (
        f"{text} {rows[name]['accuracy']:.3f} ({rows[name]['low']:.3f} to {rows[name]['high']:.3f})"
        for name, text in inputs.items()
    )
    yield f"all10 given {', '.join(scores)}"
    points = f"{100 * order_effect.value:+.0f} points"
    if order_effect.significant and order_effect.value > 0:
        yield f"the order of the frames matters to all10: {points} compared to random order"
    else:
        yield f"no significant effect of the order of the frames on all10 ({points})"


def calibration_lines(scores: dict[str, Scores]) -> Iterator[str]:
    """Expected calibration error of each approach before and after temperature scaling, in points."""
    for approach, by_measure in scores.items():
        yield (
            f"{approach:>6}: expected calibration error {100 * by_measure.ece:.0f} points "
            f"({100 * by_measure.ece_before:.0f} before temperature scaling, temperature {by_measure.temperature:.2f})"
        )


def threshold_lines(scores: dict[str, Scores], max_error: float) -> Iterator[str]:
    """The confidence threshold of each approach, its coverage and the accuracy of the answered clips."""
    for approach, by_measure in scores.items():
        text = f"{approach:>6}: for at most {percent(max_error)} errors"
        if math.isinf(by_measure.threshold):
            yield f'{text}, every clip is "unknown": no confidence threshold is sufficient on val'
            continue
        text += f', a clip is "unknown" below confidence {by_measure.threshold:.3f}'
        if by_measure.selective_accuracy is None:
            yield f"{text}, which is every test clip"
        else:
            accuracy = percent(by_measure.selective_accuracy.value)
            yield f"{text}: coverage {percent(by_measure.coverage)}, accuracy of the answered clips {accuracy}"
