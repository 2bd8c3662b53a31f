"""metrics/summary.txt, which `evaluate` also prints: the results in sentences."""

import math
from collections.abc import Iterator, Mapping

import pandas as pd

from glimpse.evaluate.intervals import PairedDifference
from glimpse.evaluate.metrics import Scores


def percent(value: float) -> str:
    """A share in whole percent: 72 %."""
    return f"{100 * value:.0f} %"


def summary(
    scores: Mapping[str, Scores],
    num_frames: Mapping[str, int],
    differences: Mapping[str, PairedDifference],
    order_effect: PairedDifference,
    max_error: float,
    tables: Mapping[str, pd.DataFrame],
) -> list[str]:
    """The lines of summary.txt, from scores and frames read by approach, and from the tables by name.

    differences: all10 - first5, by measure. order_effect: accuracy of all10 on its frames in time order, minus in
    random order.
    """
    accuracy, fewest = scores["all10"].accuracy, min(num_frames.values())
    lines = [f"{accuracy.n} test clips of {accuracy.groups} groups, none used in training; 95 % intervals in brackets"]
    lines += [accuracy.note] if accuracy.note else []
    for name, measures in scores.items():
        seen = float(tables["subsets"][f"{name}_accuracy"].mean())
        line = f"{name:>6}: accuracy {measures.accuracy}, recall {measures.recall}; accuracy on train and val clips "
        lines.append(f"{line}{seen:.3f} ({seen - measures.accuracy.value:+.3f})")
    if fewest == max(num_frames.values()):
        lines.append(f"both approaches read the same {fewest} frames and are the same model")
    else:
        lines += [f"{measure}: {difference.describe(*scores)}" for measure, difference in differences.items()]
        lines.append(frames_line(tables["accuracy_by_frames"], fewest))
    lines += baseline_lines(tables["baselines"], fewest, order_effect)
    for name, measures in scores.items():
        line = (
            f"{name:>6}: expected calibration error {100 * measures.ece:.0f} points ({100 * measures.ece_before:.0f} "
        )
        lines.append(f"{line}before temperature scaling, temperature {measures.temperature:.2f})")
    lines += [threshold_line(name, measures, max_error) for name, measures in scores.items()]
    return lines + ([f"WARNING: {message}" for message in tables["warnings"]["message"]] or ["no warning"])


def frames_line(table: pd.DataFrame, num_frames: int) -> str:
    """Accuracy of all10 after `num_frames` frames and after all, from `accuracy_by_frames`."""
    early, last = table.iloc[min(num_frames, len(table)) - 1], table.iloc[-1]
    return (
        f"all10 after {early['frames']:.0f} frames (observation ratio {percent(early['observation_ratio'])}): accuracy "
        f"{early['all10']:.3f}; after {last['frames']:.0f} ({percent(last['observation_ratio'])}): {last['all10']:.3f}"
    )


def baseline_lines(table: pd.DataFrame, num_frames: int, order_effect: PairedDifference) -> Iterator[str]:
    """Accuracy of the baselines, and whether the order of frames matters to all10."""
    rows = table.set_index("baseline")
    chance, majority = rows["accuracy"][["chance", "majority"]]
    yield f"baselines: chance {chance:.3f}, most frequent action {majority:.3f}"
    inputs = {
        "middle_frame": "the middle frame alone",
        "shuffled_frames": "its frames in random order",
        "evenly_spaced_frames": f"{num_frames} frames evenly spaced over the clip",
    }
    text = "{} {accuracy:.3f} ({low:.3f} to {high:.3f})"
    yield "all10 given " + ", ".join(text.format(words, **rows.loc[name]) for name, words in inputs.items())
    points = f"{100 * order_effect.value:+.0f} points"
    if order_effect.significant and order_effect.value > 0:
        yield f"the order of the frames matters to all10: {points} compared to random order"
    else:
        yield f"no significant effect of the order of the frames on all10 ({points})"


def threshold_line(name: str, scores: Scores, max_error: float) -> str:
    """The confidence threshold of an approach, its coverage and the accuracy of the answered clips."""
    line = f"{name:>6}: for at most {percent(max_error)} errors"
    if math.isinf(scores.threshold):
        return f'{line}, every clip is "unknown": no confidence threshold is sufficient on val'
    line += f', a clip is "unknown" below confidence {scores.threshold:.3f}'
    if scores.selective_accuracy is None:
        return f"{line}, which is every test clip"
    accuracy = percent(scores.selective_accuracy.value)
    return f"{line}: coverage {percent(scores.coverage)}, accuracy of the answered clips {accuracy}"
