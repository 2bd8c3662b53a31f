"""Draws predictions into the frames of a video: the most likely actions as bars, and the crop that the model sees."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from glimpse.inference.recognizer import Recognizer
from glimpse.predict.stream import Stream
from glimpse.predict.video_reader import OnFrame, VideoReader

NUM_ACTIONS = 3  # number of bars
LARGE = 200  # pixels of the short side; smaller frames get one bar
LIGHT, DARK, GREEN, GREY = (245, 245, 245), (25, 25, 25), (120, 170, 40), (140, 140, 140)  # BGR
FONT_WEIGHT = 600  # of 100 to 900
HIGH_FPS = 65  # frames per second from which on MPEG-4 takes at most two decimals
OPACITY = 0.4  # of the frame under the panel with the bars


def draw_overlay(frame: np.ndarray, stream: Stream, threshold: float, note: str = "") -> np.ndarray:
    """A copy of a BGR frame (height, width, 3) with the crop and the latest prediction of `stream` drawn into it.

    The bar of the most likely action is green; if its confidence is below `threshold` it is grey, under the word
    "unknown". note: a last line of text.
    """
    frame, (height, width) = frame.copy(), frame.shape[:2]
    short_side = min(height, width)
    if stream.box:
        x, y, side = (value * short_side / stream.frame_size for value in stream.box)
        side = min(side, short_side)
        left, top = min(max(x - side / 2, 0), width - side), min(max(y - side / 2, 0), height - side)
        corners = (round(left), round(top)), (round(left + side) - 1, round(top + side) - 1)
        cv2.rectangle(frame, *corners, LIGHT, max(1, short_side // 480))
    rows, first_color = [(note, 0.0)] if note else [], GREEN  # text, length of its bar
    if stream.latest:
        probabilities = stream.latest.probabilities
        ranked = sorted(zip(stream.recognizer.class_names, probabilities.tolist()), key=lambda item: -item[1])
        rows = ranked[: NUM_ACTIONS if short_side >= LARGE else 1] + rows
        if probabilities.max() < threshold:
            rows, first_color = [("unknown", 0.0), *rows], GREY
    if rows:
        _draw_panel(frame, rows, first_color)
    return frame


def _draw_panel(frame: np.ndarray, rows: list[tuple[str, float]], first_color: tuple[int, int, int]) -> None:
    """Draw rows of text, with bars where there is a probability, at the bottom left."""
    height, width = frame.shape[:2]
    row_height = max(10, min(height, width) // 18)
    margin = row_height // 2
    panel_width = min(width, 14 * row_height)
    top = height - len(rows) * row_height - margin
    panel = frame[max(0, top - margin) :, :panel_width]
    panel[:] = cv2.addWeighted(panel, OPACITY, np.full_like(panel, DARK), 1 - OPACITY, 0)
    font = cv2.FontFace("sans")
    for row, (text, probability) in enumerate(rows):
        y = top + row * row_height
        if probability:
            text = f"{text} {probability:.0%}"
            right = margin + round(probability * (panel_width - row_height))
            cv2.rectangle(frame, (margin, y), (right, y + row_height - 2), GREY if row else first_color, -1)
        baseline = y + round(0.78 * row_height)
        cv2.putText(frame, text, (margin + 2, baseline), LIGHT, font, round(0.8 * row_height), weight=FONT_WEIGHT)


def write_overlay(recognizer: Recognizer, path: Path, threshold: float, output: Path | str) -> None:
    """Write a clip with the prediction after each frame drawn into it. Raises UnreadableClip."""
    reader = VideoReader.open(path)
    list(reader.frames(lambda _: False))  # to its end, for its duration
    stream = Stream(recognizer, reader.duration, recognizer.positions(path.name))
    reader = VideoReader.open(path)
    with overlay_writer(output, reader, threshold) as on_frame:
        list(reader.infer(stream, on_frame))


@contextlib.contextmanager
def overlay_writer(path: Path | str, reader: VideoReader, threshold: float) -> Iterator[OnFrame]:
    """A function that draws the prediction into a frame and appends it to a video at `path`.

    The video has the size and frame rate of the one that `reader` reads, and no sound; an odd width or height becomes
    one pixel less. It is written atomically: it appears when the block ends, and not at all if the block fails.
    """
    path, writer, count = Path(path), cv2.VideoWriter(), 0

    def write(frame: np.ndarray, stream: Stream) -> None:
        nonlocal count
        if not count:
            size = frame.shape[1], frame.shape[0]  # after rotation: the reader's width and height are before it
            fps = reader.fps if reader.fps < HIGH_FPS else round(reader.fps, 2)
            writer.open(temporary, cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
        count += 1
        writer.write(draw_overlay(frame, stream, threshold))

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=".part", dir=path.parent) as folder:
            temporary = os.path.join(folder, "video.mp4")
            yield write
            writer.release()
            if cv2.VideoCapture(temporary, cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FRAME_COUNT) != count:
                raise SystemExit(f"{path}: could not be written completely: is the disk full?")
            os.replace(temporary, path)
    except OSError as error:
        raise SystemExit(f"{path}: could not be written: {error.strerror or error}") from None
