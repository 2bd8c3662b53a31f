"""Sliding-window inference on a stream of frames, in constant memory. NumPy and OpenCV only.

A window is as long as the clips the model was trained on; a new one starts every `seconds / frames`. The windows share
their frames, so the backbone encodes each frame once, and each window carries a state of a few hundred numbers (a few
thousand with ridge regression).
"""

from collections import deque
from collections.abc import Collection
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from glimpse.core.frame_store import StoredClip
from glimpse.core.image import frame_difference, resize_short_side, to_jpeg
from glimpse.core.sampling import evenly_spaced
from glimpse.features.views import Box, prepare_frames
from glimpse.frames.decoder import DIFF_INTERVAL_S
from glimpse.inference.recognizer import Recognizer

SAME_TIME = 1e-6  # seconds: times that differ by less are equal


class WindowPrediction(NamedTuple):
    """The prediction for a window, from `start` to `end` in seconds, after `frames` frames of it."""

    start: float
    end: float
    frames: int
    complete: bool  # whether the model has read all the frames that it reads of a window
    probabilities: np.ndarray  # (classes,)


class DiffBuffer:
    """Ring buffer of the latest frames that finds the frame DIFF_INTERVAL_S before the newest one."""

    def __init__(self) -> None:
        self._frames: deque[tuple[float, np.ndarray]] = deque()

    def add(self, time: float, frame: np.ndarray) -> np.ndarray:
        """Add a frame; returns the earlier frame nearest to DIFF_INTERVAL_S before it, or the first frame itself."""
        earlier = self._frames
        while len(earlier) > 1 and earlier[1][0] <= time - DIFF_INTERVAL_S:
            earlier.popleft()
        nearest = min(earlier or [(time, frame)], key=lambda item: abs(item[0] + DIFF_INTERVAL_S - time))
        earlier.append((time, frame))
        return nearest[1]


class Stream:
    """Takes frames and returns the prediction of each window that is complete.

    Of each window, candidate frames are taken as stage `frames` takes them of a clip of that length, so the prediction
    of a window that starts with the video is that of the clip. Later windows differ in two respects: the motion crop
    has seen earlier frames, and where `frames` does not divide `candidates`, frames are spaced a little differently.
    A model that reads only the first frames (first5) answers when it has read those, before the window ends.
    Frames are evenly spaced, whatever the setting `sampling`, unless `positions` are given.

    recognizer: the model. seconds: length of a window. positions: which candidates of a window the model reads, in
    rising order, an int array (frames,).
    """

    def __init__(self, recognizer: Recognizer, seconds: float, positions: Collection[int] | None = None) -> None:
        self.recognizer, self.seconds = recognizer, seconds
        config = recognizer.config
        self.candidates, self.frame_size = config.candidates, config.frame_size
        self.positions = evenly_spaced(config.candidates, config.frames) if positions is None else np.asarray(positions)
        self.interval = seconds / self.candidates  # between candidates, in seconds
        self.box: Box | None = None  # the crop, in pixels of a stored frame
        self.latest: WindowPrediction | None = None  # for the window that started first among the open ones
        self._without_flow = replace(recognizer.views, flow=False)  # suffices where only the box is needed
        self._candidates_seen = 0  # number of candidates whose time has passed
        self._frames_due = 0  # how many of those the model should have read
        self._windows: list[tuple[int, int]] = []  # of each open window: number of its first frame, frames read
        self._states = np.zeros((0, recognizer.state_size), np.float32)  # of each open window

    def needs(self, time: float, duration: float) -> bool:
        """Whether a frame shown from `time` on for `duration` may be a candidate, or the reference of a difference."""
        next_due = (self._candidates_seen + 0.5) * self.interval  # a candidate is in the middle of its interval
        return next_due < time + DIFF_INTERVAL_S + 2 * duration + SAME_TIME

    def add(self, time: float, frame: np.ndarray, previous: np.ndarray, duration: float = 0) -> list[WindowPrediction]:
        """Add a BGR frame (height, width, 3); returns the predictions of the windows it completes: mostly none or one.

        time, duration: when the frame is shown, in seconds; a candidate is the frame shown when it is due.
        previous: the earlier frame that `DiffBuffer` returns. A live frame has duration 0: it is the latest candidate
        that is due, and the candidates before it are missed, so that windows have fewer frames.
        """
        times = np.array([time, time + duration]) - SAME_TIME
        first, end = np.ceil(times / self.interval - 0.5).astype(int)  # numbers of the candidates due then
        complete: list[WindowPrediction] = []
        for number in range(max(first if duration else end - 1, self._candidates_seen), end):
            complete += self._add_candidate(number, frame, previous)
        return complete

    def _add_candidate(self, number: int, frame: np.ndarray, previous: np.ndarray) -> list[WindowPrediction]:
        """Update the crop; read the frame if it, or a candidate missed before it, is one that the model reads."""
        diff = resize_short_side(frame_difference(frame, previous), self.frame_size)
        stored = StoredClip([to_jpeg(resize_short_side(frame, self.frame_size))], [to_jpeg(diff)])
        read_before, self._candidates_seen = self._frames_due, number + 1
        windows, rest = divmod(self._candidates_seen, self.candidates)
        self._frames_due = windows * len(self.positions) + int(np.searchsorted(self.positions, rest))
        read = self._frames_due > read_before
        clip_views = prepare_frames(stored, self.recognizer.views if read else self._without_flow, previous=self.box)
        (self.box,) = clip_views.boxes
        if not read:
            return []
        if self._frames_due - read_before >= len(self.positions):  # after a pause as long as a window, start anew
            self._windows, self._states = [], self._states[:0]
        return self._step(clip_views.clean[0])

    def _step(self, view: np.ndarray) -> list[WindowPrediction]:
        """Read a frame, which starts another window; returns the complete windows and closes them."""
        number, num_frames = self._frames_due - 1, min(self.recognizer.num_frames, len(self.positions))
        self._windows = [(first, count + 1) for first, count in [*self._windows, (number, 0)]]
        probabilities, states = self.recognizer.step(view, np.pad(self._states, ((0, 1), (0, 0))))
        predictions: list[WindowPrediction] = []
        for (first, count), row in zip(self._windows, probabilities, strict=True):
            start = first * self.seconds / len(self.positions)
            complete = number - first + 1 >= num_frames
            predictions.append(WindowPrediction(start, start + self.seconds, count, complete, row))
        self.latest = predictions[0]
        closed = sum(prediction.complete for prediction in predictions)
        self._windows, self._states = self._windows[closed:], states[closed:]
        return predictions[:closed]
