"""A video of any length, frame by frame, in memory that doesn't grow with it; a broken one is a line in words.

Unlike clips for training it is decoded in this process: frames are too many to be handed over from another.
"""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from glimpse.frames.dataset import NOT_UTF8, is_utf8
from glimpse.frames.decoder import (
    DIFF_INTERVAL_FRAMES,
    DIFF_INTERVAL_S,
    MAX_ASPECT_RATIO,
    MIN_SIDE,
    UnreadableClip,
    open_capture,
    sniff_file,
)
from glimpse.predict.stream import DiffBuffer, Stream, WindowPrediction

DEFAULT_FPS = DIFF_INTERVAL_FRAMES / DIFF_INTERVAL_S  # frames a second where the file tells none


@dataclass
class VideoReader:
    """A video that is open: frames a second, and its size in pixels."""

    reader: cv2.VideoCapture
    fps: float
    width: int
    height: int
    count: int = 0  # frames that have been played
    length: float = math.inf  # in seconds, once it has been played to its end

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Opens a video. Raises Unreadable with the reason."""
        quiet()
        if not is_utf8(str(path)):
            raise UnreadableClip(NOT_UTF8)
        sniff_file(path)
        reader = open_capture(path)
        fps = reader.get(cv2.CAP_PROP_FPS)
        width, height = int(reader.get(cv2.CAP_PROP_FRAME_WIDTH)), int(reader.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if min(width, height) < MIN_SIDE:
            raise UnreadableClip(f"too small: {width}x{height} pixels, at least {MIN_SIDE} are needed")
        if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
            raise UnreadableClip(f"too narrow: {width}x{height} pixels")
        return cls(reader, fps if 0 < fps < 1000 else DEFAULT_FPS, width, height)

    @property
    def seconds(self) -> float:
        """How much of it has been played, by the count of frames and the frame rate."""
        return self.count / self.fps

    def frames(self, wanted: Callable[[float], bool]) -> Iterator[tuple[float, np.ndarray]]:
        """Times in seconds, and the frames shown from then on, BGR (height, width, 3).

        `wanted`: of a time, whether a frame there is converted, and given, at all. Raises Unreadable if there is none.
        """
        try:
            while self.reader.grab():
                if wanted(self.seconds):
                    ok, frame = self.reader.retrieve()
                    if not ok:
                        break
                    yield self.seconds, frame
                self.count += 1
        except cv2.error as error:
            raise UnreadableClip(f"OpenCV fails on it: {error.err}") from None
        if self.count < 2:
            raise UnreadableClip("only one frame could be decoded" if self.count else "no frame could be decoded")
        self.length = self.seconds

    def followed(
        self, stream: Stream, show: Callable[[np.ndarray, Stream], None] | None = None
    ) -> Iterator[WindowPrediction]:
        """Every window of the video, as `stream` tells it; of a video shorter than one, what was read of it.

        `show` gets every frame when it has been seen; without it, frames that aren't looked at are not converted.
        """
        lasts, recent, told = 1 / self.fps, DiffBuffer(), False
        for time, frame in self.frames(lambda time: bool(show) or stream.near(time, lasts)):
            for belief in stream.see(time, frame, recent.add(time, frame), lasts):
                told = True
                yield belief
            if show:
                show(frame, stream)
        if not told and stream.now:
            yield stream.now


def quiet() -> None:
    """What OpenCV and FFmpeg would write on stderr goes nowhere: the reason is ours to give. Before either is used."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def seconds_of(path: Path | str) -> float:
    """How long a video is, by decoding it. Raises Unreadable."""
    playback = VideoReader.open(path)
    for _ in playback.frames(lambda _: False):
        pass
    return playback.length
