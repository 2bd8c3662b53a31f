"""What the model believes, drawn into the frames it was told from: actions as bars, and the square it looks at."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from glimpse.predict.stream import Stream
from glimpse.predict.video_reader import VideoReader

SHOWN = 3  # likeliest actions
ROOMY = 200  # pixels of the short side; in a smaller picture only the likeliest is shown
LIGHT, DARK, SURE, UNSURE = (245, 245, 245), (25, 25, 25), (120, 170, 40), (140, 140, 140)  # BGR
WEIGHT = 600  # of letters, from 100 to 900
FINE = 65  # frames a second from which on MPEG-4 takes two digits behind the point, and no more
SHADE = 0.4  # how much of the picture is left behind the words


def draw_overlay(frame: np.ndarray, stream: Stream, least: float, note: str = "") -> np.ndarray:
    """A frame, BGR (height, width, 3), with what `stream` believes now, as a new picture of the same size.

    The likeliest action is green; or grey, below the word "unknown", where the confidence is less than `least`.
    `note`: a last line of words.
    """
    frame = frame.copy()
    height, width = frame.shape[:2]
    short = min(height, width)
    if stream.square:
        x, y, side = (number * short / stream.size for number in stream.square)
        side = min(side, short)
        left, top = min(max(x - side / 2, 0), width - side), min(max(y - side / 2, 0), height - side)
        corners = (round(left), round(top)), (round(left + side) - 1, round(top + side) - 1)
        cv2.rectangle(frame, *corners, LIGHT, max(1, short // 480))
    rows: list[tuple[str, float]] = []
    known = True
    if stream.now:
        known = bool(stream.now.probabilities.max() >= least)
        ranked = sorted(
            zip(stream.recognizer.class_names, stream.now.probabilities.tolist()), key=lambda pair: -pair[1]
        )
        rows = [*([] if known else [("unknown", 0.0)]), *ranked[: SHOWN if short >= ROOMY else 1]]
    if note:
        rows.append((note, 0.0))
    tall = max(10, short // 18)
    broad = min(width, 14 * tall)
    top = height - len(rows) * tall - tall // 2
    if rows:
        panel = frame[max(0, top - tall // 2) :, :broad]
        panel[:] = cv2.addWeighted(panel, SHADE, np.full_like(panel, DARK), 1 - SHADE, 0)
    font = cv2.FontFace("sans")
    for row, (words, share) in enumerate(rows):
        y = top + row * tall
        if share:
            words = f"{words} {share:.0%}"
            end = tall // 2 + round(share * (broad - tall))
            cv2.rectangle(frame, (tall // 2, y), (end, y + tall - 2), SURE if known and row == 0 else UNSURE, -1)
        cv2.putText(
            frame, words, (tall // 2 + 2, y + round(0.78 * tall)), LIGHT, font, round(0.8 * tall), weight=WEIGHT
        )
    return frame


@contextlib.contextmanager
def overlay(path: Path | str, playback: VideoReader, least: float) -> Iterator[Callable[[np.ndarray, Stream], None]]:
    """A function that draws frame after frame into a video at `path`, as large and as fast as the one played.

    It appears when the block ends, whole, and not at all if the block fails. It has no sound, and where a side has an
    odd number of pixels, one less.
    """
    path, writer, count = Path(path), cv2.VideoWriter(), 0

    def show(frame: np.ndarray, stream: Stream) -> None:
        nonlocal count
        if not count:
            size = frame.shape[1], frame.shape[0]  # as it is shown: a phone's video may be stored lying down
            fps = playback.fps if playback.fps < FINE else round(playback.fps, 2)
            writer.open(made, cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
        count += 1
        writer.write(draw_overlay(frame, stream, least))

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=".part", dir=path.parent) as beside:
            made = os.path.join(beside, "video.mp4")
            yield show
            writer.release()
            if cv2.VideoCapture(made, cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FRAME_COUNT) != count:
                raise SystemExit(f"{path}: could not be written whole: is the disk full?")
            os.replace(made, path)
    except OSError as error:
        raise SystemExit(f"{path}: could not be written: {error.strerror or error}") from None
