"""What `evaluate` prints and keeps in metrics/summary.txt: the scores in sentences, each with what it rests on."""

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def percent(value: float) -> str:
    """A share as a person says it: 72 %."""
    return f"{100 * value:.0f} %"


def summary(
    found: dict[str, dict], apart: dict[str, "PairedDifference"], known: dict[str, float], used: list[int],
    curve: "pd.DataFrame", control: "pd.DataFrame", ordered: "PairedDifference", error: float, alarms: Iterable[str],
) -> list[str]:  # fmt: skip
    """All lines. found: {approach: {measure: Score or number}}; apart: {measure: Difference}; known: {approach: the
    accuracy on clips it knows}; used: how many frames each reads; curve, control: the tables early and controls;
    ordered: the `Difference` that the order of frames makes to all10; alarms: sentences.
    """
    one, few = next(iter(found.values()))["accuracy"], used[0]
    lines = [f"{one.n} test clips of {one.groups} groups that no training has seen; in brackets 95 % intervals"]
    lines += [line for line in [one.note] if line]
    lines += score_lines(found, known)
    if len(set(used)) == 1:
        lines.append(f"both approaches read the same {few} frames, and so are the same model")
    else:
        lines += [f"in {measure}, {gain.in_words(*found)}" for measure, gain in apart.items()]
        lines.append(frames_line(curve, few))
    lines += baseline_lines(control, few, ordered)
    lines += calibration_lines(found, error)
    lines += [f"ALARM: {sentence}" for sentence in alarms] or ["no alarm"]
    return lines


def score_lines(found: dict[str, dict], known: dict[str, float]) -> Iterator[str]:
    """A line for each approach with its scores, and what it reaches on clips it knows."""
    for approach, of in found.items():
        above = known[approach] - of["accuracy"].value
        yield (
            f"{approach:>6}: accuracy {of['accuracy']}, recall {of['recall']}; on clips it was trained or chosen with "
            f"{known[approach]:.3f}, that is {above:+.3f}"
        )


def baseline_lines(table: "pd.DataFrame", few: int, ordered: "PairedDifference") -> Iterator[str]:
    """What little already gives, from the table of controls, and the `Difference` that the order of frames makes."""
    of = {row.control: row for row in table.itertuples()}
    usual = f"the most frequent action {of['majority'].accuracy:.3f}"
    yield f"guessing would give {of['chance'].accuracy:.3f}, always {usual}"
    shown = {"middle": "the middle frame alone", "shuffled": "all its frames in another order"}
    shown["spread"] = f"{few} frames spread over the whole clip"
    words = (f"{what} {of[c].accuracy:.3f} ({of[c].low:.3f} to {of[c].high:.3f})" for c, what in shown.items())
    yield f"all10's model with {', '.join(words)}"
    if ordered.clear and ordered.value > 0:
        yield f"so it uses the order of the frames: that is worth {100 * ordered.value:.0f} points to it"
    else:
        yield f"so it is not seen to use the order of the frames ({100 * ordered.value:+.0f} points)"


def frames_line(table: "pd.DataFrame", few: int) -> str:
    """How soon all10 answers, from the table of the early curve."""
    first, last = table.iloc[min(few, len(table)) - 1], table.iloc[-1]
    return (
        f"all10 after {first['frames']:.0f} frames ({percent(first['seen'])} of a clip seen): accuracy "
        f"{first['all10']:.3f}, after {last['frames']:.0f} ({percent(last['seen'])}): {last['all10']:.3f}"
    )


def calibration_lines(found: dict[str, dict], error: float) -> Iterator[str]:
    """How far to believe the probabilities, and when to answer of each approach."""
    for approach, of in found.items():
        sure = f"{approach:>6}: probabilities are off by {100 * of['ece']:.0f} points on average"
        yield f"{sure} (before temperature {of['temperature']:.2f}: {100 * of['ece_before']:.0f})"
    for approach, of in found.items():
        aim = f'{approach:>6}: for at most {percent(error)} wrong answers it says "unknown"'
        if math.isinf(of["threshold"]):
            yield f"{aim} to every clip: val shows no confidence that is enough"
        elif of["answered"] == 0:
            yield f"{aim} below {of['threshold']:.3f}, which is every test clip"
        else:
            answered = f"answers {percent(of['answered'])} of the clips, {percent(of['answered_accuracy'].value)} of them right"
            yield f"{aim} below {of['threshold']:.3f}: it {answered}"
