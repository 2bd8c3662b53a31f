"""Predict what happens when in long videos: segments with an action, a start and an end.

Reads the videos and a trained model. A window as long as the training clips, or --window, slides over the video; the
probabilities of a moment are the mean over the windows that cover it, and neighbouring moments with the same prediction
form a segment. Prints each segment as soon as it ends. --out writes a file instead, --overlay a video. A video that
cannot be used is named on stderr, the others are done, and the exit code is then 1.
"""

import argparse
import contextlib
import csv
import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glimpse.core.files import atomic_write
from glimpse.frames.decoder import UnreadableClip
from glimpse.inference.recognizer import Recognizer
from glimpse.predict import options
from glimpse.predict.load import load_recognizer
from glimpse.predict.overlay import overlay_writer
from glimpse.predict.stream import Stream, WindowPrediction
from glimpse.predict.video_reader import VideoReader

COLUMNS = ["clip", "start", "end", "action", "known", "confidence"]


@dataclass(frozen=True)
class Segment:
    """A stretch of a video, in seconds, with one prediction."""

    start: float
    end: float
    action: str  # the most likely one
    known: bool  # whether the confidence reaches the threshold all the time
    confidence: float  # mean probability of the action


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `glimpse predict video`."""
    options.add_model_options(parser)
    options.add_file_options(parser, "VIDEO")


def run(args: argparse.Namespace) -> None:
    """Print the segments of all videos; exits with an error if one could not be used."""
    paths, unusable = options.input_files(args, "videos"), 0
    recognizer = load_recognizer(options.model_path(args))
    window = options.window_seconds(args, recognizer.config.clip_seconds)
    with atomic_write(args.out) if args.out else contextlib.nullcontext(sys.stdout) as out:
        table = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        if args.csv:
            table.writeheader()
        for path in paths:
            try:
                for segment in predict_segments(recognizer, path, window, args.max_error, args.overlay):
                    row = as_row(path, segment)
                    if args.csv:
                        table.writerow(row | {"known": "yes" if segment.known else "unknown"})
                    else:
                        print(json.dumps(row, ensure_ascii=False) if args.json else as_text(path, segment), file=out)
                    out.flush()
            except UnreadableClip as reason:
                print(f"{path}: {reason}", file=sys.stderr)
                unusable += 1
    if unusable:
        raise SystemExit(f"predict: {unusable} of {len(paths)} files could not be used, named above")


def predict_segments(
    recognizer: Recognizer, path: Path, window: float, max_error: float, overlay: str | None
) -> Iterator[Segment]:
    """Yield the segments of a video, each as soon as it ends.

    window: length of a window in seconds. max_error: as for `predict_file`. overlay: where to write the video with the
    predictions drawn into it, if anywhere. Raises UnreadableClip with the reason.
    """
    reader, stream, threshold = VideoReader.open(path), Stream(recognizer, window), recognizer.threshold(max_error)
    with overlay_writer(overlay, reader, threshold) if overlay else contextlib.nullcontext() as on_frame:
        yield from find_segments(reader, reader.infer(stream, on_frame), stream, threshold)
    if stream.latest is None:
        raise UnreadableClip(f"ends before a frame of a window of {window:g} s is read: give a shorter --window")


def find_segments(
    reader: VideoReader, predictions: Iterable[WindowPrediction], stream: Stream, threshold: float
) -> Iterator[Segment]:
    """Join steps with the same action, or with confidence below `threshold`, to segments; yield each as it ends.

    predictions: those of `reader.infer(stream)`. The last segment ends with the video, also where no window covers it.
    """
    class_names, step_seconds = stream.recognizer.class_names, stream.seconds / len(stream.positions)
    start, total, count = 0.0, np.zeros(len(class_names)), 0
    known_action: int | None = None  # of the segment so far

    def segment(end: float) -> Segment:
        action = class_names[total.argmax()]
        return Segment(start, end, action, known_action is not None, float(total.max() / count))

    for step, probabilities in enumerate(per_step_probabilities(predictions, len(stream.positions))):
        time = step * step_seconds
        if time >= reader.duration:
            break
        action = int(probabilities.argmax()) if probabilities.max() >= threshold else None
        if count and action != known_action:
            yield segment(time)
            start, total, count = time, np.zeros_like(total), 0
        known_action, total, count = action, total + probabilities, count + 1
    if count:
        yield segment(reader.duration)


def per_step_probabilities(predictions: Iterable[WindowPrediction], num_steps: int) -> Iterator[np.ndarray]:
    """Yield the probabilities (classes,) of each time step: the mean over the windows that cover it.

    predictions: of windows in order, each starting one step after the one before and `num_steps` long. A step is
    yielded when the last window that covers it has been read.
    """
    covering: deque[np.ndarray] = deque(maxlen=num_steps)
    for prediction in predictions:
        covering.append(prediction.probabilities)
        yield np.mean(covering, 0)
    for remaining in range(num_steps - 1, 0, -1) if covering else ():  # the steps after the start of the last window
        yield np.mean([*covering][-remaining:], 0)


def as_text(path: Path, segment: Segment) -> str:
    """A segment in one line for people, the first one of a video below its name."""
    action = f"{segment.action} {segment.confidence:.1%}"
    action = action if segment.known else f"unknown (most likely: {action})"
    name = "" if segment.start else f"{path}:\n"
    return f"{name}{clock_time(segment.start):>9} to {clock_time(segment.end):>9}  {action}"


def as_row(path: Path, segment: Segment) -> dict[str, str | float | bool]:
    """A segment with the keys COLUMNS, its numbers rounded."""
    times = {"start": round(segment.start, 2), "end": round(segment.end, 2)}
    return {"clip": str(path), **vars(segment), **times, "confidence": round(segment.confidence, 4)}


def clock_time(seconds: float) -> str:
    """Seconds as 0:07.5, 12:00.0 or 1:02:03.4."""
    minutes, tenths = divmod(round(seconds * 10), 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{tenths / 10:04.1f}" if hours else f"{minutes}:{tenths / 10:04.1f}"
