"""A camera in a thread of its own that keeps nothing but the newest frame, so that whoever is slow skips some.

In its place a file may stand, played at its own frame rate.
"""

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np

from glimpse.frames.decoder import UnreadableClip
from glimpse.predict.stream import DiffBuffer
from glimpse.predict.video_reader import VideoReader, quiet

PATIENCE = 5.0  # seconds without a frame after which a camera is gone


class FpsCounter:
    """How often something happened a second, of late."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=30)

    def count(self) -> None:
        """It happened now."""
        self._times.append(time.monotonic())

    def __float__(self) -> float:
        times = list(self._times)
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0


@dataclass(frozen=True)
class CameraFrame:
    """A frame, BGR (height, width, 3), the one shown BEFORE it, and when it came, in seconds since the camera began."""

    time: float
    frame: np.ndarray
    before: np.ndarray


class Camera:
    """source: the number of a camera, or the path of a file in its place. One that can't be opened: Unreadable.

    A context: its thread ends with the block.
    """

    def __init__(self, source: str) -> None:
        self.rate = FpsCounter()
        self._lasts = 0.0  # seconds between two frames of a file
        if source.isdecimal() and int(source) < 2**31:
            quiet()
            self._reader = cv2.VideoCapture(int(source))
            if not self._reader.isOpened():
                raise UnreadableClip("no camera there, or another program has it")
        else:
            playback = VideoReader.open(source)
            self._reader, self._lasts = playback.reader, 1 / playback.fps
        self._came = threading.Condition()
        self._newest: CameraFrame | None = None
        self.over = False  # whether no more frames will come
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._began = time.monotonic()

    @property
    def now(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    def newest(self, after: float) -> CameraFrame | None:
        """The newest frame as soon as there is one that came `after` a time; None when there will be no more."""
        with self._came:
            there = self._came.wait_for(lambda: self.over or (self._newest and self._newest.time > after), PATIENCE)
            self.over = self.over or not there
            return self._newest if self._newest and self._newest.time > after else None

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over = True
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        recent, count = DiffBuffer(), 0
        while not self.over:
            time.sleep(max(0.0, count * self._lasts - self.now))
            ok, frame = self._reader.read()
            if not ok:
                break
            came, count = self.now, count + 1
            self.rate.count()
            newest = CameraFrame(came, frame, recent.add(came, frame))
            with self._came:
                self._newest = newest
                self._came.notify_all()
        with self._came:
            self.over = True
            self._came.notify_all()
