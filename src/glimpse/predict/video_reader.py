"""Reads a video of any length frame by frame in constant memory; a damaged one raises UnreadableClip with the reason.

Videos are decoded in this process, unlike clips: there are too many frames to send them from another one.
"""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from glimpse.frames.decoder import MAX_ASPECT_RATIO, MIN_SIDE, UnreadableClip, open_capture, sniff_file
from glimpse.predict.stream import DiffBuffer, Stream, WindowPrediction

DEFAULT_FPS = 25  # frames per second where the file declares none: DIFF_INTERVAL_FRAMES take DIFF_INTERVAL_S
OnFrame = Callable[[np.ndarray, Stream], None]


@dataclass
class VideoReader:
    """An open video and its frame rate."""

    capture: cv2.VideoCapture
    fps: float
    duration: float = math.inf  # in seconds, known once the video has been read to its end

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open a video. Raises UnreadableClip with the reason."""
        quiet()
        sniff_file(path)
        capture = open_capture(path)
        fps = capture.get(cv2.CAP_PROP_FPS)
        width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if min(width, height) < MIN_SIDE:
            raise UnreadableClip(f"too small: {width}x{height} pixels, at least {MIN_SIDE} are needed")
        if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
            raise UnreadableClip(f"too narrow: {width}x{height} pixels")
        return cls(capture, fps if 0 < fps < 1000 else DEFAULT_FPS)

    def frames(self, select: Callable[[float], bool]) -> Iterator[tuple[float, np.ndarray]]:
        """Yield (time in seconds, BGR frame (height, width, 3)) of each frame whose time `select` accepts.

        Other frames are decoded, but not converted. Raises UnreadableClip if there are fewer than two frames.
        """
        count = 0
        try:
            while self.capture.grab():
                if select(time := count / self.fps):
                    ok, frame = self.capture.retrieve()
                    if not ok:
                        break
                    yield time, frame
                count += 1
        except cv2.error as error:
            raise UnreadableClip(f"OpenCV fails on it: {error.err}") from None
        if count < 2:
            raise UnreadableClip(f"{'only one' if count else 'no'} frame could be decoded")
        self.duration = count / self.fps

    def infer(self, stream: Stream, on_frame: OnFrame | None = None) -> Iterator[WindowPrediction]:
        """Yield the prediction of every window; of a video shorter than one window, that of the frames it has.

        on_frame: called with every frame after `stream` has received it; without it, unused frames are not converted.
        """
        frame_seconds, buffer, predicted = 1 / self.fps, DiffBuffer(), False
        for time, frame in self.frames(lambda time: bool(on_frame) or stream.needs(time, frame_seconds)):
            for prediction in stream.add(time, frame, buffer.add(time, frame), frame_seconds):
                predicted = True
                yield prediction
            if on_frame:
                on_frame(frame, stream)
        if not predicted and stream.latest:
            yield stream.latest


def quiet() -> None:
    """Discard what OpenCV and FFmpeg would print on stderr. Call it before either is used."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
